//! Gives a group of v2 to a container's user, so that a container in a user namespace bounds its own parts.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Uid, chownat};

/// What the kernel says is safe to give away (cgroups(7), Linux 4.15): by any other file it could lift its own bounds.
const SAFE: &str = "/sys/kernel/cgroup/delegate";
const SAFE_BEFORE: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Makes `owner` the owner of the group at `directory` and of those of its files that may be given away.
pub(crate) fn delegate(directory: &Path, owner: u32) -> io::Result<()> {
    let files = fs::read_to_string(SAFE).unwrap_or_else(|_| SAFE_BEFORE.to_owned());
    give(directory, owner)?;
    for file in files.lines() {
        match give(&directory.join(file), owner) {
            // Not every group has every file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn give(path: &Path, owner: u32) -> io::Result<()> {
    Ok(chownat(CWD, path, Some(Uid::from_raw(owner)), None, AtFlags::SYMLINK_NOFOLLOW)?)
}
