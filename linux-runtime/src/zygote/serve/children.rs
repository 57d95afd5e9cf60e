//! What children report, and what becomes of their sandboxes.

use std::os::fd::AsFd;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::super::protocol::{Event, Exit, Failure, FailureKind};
use super::super::record::{Phase, Record};
use super::Zygote;
use crate::failure::{failure, sentence};
use crate::init::report::{self, Report};

impl Zygote {
    /// Everything a child has said since.
    pub(super) fn hear(&mut self, id: &str) {
        loop {
            let Some(record) = self.records.get_mut(id) else { return };
            let Some(talk) = &record.talk else { return };
            match report::receive(talk.as_fd()) {
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(Some((Report::Cloned { pid }, pidfd))) => {
                    record.pid = Pid::from_raw(pid);
                    record.pidfd = pidfd;
                    self.created_if_ready(id);
                }
                Ok(Some((Report::Terminal, master))) => {
                    if let Some(master) = &master {
                        // Ours and the host's; the guest has the other side.
                        let _ = fcntl_setfl(master, OFlags::NONBLOCK);
                    }
                    record.ends.terminal = master;
                }
                Ok(Some((Report::Ready, _))) => {
                    record.ready = true;
                    self.created_if_ready(id);
                }
                Ok(Some((Report::Entered, _))) => self.entered(id),
                // No plan of a zygote's has hooks: `plan::refused` sees to that.
                Ok(Some((Report::Hooks, _))) => return self.abandon(id),
                // Refused with its plan.
                Ok(Some((Report::Listener { .. }, _))) => {}
                Ok(Some((Report::Failed { step, errno }, _))) => self.failed(id, step as usize, errno),
                Ok(None) | Err(_) => return self.fell_silent(id),
            }
        }
    }

    fn created_if_ready(&mut self, id: &str) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Phase::Creating { ticket } = record.phase else { return };
        if record.ready && record.pid.is_some() {
            record.phase = Phase::Created;
            record.helper = None;
            self.tell_created(id, ticket);
        }
    }

    fn entered(&mut self, id: &str) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Phase::Creating { ticket } = record.phase else { return };
        record.phase = Phase::Running;
        record.plan = None;
        record.helper = None;
        self.tell_created(id, ticket);
    }

    fn tell_created(&mut self, id: &str, ticket: u32) {
        // The record leaves the table while its descriptors are lent to the message.
        let Some(record) = self.records.remove(id) else { return };
        let event = Event::Created { ticket, id: id.to_owned(), pid: record.raw_pid(), held: record.held() };
        self.tell(&event, &record.descriptors());
        self.records.insert(id.to_owned(), record);
    }

    /// The socket closed: the child has executed its program, or ended without a word.
    fn fell_silent(&mut self, id: &str) {
        let Some(record) = self.records.get_mut(id) else { return };
        record.talk = None;
        match record.phase {
            Phase::Starting { ticket } => {
                record.phase = Phase::Running;
                record.plan = None;
                self.tell(&Event::Done { ticket }, &[]);
            }
            Phase::Creating { ticket } => self.give_up(id, ticket, killed_early()),
            Phase::Created | Phase::Running | Phase::Exited(_) => {}
        }
    }

    fn failed(&mut self, id: &str, step: usize, errno: i32) {
        let Some(record) = self.records.get_mut(id) else { return };
        let errno = Errno::from_raw_os_error(errno);
        let failure = record.plan.as_ref().map(|plan| failure(plan, step, errno));
        let failure = failure.unwrap_or(Failure { kind: FailureKind::Failed, text: sentence(errno) });
        match record.phase {
            Phase::Creating { ticket } => self.give_up(id, ticket, failure),
            Phase::Starting { ticket } => {
                let code = if failure.kind == FailureKind::NotFound { 127 } else { 126 };
                record.refused = Some(code);
                record.talk = None;
                // The record stays until its end is acknowledged, as that of any started sandbox.
                record.phase = Phase::Created;
                self.tell(&Event::Refused { ticket, failure }, &[]);
            }
            Phase::Created | Phase::Running | Phase::Exited(_) => {}
        }
    }

    /// A sandbox that never came to be leaves no record.
    fn give_up(&mut self, id: &str, ticket: u32, failure: Failure) {
        if let Some(record) = self.records.remove(id) {
            kill(&record);
        }
        self.tell(&Event::Refused { ticket, failure }, &[]);
    }

    /// Gives up what is still being created, wherever it is stuck. What waits for a disk in the kernel ends when the disk
    /// answers; nobody waits for it here.
    pub(super) fn abandon(&mut self, id: &str) {
        if let Some(Phase::Creating { ticket }) = self.records.get(id).map(|record| record.phase) {
            self.give_up(id, ticket, killed_early());
        }
    }

    /// Answers whoever waits on a sandbox that has just ended.
    pub(super) fn ended(&mut self, id: &str, before: Phase, exit: Exit) {
        match before {
            Phase::Creating { ticket } => return self.give_up(id, ticket, killed_early()),
            Phase::Starting { ticket } => self.tell(&Event::Done { ticket }, &[]),
            Phase::Created | Phase::Running | Phase::Exited(_) => {}
        }
        self.tell(&Event::Exited { id: id.to_owned(), exit }, &[]);
    }

    /// Clears away what ended of our own code while no host is there: nobody will ask how it ended, and the next host
    /// may be long in coming.
    pub(super) fn forget_confined(&mut self) {
        let ended = |record: &mut Record| record.confined && matches!(record.phase, Phase::Exited(_));
        for (_, record) in self.records.extract_if(.., |_, record| ended(record)) {
            record.groups.iter().for_each(|group| self.hierarchies.remove(group));
        }
    }
}

fn killed_early() -> Failure {
    let text = "create the sandbox: it was killed before it was ready".to_owned();
    Failure { kind: FailureKind::Failed, text }
}

/// Ends what may still live of a sandbox that could not be created.
fn kill(record: &Record) {
    for pidfd in [&record.pidfd, &record.helper].into_iter().flatten() {
        // Gone already is as good as killed.
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
}
