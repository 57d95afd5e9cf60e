//! A mount of another sandbox, such as the shared memory of a container whose IPC namespace is joined. The kernel copies
//! mounts only of the namespace one stands in (open_tree(2)), so the helper goes there and comes back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};
use rustix::io::{Errno, Result};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::beneath;
use crate::step::Beneath;

const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A detached copy of the tmpfs at `path`.
pub(super) fn mount(namespace: BorrowedFd<'_>, path: &Beneath) -> Result<OwnedFd> {
    let own = openat(CWD, c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    enter(namespace)?;
    let copied = copy(path);
    enter(own.as_fd())?;
    copied
}

/// Takes root and working directory along to those of the namespace.
fn enter(namespace: BorrowedFd<'_>) -> Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))
}

/// The other sandbox may have put anything in the place: no link is followed, and only memory is taken.
fn copy(path: &Beneath) -> Result<OwnedFd> {
    let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let whole = path.prefixes.last().ok_or(Errno::ISDIR)?;
    let place = beneath::open(root.as_fd(), whole, OFlags::PATH | OFlags::DIRECTORY, true)?;
    if fstatfs(&place)?.f_type as i64 != TMPFS_MAGIC {
        return Err(Errno::XDEV);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&place, c"", flags)
}
