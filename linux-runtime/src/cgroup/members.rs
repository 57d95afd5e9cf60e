//! Who lives in a group, and how they come into one more hierarchy while they run.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::Pid;

use super::Layout;

/// How often the members are looked for that were forked while others were moved. What is moved forks beside the
/// others, so this ends as soon as nobody forks faster than we write.
const ROUNDS: usize = 200;

/// The processes of `group`, by the numbers of this process's pid namespace, in ascending order.
pub fn processes(layout: &Layout, group: &str) -> Vec<u32> {
    let all = layout.directories(group).into_iter().flat_map(|directory| members(&directory));
    let all: BTreeSet<u32> = all.filter_map(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()).collect();
    all.into_iter().collect()
}

/// Where one more process of `group` belongs: beside `pid`, its first one. On v2 a container that made groups below its own
/// (systemd does) has no processes in its own any more, and the kernel lets none in. On v1 it is the group itself.
pub fn group_beside(layout: &Layout, group: &str, pid: i32) -> String {
    if layout.with("pids").is_none_or(|hierarchy| !hierarchy.unified) {
        return group.to_owned();
    }
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    // Elsewhere would be no group of the container's.
    if Path::new(own).starts_with(group) { own.to_owned() } else { group.to_owned() }
}

/// Who lives in `directory` and in the groups below it, which a container may have made.
pub(super) fn members(directory: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<Pid> = text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect();
    if has_groups(directory) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all.extend(members(&entry.path()));
            }
        }
    }
    all
}

/// A directory has a link of its own, one of its parent's, and one of each directory in it.
fn has_groups(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.nlink() > 2)
}

/// Moves every member of `group` into `directory`, which is the group's in a hierarchy it was not made in.
///
/// # Errors
/// `WouldBlock` when its members fork faster than they can be moved.
pub(super) fn gather(layout: &Layout, group: &str, directory: &Path) -> io::Result<()> {
    let others: Vec<PathBuf> = layout.directories(group).into_iter().filter(|other| other != directory).collect();
    for _ in 0..ROUNDS {
        let inside: HashSet<Pid> = members(directory).into_iter().collect();
        let mut outside: HashSet<Pid> = others.iter().flat_map(|other| members(other)).collect();
        outside.retain(|pid| !inside.contains(pid));
        let mut moved = false;
        for pid in outside {
            match fs::write(directory.join("cgroup.procs"), pid.as_raw_nonzero().get().to_string()) {
                Ok(()) => moved = true,
                // It ended meanwhile.
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
        }
        if !moved {
            return Ok(());
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}
