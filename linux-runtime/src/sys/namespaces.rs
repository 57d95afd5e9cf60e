//! unshare(2) for namespaces only, and what kind of namespace a descriptor is.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::clone::last_error;

/// NS_GET_NSTYPE (linux/nsfs.h, Linux 4.11).
const GET_KIND: libc::Ioctl = 0xb703;

/// Gives the calling thread namespaces of its own (`CLONE_NEW*`).
pub(crate) fn unshare(namespaces: u64) -> Result<()> {
    let flags = u32::try_from(namespaces).map_err(|_| Errno::INVAL)?;
    let flags = UnshareFlags::from_bits_retain(flags) - UnshareFlags::FILES;
    // SAFETY: FILES, the flag that could separate threads from their descriptors, has just been taken out.
    unsafe { unshare_unsafe(flags) }
}

/// Which `CLONE_NEW*` made the namespace.
pub(crate) fn namespace_kind(namespace: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: the request takes no argument and points to nothing.
    match unsafe { libc::ioctl(namespace.as_raw_fd(), GET_KIND) } {
        -1 => Err(last_error()),
        kind => u64::try_from(kind).map_err(|_| Errno::INVAL),
    }
}
