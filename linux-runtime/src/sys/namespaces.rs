//! unshare(2) for namespaces only.

use rustix::io::{Errno, Result};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread namespaces of its own (`CLONE_NEW*`).
pub(crate) fn unshare(namespaces: u64) -> Result<()> {
    let flags = u32::try_from(namespaces).map_err(|_| Errno::INVAL)?;
    let flags = UnshareFlags::from_bits_retain(flags) - UnshareFlags::FILES;
    // SAFETY: FILES, the flag that could separate threads from their descriptors, has just been taken out.
    unsafe { unshare_unsafe(flags) }
}
