//! A hook of the specification, run by the container's own process. Not for hooks of the runtime's namespace.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, waitpid};

use crate::sys::{self, Clone, Cloned, Pointers};

/// Runs the program at `path` with `state` (a file that is read from its beginning) as its standard input.
///
/// ETIMEDOUT when it takes longer than `timeout` seconds, ECANCELED when it ends with anything but 0.
pub(super) fn run(
    state: BorrowedFd<'_>,
    path: &CStr,
    (arguments, environment): (&[CString], &[CString]),
    timeout: Option<u64>,
) -> Result<()> {
    let (arguments, environment) = (Pointers::new(arguments.to_vec()), Pointers::new(environment.to_vec()));
    seek(state, SeekFrom::Start(0))?;
    match sys::clone3(Clone::default())? {
        Cloned::Child => {
            let ready = rustix::stdio::dup2_stdin(state).and_then(|()| sys::seal_descriptors(3));
            sys::default_and_unblock_all();
            if ready.is_ok() {
                sys::execve(path, &arguments, &environment);
            }
            sys::exit_now(127)
        }
        Cloned::Parent { pid, pidfd } => {
            let in_time = ends_within(pidfd.as_fd(), timeout)?;
            if !in_time {
                pidfd_send_signal(&pidfd, Signal::KILL)?;
            }
            let ended = retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
            match ended {
                _ if !in_time => Err(Errno::TIMEDOUT),
                Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
                _ => Err(Errno::CANCELED),
            }
        }
    }
}

fn ends_within(process: BorrowedFd<'_>, timeout: Option<u64>) -> Result<bool> {
    let deadline = timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::from_borrowed_fd(process, PollFlags::IN)], left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
