//! newuidmap(1) and newgidmap(1): how an ordinary user gets the ids that /etc/subuid and /etc/subgid give him. They are
//! programs of somebody else's, so that here, in a helper that does nothing else, something allocates and is waited for.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use crate::step::IdMap;
use crate::sys::{self, Clone, Cloned, Pointers};

/// Where the system keeps them; PATH is whoever's starts the runtime, and they are setuid.
const UIDS: [&CStr; 3] = [c"/usr/bin/newuidmap", c"/bin/newuidmap", c"/usr/local/bin/newuidmap"];
const GIDS: [&CStr; 3] = [c"/usr/bin/newgidmap", c"/bin/newgidmap", c"/usr/local/bin/newgidmap"];

/// They read a file and write another; a directory service that hangs is not waited for.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Maps the user namespace of `pid`.
pub(super) fn map(pid: Pid, uids: &[IdMap], gids: &[IdMap]) -> Result<()> {
    run(&UIDS, pid, uids)?;
    run(&GIDS, pid, gids)
}

/// ENOENT without the program, EPERM when it refuses (what it says goes to our standard error), ETIMEDOUT.
fn run(programs: &[&CStr], pid: Pid, maps: &[IdMap]) -> Result<()> {
    let mut words = vec![programs[0].to_owned(), number(pid.as_raw_nonzero().get() as u32)?];
    for map in maps {
        words.extend([number(map.inside)?, number(map.outside)?, number(map.count)?]);
    }
    let (arguments, environment) = (Pointers::new(words), Pointers::new(Vec::new()));
    match sys::clone3(Clone::default())? {
        Cloned::Child => {
            sys::default_and_unblock_all();
            let _ = sys::seal_descriptors(3);
            let mut last = Errno::NOENT;
            for program in programs {
                last = sys::execve(program, &arguments, &environment);
            }
            sys::exit_now(if last == Errno::NOENT { MISSING } else { 126 })
        }
        Cloned::Parent { pid: mapper, pidfd } => {
            let mut ended = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
            let in_time = retry_on_intr(|| poll(&mut ended, Some(&PATIENCE)))? > 0;
            if !in_time {
                pidfd_send_signal(&pidfd, Signal::KILL)?;
            }
            let status = retry_on_intr(|| waitpid(Some(mapper), WaitOptions::empty()))?;
            match status.and_then(|(_, status)| status.exit_status()) {
                _ if !in_time => Err(Errno::TIMEDOUT),
                Some(0) => Ok(()),
                Some(MISSING) => Err(Errno::NOENT),
                _ => Err(Errno::PERM),
            }
        }
    }
}

const MISSING: i32 = 127;

fn number(number: u32) -> Result<CString> {
    CString::new(number.to_string()).map_err(|_| Errno::INVAL)
}
