//! Small facts and acts about the calling process.

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::pty::OpenptFlags;

use super::clone::last_error;

/// Ends the process at once: no destructors, no flushing of buffers copied from the parent.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Whether the working directory can be reached from the root. The kernel's getcwd answers `(unreachable)...` where it
/// cannot: a descriptor of the host's tree was used as working directory (CVE-2024-21626).
pub(crate) fn cwd_is_reachable() -> Result<bool> {
    let mut buffer = [0_u8; 4096];
    // SAFETY: the buffer is writable for the length given. The raw call is used because libc's hides what we look for.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    if length == -1 { Err(last_error()) } else { Ok(buffer[0] == b'/') }
}

/// Marks every descriptor from `first` on as closing at execve.
pub(crate) fn seal_descriptors(first: RawFd) -> Result<()> {
    seal_or_close(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// close_range(2) from `first` on: `flags` 0 closes now. Used where nothing owned stands above `first` any more.
pub(crate) fn seal_or_close(first: RawFd, flags: u32) -> Result<()> {
    let first = u32::try_from(first).map_err(|_| Errno::BADF)?;
    // SAFETY: closing descriptors breaks no memory; the callers are children about to exec or to enter, which use no
    // owned descriptor at or above `first` afterwards.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}

/// Gives a descriptor of this process, which a child found at a known number, to whoever asks.
pub(crate) fn kept(number: RawFd) -> OwnedFd {
    // SAFETY: the callers are freshly cloned children that placed the descriptor at `number` themselves (dup2) or
    // inherited it there by contract (descriptor 0 of a zygote), and take it once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Forgets that a descriptor is owned and gives its number.
pub(crate) fn leak(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

/// dup2(2) by numbers: what stood at `to` is closed. For a child that arranges descriptors it no longer tracks.
pub(crate) fn place(from: RawFd, to: RawFd) -> Result<()> {
    // SAFETY: descriptors break no memory; the one caller has dropped or leaked whatever it owned at `to`.
    if unsafe { libc::dup2(from, to) } == -1 { Err(last_error()) } else { Ok(()) }
}

/// close(2) by number, for a descriptor that nobody owns any more in this copy of the process.
pub(crate) fn close_number(number: RawFd) {
    // SAFETY: closing a number breaks no memory; its owner is never dropped, since the child ends by _exit.
    unsafe { libc::close(number) };
}

/// The other side of a pseudo-terminal by ioctl, so that no path such as /dev/pts/N is trusted (CVE-2025-52565).
pub(crate) fn ptsname_free_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let peer = rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&peer, rustix::io::FdFlags::CLOEXEC)?;
    Ok(peer)
}
