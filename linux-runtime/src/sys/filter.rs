//! seccomp(2) with a filter that has already been compiled.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{Errno, Result};
use serde::{Deserialize, Serialize};

use super::clone::last_error;

/// One instruction of classic BPF, laid out as `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// Puts the calling thread under `program`, with `SECCOMP_FILTER_FLAG_*`. Needs no_new_privs or CAP_SYS_ADMIN.
pub(crate) fn load_filter(program: &[Instruction], flags: u64) -> Result<()> {
    load(program, flags).map(drop)
}

/// The same, with somebody who answers for some calls (Linux 5.0): by the descriptor that comes back, which closes at
/// execve.
pub(crate) fn load_filter_with_listener(program: &[Instruction], flags: u64) -> Result<OwnedFd> {
    let number = load(program, flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    let number = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: with this flag the kernel returns a descriptor that it has just made and nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn load(program: &[Instruction], flags: u64) -> Result<libc::c_long> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` has the layout of `sock_filter` (repr(C), the same four fields); `header` describes
    // exactly the slice, and the kernel only reads it during the call.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const header) };
    if outcome == -1 { Err(last_error()) } else { Ok(outcome) }
}

/// Whether this kernel knows a `SECCOMP_FILTER_FLAG_*`: one that it does not know is refused before the program is read.
pub(crate) fn knows_filter_flag(flag: u64) -> bool {
    let nothing = ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel finds no program at the null pointer and changes nothing.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flag, nothing) };
    outcome == -1 && last_error() == Errno::FAULT
}
