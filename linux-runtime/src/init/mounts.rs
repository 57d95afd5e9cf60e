//! Mounts by descriptor: made detached, attached to a handle that was resolved beneath the root.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, fstat, fstatfs, openat, statx};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    fspick, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chroot, fchdir, pivot_root};

use super::beneath;
use super::masks::PROC_MAGIC;
use crate::step::{Beneath, Change, Target};
use crate::sys::{self, MountAttributes};

/// A new file system, detached.
pub(super) fn make(kind: &CStr, options: &[(CString, Option<CString>)], attributes: u64) -> Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    configure(fs.as_fd(), options)?;
    fsconfig_create(fs.as_fd())?;
    finish(fs.as_fd(), attributes)
}

pub(super) fn configure(fs: BorrowedFd<'_>, options: &[(CString, Option<CString>)]) -> Result<()> {
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(fs, key.as_c_str(), value.as_c_str())?,
            None => fsconfig_set_flag(fs, key.as_c_str())?,
        }
    }
    Ok(())
}

/// The mount of a file system that was just created.
pub(super) fn finish(fs: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
    fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes as u32))
}

/// Attaches a detached mount beneath `base`; its mount point is made if missing, a file for a file.
pub(super) fn attach(mount: BorrowedFd<'_>, base: BorrowedFd<'_>, target: &Target) -> Result<()> {
    let is_directory = FileType::from_raw_mode(fstat(mount)?.st_mode) == FileType::Directory;
    let point = if is_directory { directory(base, target)? } else { file(base, target)? };
    attach_to(mount, point.as_fd())
}

/// Attaches a stranger's mount: on /proc only what is procfs, since programs believe what they read there.
pub(super) fn attach_source(mount: BorrowedFd<'_>, base: BorrowedFd<'_>, target: &Target) -> Result<()> {
    let on_proc = matches!(&target.path.names[..], [name] if name.as_bytes() == b"proc");
    if on_proc && fstatfs(mount)?.f_type as i64 != PROC_MAGIC {
        return Err(Errno::XDEV);
    }
    attach(mount, base, target)
}

/// The directory a mount goes on.
pub(super) fn directory(base: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd> {
    refuse_proc(beneath::directory(base, &target.path, target.no_symlinks)?, target)
}

/// The file a mount goes on.
pub(super) fn file(base: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd> {
    refuse_proc(beneath::file(base, &target.path, target.no_symlinks)?, target)
}

/// A link of the image may lead a mount into /proc, over what is written or believed there (CVE-2019-16884).
fn refuse_proc(point: OwnedFd, target: &Target) -> Result<OwnedFd> {
    if !target.no_symlinks && fstatfs(&point)?.f_type as i64 == PROC_MAGIC {
        return Err(Errno::XDEV);
    }
    Ok(point)
}

/// Attaches a detached mount to a handle.
pub(super) fn attach_to(mount: BorrowedFd<'_>, point: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", point, c"", flags)
}

/// A detached copy of the mount that `handle` stands on, with `handle` as its root.
pub(super) fn copy(handle: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(handle, c"", flags)
}

/// A mount namespace of one's own, from which nothing spreads.
pub(super) fn own() -> Result<()> {
    sys::unshare(libc::CLONE_NEWNS as u64)?;
    private()
}

/// Nothing spreads from this mount namespace, nor into it.
pub(super) fn private() -> Result<()> {
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Translates the owners seen through a detached mount (Linux 5.12, overlay layers 5.19).
pub(super) fn translate(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let user_namespace = Some(user_namespace);
    sys::mount_setattr(mount, MountAttributes { set: sys::IDMAP, user_namespace, recursive, ..Default::default() })
}

/// Changes a mount.
pub(super) fn change(mount: BorrowedFd<'_>, change: Change) -> Result<()> {
    let Change { set, clear, propagation, recursive } = change;
    sys::mount_setattr(mount, MountAttributes { set, clear, propagation, recursive, ..Default::default() })
}

/// Adds attributes to a mount.
pub(super) fn restrict(mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    sys::mount_setattr(mount, MountAttributes { set: attributes, ..Default::default() })
}

/// A handle on what is mounted at a place: on nothing else, or the change would be another mount's.
pub(super) fn mounted(base: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd> {
    /// `STATX_ATTR_MOUNT_ROOT` (Linux 5.8).
    const MOUNT_ROOT: u64 = 0x2000;
    let whole = target.path.prefixes.last().map_or(c".", CString::as_c_str);
    let handle = beneath::open(base, whole, OFlags::PATH, target.no_symlinks)?;
    let found = statx(&handle, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    if found.stx_attributes_mask.bits() & MOUNT_ROOT != 0 && found.stx_attributes.bits() & MOUNT_ROOT == 0 {
        return Err(Errno::INVAL);
    }
    Ok(handle)
}

/// Gives a mounted file system other options.
pub(super) fn reconfigure(base: BorrowedFd<'_>, target: &Target, options: &[(CString, Option<CString>)]) -> Result<()> {
    let mounted = mounted(base, target)?;
    let fs = fspick(mounted, c"", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?;
    configure(fs.as_fd(), options)?;
    fsconfig_reconfigure(fs.as_fd())
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

/// Makes `root`, which lies over the old root, the root by chroot(2). The old one stays below; what of it a process with
/// CAP_SYS_CHROOT could use against the kernel is put away first: whole instances of procfs and sysfs.
pub(super) fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    for path in [c"/proc", c"/sys"] {
        match unmount(path, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Not a mount, or one that a user namespace may not take away: then it is covered.
            Err(Errno::INVAL | Errno::PERM) => cover(path)?,
            Err(errno) => return Err(errno),
        }
    }
    enter_root(root)
}

/// Attaches the root at a path of the mount namespace that was entered.
pub(super) fn attach_root_at(root: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = openat(CWD, path, flags, Mode::empty())?;
    attach_to(root, point.as_fd())
}

/// Makes `root` the root of this process alone.
pub(super) fn enter_root(root: BorrowedFd<'_>) -> Result<()> {
    fchdir(root)?;
    chroot(c".")?;
    rustix::process::chdir(c"/")
}

fn cover(path: &CStr) -> Result<()> {
    let empty = make(c"tmpfs", &[], sys::RDONLY | sys::NOSUID | sys::NODEV | sys::NOEXEC)?;
    let point = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    attach_to(empty.as_fd(), point.as_fd())
}

/// An empty root that cannot be written, in which nothing can be executed and no device opened.
pub(super) fn empty_root() -> Result<()> {
    let root = make(c"tmpfs", &[], sys::NOSUID | sys::NODEV | sys::NOEXEC)?;
    attach_root(root.as_fd())?;
    pivot(root.as_fd())?;
    restrict(root.as_fd(), sys::RDONLY)
}

/// Whether symbolic links are refused on the way to a path: the kernel's own places are what they are called.
pub(super) fn no_symlinks(path: &Beneath) -> bool {
    path.names.first().is_some_and(|name| [&b"proc"[..], b"sys", b"dev"].contains(&name.as_bytes()))
}
