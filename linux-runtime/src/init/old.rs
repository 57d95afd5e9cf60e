//! mount(2), where newer calls are missing or cannot say what is wanted. It takes a place by its name, so that the name is
//! one of procfs that means a handle resolved beforehand; what came of it is looked at afterwards.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{StatVfsMountFlags, fstat, fstatvfs};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};

use super::mounts;
use super::text::Text;
use crate::step::{Change, Target};
use crate::sys;

/// What statvfs tells of a mount, as attributes. Times of access follow, since mount(2) forgets what it is not told.
const TOLD: [(StatVfsMountFlags, u64); 7] = [
    (StatVfsMountFlags::RDONLY, sys::RDONLY),
    (StatVfsMountFlags::NOSUID, sys::NOSUID),
    (StatVfsMountFlags::NODEV, sys::NODEV),
    (StatVfsMountFlags::NOEXEC, sys::NOEXEC),
    (StatVfsMountFlags::NODIRATIME, sys::NODIRATIME),
    (StatVfsMountFlags::NOATIME, sys::NOATIME),
    // statvfs(2): ST_NOSYMFOLLOW.
    (StatVfsMountFlags::from_bits_retain(0x2000), sys::NOSYMFOLLOW),
];

/// Mounts a file system beneath `base`.
pub(super) fn mount(
    (kind, source): (&CStr, &CStr),
    (flags, data): (u64, &CStr),
    base: BorrowedFd<'_>,
    target: &Target,
) -> Result<()> {
    let point = mounts::directory(base, target)?;
    let before = fstat(&point)?.st_dev;
    let flags = MountFlags::from_bits_retain(flags as u32);
    rustix::mount::mount(source, name(point.as_fd())?.as_c_str()?, kind, flags, data)?;
    // Another device than before: the new file system's, where the path still leads.
    if fstat(mounts::mounted(base, target)?)?.st_dev == before { Err(Errno::XDEV) } else { Ok(()) }
}

/// Changes the mount that `mount` is the root of.
pub(super) fn remount(mount: BorrowedFd<'_>, change: Change) -> Result<()> {
    let name = name(mount)?;
    if change.propagation != 0 {
        let mut flags = MountPropagationFlags::from_bits_retain(change.propagation as u32);
        flags.set(MountPropagationFlags::REC, change.recursive);
        mount_change(name.as_c_str()?, flags)?;
    }
    if (change.set, change.clear) == (0, 0) {
        return Ok(());
    }
    let wanted = attributes(mount)? & !change.clear | change.set;
    let flags = sys::OLD_FLAGS.iter().filter(|(bit, _)| wanted & bit != 0).fold(0, |all, (_, flag)| all | flag);
    let flags = MountFlags::BIND | MountFlags::from_bits_retain(flags as u32);
    mount_remount(name.as_c_str()?, flags, c"")?;
    // What statvfs does not tell cannot be looked at.
    let seen = TOLD.iter().fold(0, |all, (_, bit)| all | bit);
    if attributes(mount)? & seen == wanted & seen { Ok(()) } else { Err(Errno::PERM) }
}

/// The same for what is mounted at a place.
pub(super) fn remount_at(base: BorrowedFd<'_>, target: &Target, change: Change) -> Result<()> {
    match target.path.prefixes.last() {
        None => remount(base, change),
        Some(_) => remount(mounts::mounted(base, target)?.as_fd(), change),
    }
}

fn attributes(mount: BorrowedFd<'_>) -> Result<u64> {
    let told = fstatvfs(mount)?.f_flag;
    let known = TOLD.iter().filter(|(flag, _)| told.contains(*flag)).fold(0, |all, (_, bit)| all | bit);
    let strict = !told.intersects(StatVfsMountFlags::NOATIME | StatVfsMountFlags::RELATIME);
    Ok(if strict { known | sys::STRICTATIME } else { known })
}

/// The handle's own name.
fn name(handle: BorrowedFd<'_>) -> Result<Text<32>> {
    let mut name = Text::new();
    name.push(b"/proc/self/fd/")?.number(handle.as_raw_fd() as u32)?;
    Ok(name)
}
