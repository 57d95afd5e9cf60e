//! What the zygote knows of one sandbox.
//!
//! ```text
//! Creating --Ready--> Created --Start--> Starting --execve--> Running --exit--> Exited --Acknowledge--> gone
//!    |                   |                  |  failed: exit 126 or 127             ^
//!    | failed: gone      +------------------+--------------------------------------+
//!    +--Entered-----------------------------------> Running
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, WaitStatus};

use super::protocol::{Exit, Held, State};
use crate::plan::Plan;

/// Where in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Creating { ticket: u32 },
    Created,
    Starting { ticket: u32 },
    Running,
    Exited(Exit),
}

/// One sandbox, or one more process in a container.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) phase: Phase,
    /// Until it runs: the sentences of failures are made from it.
    pub(super) plan: Option<Plan>,
    pub(super) pid: Option<Pid>,
    pub(super) pidfd: Option<OwnedFd>,
    /// What makes it, where that is a process between the zygote and it.
    pub(super) helper: Option<OwnedFd>,
    /// The zygote's side of the socket to the child; closes when the child executes.
    pub(super) talk: Option<OwnedFd>,
    pub(super) ready: bool,
    /// Code of our own: when it ends while no host is there, nobody will ask how.
    pub(super) confined: bool,
    /// Its cgroups, by which it is cleared away when it is [`confined`](Record::confined) and no host is there to do so.
    pub(super) groups: Vec<PathBuf>,
    /// What a program that could not be executed exits with.
    pub(super) refused: Option<u8>,
    /// Kept from the start, else a writer gets EPIPE while the host is away.
    pub(super) ends: Ends,
    pub(super) oom: Option<OwnedFd>,
}

/// The zygote's ends of a guest's streams.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
}

impl Record {
    /// The numbers of what other children must not hold open: streams, and our side of the socket to this child.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        let ends = &self.ends;
        let all = [&ends.stdout, &ends.stderr, &ends.stdin, &ends.terminal, &self.talk];
        all.into_iter().flatten().map(AsRawFd::as_raw_fd)
    }

    /// What a host is told about its state; `None` while it is being created.
    pub(super) fn state(&self) -> Option<State> {
        match self.phase {
            Phase::Creating { .. } => None,
            Phase::Created | Phase::Starting { .. } => Some(State::Created),
            Phase::Running => Some(State::Running),
            Phase::Exited(exit) => Some(State::Exited(exit)),
        }
    }

    /// Which streams there are.
    pub(super) fn held(&self) -> Held {
        Held {
            stdout: self.ends.stdout.is_some(),
            stderr: self.ends.stderr.is_some(),
            stdin: self.ends.stdin.is_some(),
            terminal: self.ends.terminal.is_some(),
        }
    }

    /// The descriptors a host gets duplicates of: the pidfd and the streams.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let ends = &self.ends;
        let all = [&self.pidfd, &ends.stdout, &ends.stderr, &ends.stdin, &ends.terminal];
        all.into_iter().flatten().map(AsFd::as_fd).collect()
    }

    pub(super) fn raw_pid(&self) -> u32 {
        self.pid.map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
    }

    /// The end of its process, as users know it.
    pub(super) fn exit(&self, status: WaitStatus) -> Exit {
        let code = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        };
        let code = self.refused.unwrap_or(u8::try_from(code & 0xff).unwrap_or(255));
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        Exit { code, oom_killed: self.out_of_memory(), at }
    }

    /// Whether the kernel's memory limit ended something: `oom_kill N` in memory.events (v2) or memory.oom_control
    /// (v1, Linux 4.13).
    fn out_of_memory(&self) -> bool {
        let mut buffer = [0; 512];
        let count = self.oom.as_ref().and_then(|file| rustix::io::pread(file, &mut buffer[..], 0).ok()).unwrap_or(0);
        let text = std::str::from_utf8(&buffer[..count]).unwrap_or("");
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|number| number.trim() != "0"))
    }
}
