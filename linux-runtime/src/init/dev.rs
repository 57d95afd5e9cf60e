//! /dev on a tmpfs that nobody else has seen: its nodes are made through the descriptor of the detached mount, so no
//! name of the image is ever followed (CVE-2026-41579). Where the root's own directories are used, nodes are made through
//! handles resolved beneath it, and what stands there already must be the node itself (CVE-2025-31133, CVE-2026-88265).

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, makedev, mkdirat, mknodat, openat, readlinkat_raw,
    statat, symlinkat, unlinkat,
};
use rustix::io::{Errno, Result};

use super::{beneath, mounts};
use crate::step::{Beneath, Node};

/// Makes the tmpfs with its nodes; everything belongs to `owner`.
pub(super) fn make(
    options: &[(CString, Option<CString>)],
    attributes: u64,
    nodes: &[Node],
    owner: u32,
) -> Result<OwnedFd> {
    let writable = attributes & !crate::sys::RDONLY;
    let dev = mounts::make(c"tmpfs", options, writable)?;
    if owner != 0 {
        let root = openat(&dev, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        fchown(&root, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    let owner = (owner, owner);
    with_whole_modes(|| nodes.iter().try_for_each(|node| make_node(dev.as_fd(), node, owner)))?;
    if attributes != writable {
        mounts::restrict(dev.as_fd(), attributes)?;
    }
    Ok(dev)
}

/// Makes nodes in a folder of the root, which is made if it is missing.
pub(super) fn place(root: BorrowedFd<'_>, folder: &Beneath, nodes: &[Node]) -> Result<()> {
    let folder = beneath::directory(root, folder, mounts::no_symlinks(folder))?;
    with_whole_modes(|| nodes.iter().try_for_each(|node| place_node(folder.as_fd(), node)))
}

fn place_node(folder: BorrowedFd<'_>, node: &Node) -> Result<()> {
    match make_node(folder, node, (0, 0)) {
        Err(Errno::EXIST) if is_there(folder, node)? => Ok(()),
        // Images come with a multiplexer of the machine they were made on, which is none of the container's terminals.
        Err(Errno::EXIST) if matches!(node, Node::Link { name, .. } if name.as_bytes() == b"ptmx") => {
            unlinkat(folder, node.name().as_c_str(), AtFlags::empty())?;
            make_node(folder, node, (0, 0))
        }
        other => other,
    }
}

/// The umask takes nothing away meanwhile: a mode that was changed afterwards, by name, could be another file's.
fn with_whole_modes<T>(make: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(Mode::empty());
    let made = make();
    rustix::process::umask(before);
    made
}

/// Whether what stands in a node's place is what was to be made.
fn is_there(folder: BorrowedFd<'_>, node: &Node) -> Result<bool> {
    let name = node.name().as_c_str();
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(match node {
        Node::Character { major, minor, .. } => {
            kind == FileType::CharacterDevice && stat.st_rdev == makedev(*major, *minor)
        }
        Node::Block { major, minor, .. } => kind == FileType::BlockDevice && stat.st_rdev == makedev(*major, *minor),
        Node::Fifo { .. } => kind == FileType::Fifo,
        Node::Directory { .. } => kind == FileType::Directory,
        Node::File { .. } => kind == FileType::RegularFile || kind == FileType::CharacterDevice,
        Node::Link { name: link, to } => {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            // The multiplexer must be the container's; of other links the image may have made its own.
            link.as_bytes() != b"ptmx"
                || (kind == FileType::Symlink && *readlinkat_raw(folder, name, &mut buffer)?.0 == *to.as_bytes())
        }
    })
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
    own(dev, name, owner)
}

fn own(dev: BorrowedFd<'_>, name: &CStr, (uid, gid): (u32, u32)) -> Result<()> {
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    chownat(dev, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
}
