//! mount_setattr(2), kernel 5.12.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

use super::clone::last_error;

pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub(crate) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
pub(crate) const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
pub(crate) const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
/// Times of access are one of three: relative is 0, the two others are these.
pub(crate) const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
pub(crate) const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
/// All bits of that choice: the kernel wants them cleared together.
pub(crate) const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
pub(crate) const IDMAP: u64 = libc::MOUNT_ATTR_IDMAP;

/// Attributes as flags of mount(2).
pub(crate) const OLD_FLAGS: [(u64, u64); 8] = [
    (RDONLY, libc::MS_RDONLY),
    (NOSUID, libc::MS_NOSUID),
    (NODEV, libc::MS_NODEV),
    (NOEXEC, libc::MS_NOEXEC),
    (NODIRATIME, libc::MS_NODIRATIME),
    (NOATIME, libc::MS_NOATIME),
    (STRICTATIME, libc::MS_STRICTATIME),
    // libc has no name for it: MS_NOSYMFOLLOW (Linux 5.10).
    (NOSYMFOLLOW, 256),
];

/// What changes about a mount.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MountAttributes<'fd> {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    /// `MS_PRIVATE` or `MS_SLAVE`; 0 leaves it.
    pub(crate) propagation: u64,
    /// With [`IDMAP`] in `set`: the user namespace whose maps translate owners.
    pub(crate) user_namespace: Option<BorrowedFd<'fd>>,
    pub(crate) recursive: bool,
}

/// Changes the mount that `mount` is open on.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, attributes: MountAttributes<'_>) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: attributes.user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if attributes.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` lives through the call and its size is given.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}
