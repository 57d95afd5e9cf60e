//! setgroups(2) of the calling thread, for lists of any length without a copy.

use rustix::io::Result;

use super::clone::last_error;

/// Replaces the further groups. The raw call concerns the calling thread alone, which is the only one.
pub(crate) fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads as many numbers as are given, which live through the call.
    let outcome = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}
