//! /dev on a tmpfs that nobody else has seen: its nodes are made through the descriptor of the detached mount, so no
//! name of the image is ever followed (CVE-2026-41579).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fchown, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::Result;

use super::mounts;
use crate::step::Node;

/// Makes the tmpfs with its nodes; everything belongs to `owner`.
pub(super) fn make(
    options: &[(CString, Option<CString>)],
    attributes: u64,
    nodes: &[Node],
    owner: u32,
) -> Result<OwnedFd> {
    let dev = mounts::make(c"tmpfs", options, attributes)?;
    if owner != 0 {
        let root = openat(&dev, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        fchown(&root, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    let owner = (owner, owner);
    for node in nodes {
        make_node(dev.as_fd(), node, owner)?;
    }
    Ok(dev)
}

fn make_node(dev: BorrowedFd<'_>, node: &Node, owner: (u32, u32)) -> Result<()> {
    match node {
        Node::Character { name, major, minor, mode, uid, gid } => {
            device(dev, name, FileType::CharacterDevice, makedev(*major, *minor), *mode, (*uid, *gid))
        }
        Node::Block { name, major, minor, mode, uid, gid } => {
            device(dev, name, FileType::BlockDevice, makedev(*major, *minor), *mode, (*uid, *gid))
        }
        Node::Fifo { name, mode, uid, gid } => device(dev, name, FileType::Fifo, 0, *mode, (*uid, *gid)),
        Node::Link { name, to } => symlinkat(to.as_c_str(), dev, name.as_c_str()),
        Node::Directory { name } => {
            mkdirat(dev, name.as_c_str(), Mode::from_raw_mode(0o755))?;
            own(dev, name, owner)
        }
        Node::File { name } => device(dev, name, FileType::RegularFile, 0, 0o666, owner),
    }
}

fn device(dev: BorrowedFd<'_>, name: &CStr, kind: FileType, number: u64, mode: u32, owner: (u32, u32)) -> Result<()> {
    mknodat(dev, name, kind, Mode::from_raw_mode(mode), number)?;
    // The zygote's umask is 0, but a helper of proa-linux inherits its caller's.
    chmodat(dev, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    own(dev, name, owner)
}

fn own(dev: BorrowedFd<'_>, name: &CStr, (uid, gid): (u32, u32)) -> Result<()> {
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    chownat(dev, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
}
