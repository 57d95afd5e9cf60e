//! Ends what lives in a group and removes it, also what a crash left behind.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::members::members;
use super::setting::write;
use super::{Layout, is_frozen, thaw};
use crate::error::{Error, Result};
use crate::sys::send_signal;

/// Sends SIGKILL to everything in `group` (such as `proa-1f3c/ID`) and below it; by `cgroup.kill` (v2, Linux 5.14) at once.
pub fn kill_all(layout: &Layout, group: &str) {
    for directory in layout.directories(group) {
        if write(&directory.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        signal_members(&directory, libc::SIGKILL);
    }
    // What is frozen (v1) dies when it goes on.
    if is_frozen(layout, group) {
        drop(thaw(layout, group));
    }
}

/// Sends `signal` to everything in `group` and below it, to each process once.
pub fn signal_all(layout: &Layout, group: &str, signal: i32) {
    // Everything stands in the same group in every hierarchy that counts its members.
    let counted = layout.directories(group).into_iter().max_by_key(|directory| members(directory).len());
    if let Some(directory) = counted {
        signal_members(&directory, signal);
    }
}

/// Member by member, each held by a pidfd before it is looked for once more, so that a number reused meanwhile is a
/// process of the same group or none. A fork bomb is bounded by `pids.max` or its pid namespace.
fn signal_members(directory: &Path, signal: i32) {
    let held = |pid: Pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?));
    let all: Vec<_> = members(directory).into_iter().filter_map(held).collect();
    let still: HashSet<Pid> = if all.is_empty() { HashSet::new() } else { members(directory).into_iter().collect() };
    for (_, process) in all.into_iter().filter(|(pid, _)| still.contains(pid)) {
        // Gone already is as good as killed.
        drop(send_signal(process.as_fd(), signal));
    }
}

/// Removes `group` from every hierarchy, with what is below it; absent is fine.
///
/// # Errors
/// The first group that could not be removed (`ResourceBusy` while something lives in it); the others are tried all
/// the same.
pub fn remove(layout: &Layout, group: &str) -> Result<()> {
    let mut first = None;
    for directory in layout.directories(group) {
        if let Err(source) = remove_tree(&directory) {
            let path = directory.display().to_string();
            first.get_or_insert(Error::Cgroup { verb: "remove", path, source });
        }
    }
    first.map_or(Ok(()), Err)
}

pub(super) fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(()) => return Ok(()),
        Err(_) => {}
    }
    remove_below(directory)?;
    fs::remove_dir(directory)
}

/// Removes what stands below `directory`; absent is fine.
pub(super) fn remove_below(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Kills and removes every group below `parent` that is not in `known`, then `parent` itself when it is empty.
pub fn remove_leftovers(layout: &Layout, parent: &str, known: &dyn Fn(&str) -> bool) {
    for directory in layout.directories(parent) {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || known(&name) {
                continue;
            }
            let group = format!("{parent}/{name}");
            kill_all(layout, &group);
            // Busy means the killed are not reaped yet: the next start of a host finds it again.
            drop(remove(layout, &group));
        }
    }
    remove_parent(layout, parent);
}

/// Removes `parent` where it is empty.
pub fn remove_parent(layout: &Layout, parent: &str) {
    for directory in layout.directories(parent) {
        // Not empty means that somebody else's sandbox stands in it: it stays.
        drop(fs::remove_dir(directory));
    }
}
