//! Paths that are hidden or made read-only, and kernel parameters: each verified to be what it is called.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fstat, fstatfs};
use rustix::io::{Errno, Result};

use super::{beneath, mounts, old};
use crate::step::{Beneath, Change};
use crate::sys;

pub(super) const PROC_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;

const READ_ONLY: Change = Change { set: sys::RDONLY, clear: 0, propagation: 0, recursive: true };

/// Hides a path. A directory is hidden by an empty one, a file by /dev/null, which is verified to be that device and
/// not what the image calls so (CVE-2025-31133).
pub(super) fn mask(root: BorrowedFd<'_>, path: &Beneath) -> Result<()> {
    let Some(point) = existing(root, path)? else { return Ok(()) };
    if FileType::from_raw_mode(fstat(&point)?.st_mode) == FileType::Directory {
        let empty = mounts::make(c"tmpfs", &[], sys::RDONLY | sys::NOSUID | sys::NODEV | sys::NOEXEC)?;
        return mounts::attach_to(empty.as_fd(), point.as_fd());
    }
    let null = beneath::open(root, c"dev/null", OFlags::PATH | OFlags::NOFOLLOW, true)?;
    let stat = fstat(&null)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3);
    if !is_null {
        return Err(Errno::NODEV);
    }
    mounts::attach_to(mounts::copy(null.as_fd(), false)?.as_fd(), point.as_fd())
}

/// Makes a path read-only by a read-only copy of its mount over it.
pub(super) fn read_only(root: BorrowedFd<'_>, path: &Beneath) -> Result<()> {
    let Some(point) = existing(root, path)? else { return Ok(()) };
    let copy = mounts::copy(point.as_fd(), true)?;
    mounts::change(copy.as_fd(), READ_ONLY)?;
    mounts::attach_to(copy.as_fd(), point.as_fd())
}

/// The same where only attached mounts change (before Linux 5.12), and each for itself.
pub(super) fn read_only_by_remount(root: BorrowedFd<'_>, path: &Beneath) -> Result<()> {
    let Some(point) = existing(root, path)? else { return Ok(()) };
    mounts::attach_to(mounts::copy(point.as_fd(), true)?.as_fd(), point.as_fd())?;
    let Some(copy) = existing(root, path)? else { return Err(Errno::NOENT) };
    old::remount(copy.as_fd(), Change { recursive: false, ..READ_ONLY })
}

/// Writes a kernel parameter; the file is verified to be procfs's (CVE-2025-52881).
pub(super) fn sysctl(root: BorrowedFd<'_>, path: &Beneath, value: &CStr) -> Result<()> {
    let whole = path.prefixes.last().ok_or(Errno::ISDIR)?;
    let file = beneath::open(root, whole, OFlags::WRONLY | OFlags::NOFOLLOW, true)?;
    verify_kernel_file_system(path, &file)?;
    rustix::io::write(&file, value.to_bytes()).map(drop)
}

/// A handle on `path` if it is there.
fn existing(root: BorrowedFd<'_>, path: &Beneath) -> Result<Option<OwnedFd>> {
    let Some(whole) = path.prefixes.last() else { return Ok(None) };
    let handle = match beneath::open(root, whole, OFlags::PATH, false) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other?,
    };
    verify_kernel_file_system(path, &handle)?;
    Ok(Some(handle))
}

/// Below /proc stands procfs and below /sys sysfs, or somebody moved the name (CVE-2019-16884, CVE-2023-28642).
fn verify_kernel_file_system(path: &Beneath, handle: &OwnedFd) -> Result<()> {
    let expected = match path.names.first().map(|name| name.to_bytes()) {
        Some(b"proc") => PROC_MAGIC,
        Some(b"sys") => SYSFS_MAGIC,
        _ => return Ok(()),
    };
    if fstatfs(handle)?.f_type as i64 == expected { Ok(()) } else { Err(Errno::XDEV) }
}
