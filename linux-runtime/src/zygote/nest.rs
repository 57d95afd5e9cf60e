//! The zygote's own mount namespace: an empty tmpfs with /proc and /sys. Small, since every clone of a container copies
//! it (FLOORS); private, since no mount of ours may show elsewhere. /proc and /sys stay whole and uncovered: the kernel
//! lets a user namespace mount its own only where it already sees such (mount_too_revealing).

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Result;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::sys;

/// Where older kernels want layers attached before an overlay is made of them. Not over `/`: a process whose root is
/// covered counts as chrooted, and such may make no user namespace.
pub(crate) const LAYERS: &CStr = c"/layers";

pub(super) fn settle() -> Result<()> {
    sys::unshare(libc::CLONE_NEWNS as u64)?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = openat(CWD, c"/", flags, Mode::empty())?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&root, c"", &old, c"", empty)?;
    for (source, name) in [(c"/proc", c"proc"), (c"/sys", c"sys")] {
        let tree = open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        mkdirat(&root, name, Mode::from_raw_mode(0o555))?;
        let point = openat(&root, name, flags, Mode::empty())?;
        move_mount(&tree, c"", &point, c"", empty)?;
    }
    mkdirat(&root, c"layers", Mode::from_raw_mode(0o700))?;
    fchdir(&root)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")
}
