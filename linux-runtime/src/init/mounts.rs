//! Mounts by descriptor: made detached, attached to a handle that was resolved beneath the root.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};
use rustix::process::{fchdir, pivot_root};

use super::beneath;
use crate::step::{Beneath, Target};
use crate::sys::{self, MountAttributes};

const PROC_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// A new file system, detached.
pub(super) fn make(kind: &CStr, options: &[(CString, Option<CString>)], attributes: u64) -> Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(fs.as_fd(), key.as_c_str(), value.as_c_str())?,
            None => fsconfig_set_flag(fs.as_fd(), key.as_c_str())?,
        }
    }
    fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Attaches a detached mount beneath `base`; its mount point is made if missing, a file for a file.
pub(super) fn attach(mount: BorrowedFd<'_>, base: BorrowedFd<'_>, target: &Target) -> Result<()> {
    let is_directory = FileType::from_raw_mode(fstat(mount)?.st_mode) == FileType::Directory;
    let point = if is_directory {
        beneath::directory(base, &target.path, target.no_symlinks)?
    } else {
        beneath::file(base, &target.path, target.no_symlinks)?
    };
    attach_to(mount, point.as_fd())
}

/// Attaches a detached mount to a handle.
pub(super) fn attach_to(mount: BorrowedFd<'_>, point: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", point, c"", flags)
}

/// A detached copy of the mount that `handle` stands on, with `handle` as its root.
fn copy(handle: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(handle, c"", flags)
}

/// A mount namespace of one's own, from which nothing spreads.
pub(super) fn own() -> Result<()> {
    sys::unshare(libc::CLONE_NEWNS as u64)?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Translates the owners seen through a detached mount (Linux 5.12, overlay layers 5.19).
pub(super) fn translate(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    let user_namespace = Some(user_namespace);
    sys::mount_setattr(mount, MountAttributes { set: sys::IDMAP, user_namespace, ..Default::default() })
}

/// Adds attributes to a mount.
pub(super) fn restrict(mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    sys::mount_setattr(mount, MountAttributes { set: attributes, ..Default::default() })
}

/// Attaches the root over the zygote's own, from where it is pivoted to: `/` is the one place that always exists, and
/// paths that start there still see what is below.
pub(super) fn attach_root(root: BorrowedFd<'_>) -> Result<()> {
    let point = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    attach_to(root, point.as_fd())
}

/// Makes `root` the root and lets go of the old one, which then lies over it (pivot_root(2), "." and ".").
pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    fchdir(root)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// An empty root that cannot be written, in which nothing can be executed and no device opened.
pub(super) fn empty_root() -> Result<()> {
    let root = make(c"tmpfs", &[], sys::NOSUID | sys::NODEV | sys::NOEXEC)?;
    attach_root(root.as_fd())?;
    pivot(root.as_fd())?;
    restrict(root.as_fd(), sys::RDONLY)
}

/// The host's /sys.
pub(super) fn bind_sys(attributes: u64, base: BorrowedFd<'_>, target: &Target) -> Result<()> {
    let sys = openat(CWD, c"/sys", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let copy = copy(sys.as_fd(), true)?;
    sys::mount_setattr(copy.as_fd(), MountAttributes { set: attributes, recursive: true, ..Default::default() })?;
    attach(copy.as_fd(), base, target)
}

/// Hides a path. A directory is hidden by an empty one, a file by /dev/null, which is verified to be that device and
/// not what the image calls so (CVE-2025-31133).
pub(super) fn mask(root: BorrowedFd<'_>, path: &Beneath) -> Result<()> {
    let Some(point) = existing(root, path)? else { return Ok(()) };
    if FileType::from_raw_mode(fstat(&point)?.st_mode) == FileType::Directory {
        let empty = make(c"tmpfs", &[], sys::RDONLY | sys::NOSUID | sys::NODEV | sys::NOEXEC)?;
        return attach_to(empty.as_fd(), point.as_fd());
    }
    let null = beneath::open(root, c"dev/null", OFlags::PATH | OFlags::NOFOLLOW, true)?;
    let stat = fstat(&null)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3);
    if !is_null {
        return Err(Errno::NODEV);
    }
    attach_to(copy(null.as_fd(), false)?.as_fd(), point.as_fd())
}

/// Makes a path read-only by a read-only copy of its mount over it.
pub(super) fn read_only(root: BorrowedFd<'_>, path: &Beneath) -> Result<()> {
    let Some(point) = existing(root, path)? else { return Ok(()) };
    let copy = copy(point.as_fd(), true)?;
    sys::mount_setattr(copy.as_fd(), MountAttributes { set: sys::RDONLY, recursive: true, ..Default::default() })?;
    attach_to(copy.as_fd(), point.as_fd())
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
