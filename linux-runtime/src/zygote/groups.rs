//! How the zygote clears away the cgroups of its own code while no host is there to do so: by handles of the hierarchies,
//! opened before it leaves the mount namespace that shows them. Makes no groups and sets no limits.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};

use crate::cgroup::Layout;

/// A handle of each hierarchy in which groups are made, with the path it was opened by.
#[derive(Debug)]
pub(super) struct Hierarchies(Vec<(PathBuf, OwnedFd)>);

impl Hierarchies {
    /// Opens those that can be written; one that cannot be opened holds no group of ours.
    pub(super) fn open(layout: &Layout) -> Hierarchies {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let writable = layout.hierarchies.iter().filter(|one| one.writable);
        let opened = writable.filter_map(|one| {
            let handle = openat(CWD, &one.mount, flags, Mode::empty()).ok()?;
            Some((one.mount.clone(), handle))
        });
        Hierarchies(opened.collect())
    }

    /// Removes a group, and its parent when it was the last in it. One that still holds somebody stays for the next host.
    pub(super) fn remove(&self, group: &Path) {
        for (mount, handle) in &self.0 {
            let Ok(below) = group.strip_prefix(mount) else { continue };
            for directory in [Some(below), below.parent()].into_iter().flatten().filter(|path| *path != Path::new("")) {
                let _ = unlinkat(handle, directory, AtFlags::REMOVEDIR);
            }
        }
    }
}
