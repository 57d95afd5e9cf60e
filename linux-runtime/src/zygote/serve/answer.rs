//! Requests of the host, each answered under its ticket.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::SendFlags;

use super::super::launch::launch;
use super::super::protocol::{Event, Failure, FailureKind, Request, VERSION};
use super::super::record::{Phase, Record};
use super::Zygote;
use crate::failure::{UNTRANSLATED, failure};
use crate::plan::{Plan, Streams};
use crate::step::{IdMap, Slot};
use crate::sys::{self, MountAttributes};

impl Zygote {
    pub(super) fn answer(&mut self, request: Request, descriptors: Vec<OwnedFd>) {
        let greeted = self.host.as_ref().is_some_and(|host| host.greeted);
        match request {
            Request::Hello { ticket, version } => self.greet(ticket, version),
            _ if !greeted => self.host = None,
            Request::List { ticket } => self.list(ticket),
            Request::Create { ticket, id, plan, given } => {
                self.create(ticket, id, plan, (given, descriptors));
            }
            Request::Exec { ticket, id, container, plan, given } => {
                self.exec(ticket, id, &container, plan, (given, descriptors));
            }
            Request::Abandon { ticket, id } => {
                self.abandon(&id);
                self.tell(&Event::Done { ticket }, &[]);
            }
            Request::Start { ticket, id } => self.start(ticket, &id),
            Request::CloseStdin { ticket, id } => {
                if let Some(record) = self.records.get_mut(&id) {
                    record.ends.stdin = None;
                }
                self.tell(&Event::Done { ticket }, &[]);
            }
            Request::Acknowledge { ticket, id } => self.acknowledge(ticket, &id),
            Request::Directory { ticket, owner, group, outside, read_only, stranger } => {
                let wanted = Directory { owner, group, outside, read_only, stranger };
                self.directory(ticket, wanted, descriptors);
            }
            Request::Stop { ticket } => {
                self.stopping = true;
                self.tell(&Event::Done { ticket }, &[]);
            }
        }
    }

    fn refuse(&mut self, ticket: u32, kind: FailureKind, text: String) {
        self.tell(&Event::Refused { ticket, failure: Failure { kind, text } }, &[]);
    }

    fn greet(&mut self, ticket: u32, version: u32) {
        if version != VERSION {
            let text = format!("talk to the zygote: it speaks version {VERSION} of its wire, not {version}");
            return self.refuse(ticket, FailureKind::Conflict, text);
        }
        if let Some(host) = &mut self.host {
            host.greeted = true;
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get() as u32;
        let event = Event::Hello { ticket, version: VERSION, pid, facts: self.facts.clone() };
        self.tell(&event, &[]);
    }

    fn list(&mut self, ticket: u32) {
        let records = std::mem::take(&mut self.records);
        for record in records.values() {
            let Some(state) = record.state() else { continue };
            let (id, pid, held) = (record.id.clone(), record.raw_pid(), record.held());
            self.tell(&Event::Item { ticket, id, pid, state, held }, &record.descriptors());
        }
        self.records = records;
        self.tell(&Event::Done { ticket }, &[]);
    }

    fn create(&mut self, ticket: u32, id: String, mut plan: Plan, (given, descriptors): (Vec<Slot>, Vec<OwnedFd>)) {
        if self.records.contains_key(&id) {
            return self.refuse(ticket, FailureKind::Conflict, format!("create `{id}`: a sandbox of that id exists"));
        }
        if self.stopping {
            return self.refuse(ticket, FailureKind::Conflict, format!("create `{id}`: the zygote is stopping"));
        }
        if given.len() != descriptors.len() {
            let text = format!("create `{id}`: {} descriptors came for {} slots", descriptors.len(), given.len());
            return self.refuse(ticket, FailureKind::Failed, text);
        }
        if plan.asks_agent() {
            let text = format!("create `{id}`: `linux.seccomp.listenerPath` is not supported under a zygote");
            return self.refuse(ticket, FailureKind::Failed, text);
        }
        let mut table: Vec<Option<OwnedFd>> = Vec::new();
        table.resize_with(usize::from(plan.slots), || None);
        for (slot, fd) in given.into_iter().zip(descriptors) {
            if let Some(place) = table.get_mut(usize::from(slot.0)) {
                *place = Some(fd);
            }
        }
        let foreign = self.records.values().flat_map(Record::numbers).collect();
        match launch(&plan, table, foreign, &mut self.namespaces, self.entries) {
            Err((step, errno)) => {
                let failure = failure(&plan, step, errno);
                self.tell(&Event::Refused { ticket, failure }, &[]);
            }
            Ok(launched) => {
                let (pid, pidfd) = launched.child.map_or((None, None), |(pid, pidfd)| (Some(pid), Some(pidfd)));
                let confined = plan.streams == Streams::Confined;
                let groups = if confined { plan.groups() } else { Vec::new() };
                // The child has its copy; what is kept here is copied into every later worker.
                plan.forget_contents();
                let record = Record {
                    id: id.clone(),
                    phase: Phase::Creating { ticket },
                    plan: Some(plan),
                    pid,
                    pidfd,
                    helper: launched.helper,
                    talk: Some(launched.talk),
                    ready: false,
                    confined,
                    groups,
                    refused: None,
                    ends: launched.ends,
                    oom: launched.oom,
                };
                self.records.insert(id, record);
            }
        }
    }

    fn exec(
        &mut self,
        ticket: u32,
        id: String,
        container: &str,
        plan: Plan,
        (mut given, mut descriptors): (Vec<Slot>, Vec<OwnedFd>),
    ) {
        let running = self.records.get(container).filter(|record| record.phase == Phase::Running);
        let process = running.and_then(|record| record.pidfd.as_ref()).zip(plan.joins);
        let Some((process, slot)) = process else {
            let text = format!("exec in `{container}`: it is not running");
            return self.refuse(ticket, FailureKind::Conflict, text);
        };
        match fcntl_dupfd_cloexec(process, 3) {
            Ok(process) => {
                given.push(slot);
                descriptors.push(process);
                self.create(ticket, id, plan, (given, descriptors));
            }
            Err(errno) => self.refuse(ticket, FailureKind::Failed, format!("exec in `{container}`: {errno}")),
        }
    }

    fn start(&mut self, ticket: u32, id: &str) {
        let waiting = |record: &&mut Record| record.phase == Phase::Created && record.refused.is_none();
        let record = self.records.get_mut(id).filter(waiting);
        let Some((phase, talk)) = record.and_then(|record| Some((&mut record.phase, record.talk.as_ref()?))) else {
            let text = format!("start `{id}`: it is not waiting to be started");
            return self.refuse(ticket, FailureKind::Conflict, text);
        };
        *phase = Phase::Starting { ticket };
        // A child that is gone is reaped in this or the next turn, which answers.
        let _ = rustix::net::send(talk, b"s", SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    fn acknowledge(&mut self, ticket: u32, id: &str) {
        match self.records.get(id).map(|record| record.phase) {
            Some(Phase::Exited(_)) => {
                self.records.remove(id);
                self.tell(&Event::Done { ticket }, &[]);
            }
            // Acknowledged before: the answer was lost.
            None => self.tell(&Event::Done { ticket }, &[]),
            Some(_) => self.refuse(ticket, FailureKind::Conflict, format!("acknowledge `{id}`: it has not ended")),
        }
    }

    /// Finishes a detached mount for a worker: no setuid programs or devices; owners translated so that
    /// the folder's owner is the worker's user.
    fn directory(&mut self, ticket: u32, wanted: Directory, fds: Vec<OwnedFd>) {
        let Some(mount) = fds.into_iter().next() else {
            return self.refuse(ticket, FailureKind::Failed, "prepare a directory: no mount came along".to_owned());
        };
        let text = match self.finish_directory(&mount, wanted) {
            Ok(()) => return self.tell(&Event::Done { ticket }, &[mount.as_fd()]),
            Err(Errno::INVAL) => UNTRANSLATED.to_owned(),
            Err(errno) => errno.to_string(),
        };
        self.refuse(ticket, FailureKind::Failed, format!("prepare a directory: {text}"));
    }

    fn finish_directory(&mut self, mount: &OwnedFd, wanted: Directory) -> rustix::io::Result<()> {
        let Directory { owner, group, outside, read_only, stranger } = wanted;
        let read_only = if read_only { sys::RDONLY } else { 0 };
        // Not noexec: compiled code is mapped executable from such a folder. Executing programs is the filter's matter.
        let set = sys::NOSUID | sys::NODEV | read_only;
        sys::mount_setattr(mount.as_fd(), MountAttributes { set, ..Default::default() })?;
        if owner == outside && group == outside {
            return Ok(());
        }
        let map = |inside| IdMap { inside, outside, count: 1 };
        let namespace = self.namespaces.get(&[map(owner)], &[map(group)])?.as_fd();
        let change = MountAttributes { set: sys::IDMAP, user_namespace: Some(namespace), ..Default::default() };
        match sys::mount_setattr(mount.as_fd(), change) {
            // Everybody may read what is in there: nothing is lost by not being its owner.
            Err(Errno::INVAL) if stranger && fstat(mount)?.st_mode & 0o005 == 0o005 => Ok(()),
            other => other,
        }
    }
}

/// What a worker's directory is to become.
#[derive(Debug, Clone, Copy)]
struct Directory {
    owner: u32,
    group: u32,
    outside: u32,
    read_only: bool,
    stranger: bool,
}
