//! The host's steps of a plan: opening what today's machine has, making cgroups. What is missing fails here, in the
//! caller, before the zygote hears of it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, fstatfs, makedev, mkdirat, openat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::cgroup;
use crate::error::{Error, Result};
use crate::plan::{NAMESPACE_NAMES, Plan};
use crate::step::{Action, Actor, Change, Slot};
use crate::sys::{self, MountAttributes};

/// The file system of namespaces (linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// What a plan's zygote needs besides the plan.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Which slot each descriptor goes into.
    pub slots: Vec<Slot>,
    pub descriptors: Vec<OwnedFd>,
}

impl Prepared {
    /// Executes the host's steps of `plan`. May wait for disks: not for an event loop's thread.
    ///
    /// # Errors
    /// The first step that failed, as a sentence; cgroups made before it are the caller's to remove.
    pub fn new(plan: &Plan) -> Result<Prepared> {
        let mut prepared = Prepared::default();
        for (at, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Host) {
            let opened = execute(&step.action).map_err(|source| Error::Prepare {
                number: at + 1,
                of: plan.steps.len(),
                what: step.action.to_string(),
                source,
            })?;
            opened.into_iter().for_each(|(slot, fd)| prepared.add(slot, fd));
        }
        Ok(prepared)
    }

    /// Adds a descriptor for `slot`.
    pub fn add(&mut self, slot: Slot, fd: OwnedFd) {
        self.slots.push(slot);
        self.descriptors.push(fd);
    }
}

fn execute(action: &Action) -> io::Result<Option<(Slot, OwnedFd)>> {
    match action {
        Action::FilterDevices { hierarchy, group, program } => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(CWD, path(hierarchy).join(path(group)), flags, Mode::empty())?;
            sys::attach_device_program(directory.as_fd(), program)?;
            Ok(None)
        }
        Action::DelegateCgroup { hierarchy, group, owner } => {
            cgroup::delegate(&path(hierarchy).join(path(group)), *owner)?;
            Ok(None)
        }
        action => open(action).map(Some),
    }
}

/// What an action opens, and where that goes.
pub(crate) fn open(action: &Action) -> io::Result<(Slot, OwnedFd)> {
    match action {
        Action::OpenLayer { path, into } => Ok((*into, detached(path, false, &[Change::PRIVATE])?)),
        Action::OpenRoot { path, changes, into } => Ok((*into, detached(path, true, changes)?)),
        Action::OpenScratch { path, owner, like, into } => Ok((*into, scratch(path, *owner, like.as_deref())?)),
        Action::OpenSource { path, recursive, changes, into } => Ok((*into, detached(path, *recursive, changes)?)),
        Action::OpenDevice { path, block, major, minor, into } => Ok((*into, device(path, (*block, *major, *minor))?)),
        Action::CreateCgroup { hierarchy, group, settings, attach, unified } => {
            let directory = cgroup::create_group(path(hierarchy), path(group), *unified, settings)?;
            cgroup::settle(&directory, settings).map_err(cgroup::Unsettled::told)?;
            Ok((*attach, attachment(&directory, *unified)?))
        }
        Action::OpenCgroup { hierarchy, group, attach, unified } => {
            Ok((*attach, attachment(&path(hierarchy).join(path(group)), *unified)?))
        }
        Action::OpenFurtherCgroup { hierarchy, group, attach } => {
            match attachment(&path(hierarchy).join(path(group)), false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Ok((*attach, attachment(path(hierarchy), false)?))
                }
                other => Ok((*attach, other?)),
            }
        }
        Action::OpenNamespace { path, kind, into } => Ok((*into, namespace(path, *kind)?)),
        Action::OpenOomEvents { path, into } => {
            Ok((*into, openat(CWD, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
        }
        _ => Err(Errno::INVAL.into()),
    }
}

/// A namespace of others. Entering checks the kind as well; here a sentence can say what it is instead.
fn namespace(path: &CStr, kind: u64) -> io::Result<OwnedFd> {
    let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    if fstatfs(&namespace)?.f_type as i64 != NSFS_MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no namespace"));
    }
    let found = sys::namespace_kind(namespace.as_fd())?;
    if found != kind {
        let name = NAMESPACE_NAMES.iter().find(|(bit, _)| *bit == found).map_or("unknown", |(_, name)| name);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is a namespace of type `{name}`")));
    }
    Ok(namespace)
}

fn path(text: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(text.to_bytes()))
}

/// A detached copy of the mount below `path`: what happens to the caller's mounts later does not concern it. A copy of a
/// shared mount is its peer, so that what a guest mounts would show on the host, until it is changed.
fn detached(path: &CStr, recursive: bool, changes: &[Change]) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = open_tree(CWD, path, flags)?;
    for Change { set, clear, propagation, recursive } in changes.iter().copied() {
        let change = MountAttributes { set, clear, propagation, recursive, ..Default::default() };
        sys::mount_setattr(tree.as_fd(), change)?;
    }
    Ok(tree)
}

/// The host's node of a device, which must be that device.
fn device(path: &CStr, (block, major, minor): (bool, u32, u32)) -> io::Result<OwnedFd> {
    let node = detached(path, false, &[])?;
    let stat = fstat(&node)?;
    let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
    if FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == makedev(major, minor) {
        return Ok(node);
    }
    let (kind, seen) = (if block { "block" } else { "character" }, path.to_string_lossy());
    let sentence = format!("`{seen}` is not the {kind} device {major}:{minor} here");
    Err(io::Error::new(io::ErrorKind::InvalidInput, sentence))
}

/// `upper` and `work`; `upper` has the mode of the topmost layer, since the merged root has that of `upper`.
fn scratch(path: &CStr, owner: u32, like: Option<&CStr>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let folder = openat(CWD, path, flags, Mode::empty())?;
    let mode = match like {
        Some(like) => fstat(openat(CWD, like, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)?.st_mode & 0o7777,
        None => 0o755,
    };
    for name in [c"upper", c"work"] {
        match mkdirat(&folder, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            // A container that is started again keeps what it wrote.
            Err(Errno::EXIST) => continue,
            Err(errno) => return Err(errno.into()),
        }
        chownat(&folder, name, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)), AtFlags::SYMLINK_NOFOLLOW)?;
        if name == c"upper" {
            fchmod(openat(&folder, name, flags, Mode::empty())?, Mode::from_raw_mode(mode))?;
        }
    }
    detached(path, false, &[Change::PRIVATE])
}

/// What the child attaches itself by: the directory on v2, the `tasks` file on v1.
fn attachment(directory: &Path, unified: bool) -> io::Result<OwnedFd> {
    if unified {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return Ok(openat(CWD, directory, flags, Mode::empty())?);
    }
    Ok(openat(CWD, directory.join("tasks"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}
