//! Attempts in forked children that end with them: nothing tried here leaves a trace.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, mkdirat};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_change, open_tree,
};
use rustix::process::{WaitOptions, getgid, getuid, waitpid};

use crate::plan::SUBORDINATE;
use crate::step::Lower;
use crate::sys;
use crate::zygote::user_namespace;

const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWNS: u64 = libc::CLONE_NEWNS as u64;
const OTHERS: u64 = (libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64;

/// Runs `attempt` in a child and says whether it succeeded.
fn succeeds(attempt: impl FnOnce() -> Result<()>) -> bool {
    match sys::fork() {
        Ok(None) => sys::exit_now(if attempt().is_ok() { 0 } else { 1 }),
        Ok(Some(child)) => {
            let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
            matches!(status, Ok(Some((_, status))) if status.exit_status() == Some(0))
        }
        Err(_) => false,
    }
}

/// Every namespace of a container, without a user namespace, and a mount in it.
pub(super) fn namespaces() -> bool {
    succeeds(|| {
        sys::unshare(NEWNS | OTHERS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        tmpfs().map(drop)
    })
}

/// A user namespace of the caller's own id that may mount: some distributions allow the one and refuse the other.
pub(super) fn own_namespace() -> bool {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    succeeds(|| {
        sys::unshare(NEWUSER)?;
        let write = |file: &str, text: String| fs::write(file, text).map_err(|_| Errno::PERM);
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", format!("0 {gid} 1"))?;
        sys::unshare(NEWNS | OTHERS)?;
        tmpfs().map(drop)
    })
}

/// A mapped user namespace, and a clone of the root file system with owners translated by it.
pub(super) fn mapped_namespaces() -> bool {
    succeeds(|| {
        let namespace = user_namespace(&[SUBORDINATE], &[SUBORDINATE])?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, "/", flags)?;
        translate(tree.as_fd(), namespace.as_fd())
    })
}

fn translate(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
    let change = sys::MountAttributes { set: sys::IDMAP, user_namespace: Some(namespace), ..Default::default() };
    sys::mount_setattr(tree, change)
}

/// An overlay whose layers are detached mounts (Linux 6.15), else whether overlay exists at all.
pub(super) fn overlay() -> Option<Lower> {
    if succeeds(|| detached_overlay().map(drop)) {
        return Some(Lower::Detached);
    }
    succeeds(|| fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map(drop)).then_some(Lower::Attached)
}

fn detached_overlay() -> Result<OwnedFd> {
    sys::unshare(NEWNS)?;
    let layers = tmpfs()?;
    ["lower", "upper", "work"].iter().try_for_each(|name| mkdirat(&layers, *name, Mode::from_raw_mode(0o700)))?;
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let beneath = |name: &str| format!("/proc/self/fd/{}/{name}", layers.as_raw_fd());
    fsconfig_set_string(overlay.as_fd(), "lowerdir+", beneath("lower"))?;
    fsconfig_set_string(overlay.as_fd(), "upperdir", beneath("upper"))?;
    fsconfig_set_string(overlay.as_fd(), "workdir", beneath("work"))?;
    fsconfig_create(overlay.as_fd())?;
    fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn tmpfs() -> Result<OwnedFd> {
    let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(tmpfs.as_fd())?;
    fsmount(tmpfs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
