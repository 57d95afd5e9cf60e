//! seccomp(2) with a filter that has already been compiled.

use rustix::io::Result;
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

/// Puts the calling thread under `program`. Needs no_new_privs or CAP_SYS_ADMIN.
pub(crate) fn load_filter(program: &[Instruction]) -> Result<()> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| rustix::io::Errno::INVAL)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` has the layout of `sock_filter` (repr(C), the same four fields); `header` describes
    // exactly the slice, and the kernel only reads it during the call.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header) };
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}
