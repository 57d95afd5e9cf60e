//! clone3(2) in the manner of fork, and fork(2) itself.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// Wider than the `c_int` that libc gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a new process gets besides a copy of its parent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clone<'fd> {
    /// `CLONE_NEW*` and `CLONE_PARENT`.
    pub(crate) flags: u64,
    /// A cgroup v2 directory to be born in (CLONE_INTO_CGROUP, kernel 5.7): costs no RCU grace period, whereas writing
    /// to `cgroup.procs` costs 11 to 16 ms.
    pub(crate) cgroup: Option<BorrowedFd<'fd>>,
}

/// Which side of a clone this is.
#[derive(Debug)]
pub(crate) enum Cloned {
    Child,
    Parent { pid: Pid, pidfd: OwnedFd },
}

/// Makes a copy of the calling process. The caller must be single-threaded: the zygote and its helpers are.
pub(crate) fn clone3(clone: Clone<'_>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is plain data for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = clone.flags | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    // With CLONE_PARENT the kernel wants 0 and takes the exit signal of the caller.
    args.exit_signal = if clone.flags & libc::CLONE_PARENT as u64 != 0 { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = clone.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: neither CLONE_VM nor a stack is asked for, so this is fork with namespaces: the child runs on a copy of
    // everything. `args` and `pidfd` live through the call. No other thread exists whose locks the copy could inherit.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(last_error()),
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel stored a fresh descriptor in `pidfd`, which nobody else owns.
        pid => Ok(Cloned::Parent { pid: pid_from(pid)?, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// fork(2): `None` in the child. The caller must be single-threaded.
pub(crate) fn fork() -> Result<Option<Pid>> {
    // SAFETY: the process is single-threaded, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => Ok(None),
        pid => pid_from(pid.into()).map(Some),
    }
}

fn pid_from(raw: libc::c_long) -> Result<Pid> {
    i32::try_from(raw).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
