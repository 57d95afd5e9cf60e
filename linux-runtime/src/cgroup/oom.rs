//! Tells when the kernel's memory killer meets a group: a descriptor to poll, and what it means.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::Layout;
use super::setting::write;
use super::usage::{table, value};
use crate::error::{Error, Result};

/// A watch over one group.
#[derive(Debug)]
pub struct OomWatch {
    descriptor: OwnedFd,
    directory: PathBuf,
    unified: bool,
    /// Kills told so far.
    told: u64,
}

/// What woke the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oom {
    /// The group met its limit, or the machine its end, and something in the group was killed or waits.
    Happened,
    /// The group is gone: nothing more will come.
    Gone,
    /// Something else changed.
    Nothing,
}

impl OomWatch {
    /// Watches `group` from now on.
    ///
    /// # Errors
    /// `Lacks` where no memory controller is; `Cgroup` when the group is gone.
    pub fn new(layout: &Layout, group: &str) -> Result<OomWatch> {
        let hierarchy = layout.with("memory").ok_or_else(|| {
            Error::Lacks("events: there is no memory controller by which the kernel could tell".to_owned())
        })?;
        let (directory, unified) = (hierarchy.mount.join(group), hierarchy.unified);
        let opened = if unified { watch(&directory) } else { register(&directory) };
        let failed =
            |source: std::io::Error| Error::Cgroup { verb: "watch", path: directory.display().to_string(), source };
        let descriptor = opened.map_err(failed)?;
        let told = if unified { kills(&directory) } else { 0 };
        Ok(OomWatch { descriptor, directory, unified, told })
    }

    /// What happened since the last call; waits until something does. To wait for other things too, poll the descriptor
    /// for input first.
    ///
    /// # Errors
    /// `Cgroup` when the kernel's answer cannot be read.
    pub fn read(&mut self) -> Result<Oom> {
        // A counter of eight bytes, or events with names of files.
        let mut buffer = [0_u8; 4096];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut buffer)).map_err(|errno| {
            Error::Cgroup { verb: "watch", path: self.directory.display().to_string(), source: errno.into() }
        })?;
        if !self.directory.exists() {
            return Ok(Oom::Gone);
        }
        if !self.unified {
            return Ok(Oom::Happened);
        }
        let now = kills(&self.directory);
        let happened = now > self.told;
        self.told = now;
        Ok(match (happened, is_empty(&self.directory)) {
            (true, _) => Oom::Happened,
            // Its last process ended; the group may stay as long as its runtime likes.
            (false, true) => Oom::Gone,
            (false, false) => Oom::Nothing,
        })
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// v1: the kernel writes to the counter at each meeting, and once more when the group goes
/// (Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
fn register(directory: &Path) -> std::io::Result<OwnedFd> {
    let counter = eventfd(0, EventfdFlags::CLOEXEC)?;
    let control = openat(CWD, directory.join("memory.oom_control"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let line = format!("{} {}", counter.as_raw_fd(), control.as_raw_fd());
    write(&directory.join("cgroup.event_control"), &line)?;
    Ok(counter)
}

/// v2: both files change only when their numbers do.
fn watch(directory: &Path) -> std::io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    for file in ["memory.events", "cgroup.events"] {
        inotify::add_watch(&watch, directory.join(file), WatchFlags::MODIFY)?;
    }
    Ok(watch)
}

fn kills(directory: &Path) -> u64 {
    value(&table(&fs::read_to_string(directory.join("memory.events")).unwrap_or_default()), "oom_kill")
}

fn is_empty(directory: &Path) -> bool {
    let events = fs::read_to_string(directory.join("cgroup.events")).unwrap_or_default();
    value(&table(&events), "populated") == 0
}
