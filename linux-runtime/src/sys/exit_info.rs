//! How a process ended, asked of its pidfd by somebody who is not its parent (ioctl_pidfd(2), Linux 6.15).

use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct pidfd_info` as of its first version.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, and eight ids of its credentials.
    ids: [u32; 11],
    /// As wait(2) tells it.
    exit: i32,
}

/// `_IOWR(0xff, 11, struct pidfd_info)`: the size is the first version's, which every later kernel takes.
const GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl;
const EXIT: u64 = 1 << 3;

/// The exit code as users know it (0 to 255, 128 + n after signal n). `None` while the process lives or nobody has
/// reaped it, which comes a moment after the pidfd has become readable, and on kernels that cannot tell.
pub fn exit_code(pidfd: BorrowedFd<'_>) -> Option<u8> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: `info` has the size the request names and lives through the call; a kernel or descriptor without this
    // request refuses it and writes nothing.
    let outcome = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    if outcome == -1 || info.mask & EXIT == 0 {
        return None;
    }
    let code =
        if libc::WIFSIGNALED(info.exit) { 128 + libc::WTERMSIG(info.exit) } else { libc::WEXITSTATUS(info.exit) };
    u8::try_from(code).ok()
}
