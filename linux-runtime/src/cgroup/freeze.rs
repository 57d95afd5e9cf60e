//! Stops everything in a group, and lets it go on: `cgroup.freeze` (v2) or the freezer controller (v1).
//!
//! On v1 the freezer's group is made at the first pause and the members are moved into it then, so that a start does not
//! pay for what most containers never need.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::members::{gather, members};
use super::setting::write;
use super::{Layout, create_group};
use crate::error::{Error, Result};

/// How long a group may take to stop: a process that waits for a disk stops when the disk answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// Where a group is frozen.
enum Freezer {
    Unified(PathBuf),
    Old(PathBuf),
}

/// Stops everything in `group`; returns when nothing in it runs. May wait: not for an event loop's thread.
///
/// # Errors
/// `Lacks` where there is no freezer; `Cgroup` when it does not stop in time, and then it goes on.
pub fn freeze(layout: &Layout, group: &str) -> Result<()> {
    let freezer = find(layout, group)?;
    let frozen = match &freezer {
        Freezer::Unified(directory) => freeze_unified(directory),
        Freezer::Old(directory) => freeze_old(layout, group, directory),
    };
    frozen.map_err(|source| {
        // Half stopped is worse than not at all; the first error is the one to tell.
        drop(thaw(layout, group));
        Error::Cgroup { verb: "freeze", path: freezer.path().display().to_string(), source }
    })
}

/// Lets `group` go on; one that was never frozen already does.
///
/// # Errors
/// `Cgroup` when the kernel refuses.
pub fn thaw(layout: &Layout, group: &str) -> Result<()> {
    let Ok(freezer) = find(layout, group) else { return Ok(()) };
    let written = match &freezer {
        Freezer::Unified(directory) => write(&directory.join("cgroup.freeze"), "0"),
        Freezer::Old(directory) => write(&directory.join("freezer.state"), "THAWED"),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Cgroup { verb: "thaw", path: freezer.path().display().to_string(), source: error })
        }
        _ => Ok(()),
    }
}

/// Whether `group` was told to stop.
pub fn is_frozen(layout: &Layout, group: &str) -> bool {
    let Ok(freezer) = find(layout, group) else { return false };
    match freezer {
        Freezer::Unified(directory) => reads(&directory.join("cgroup.freeze"), |text| text == "1"),
        Freezer::Old(directory) => reads(&directory.join("freezer.state"), |text| text != "THAWED"),
    }
}

fn find(layout: &Layout, group: &str) -> Result<Freezer> {
    let lacks = |why: &str| Error::Lacks(format!("pause: {why}"));
    let groups = layout.directories(group);
    let unified = groups.iter().find(|directory| directory.join("cgroup.freeze").exists());
    if let Some(directory) = unified {
        return Ok(Freezer::Unified(directory.clone()));
    }
    let Some(hierarchy) = layout.with("freezer") else {
        return Err(lacks("there is no cgroup freezer that this user may use"));
    };
    let own = hierarchy.mount.join(group);
    if !groups.iter().any(|directory| *directory != own && directory.exists()) {
        return Err(lacks("it stands in no cgroup by which its processes could be found"));
    }
    Ok(Freezer::Old(own))
}

fn freeze_unified(directory: &Path) -> io::Result<()> {
    write(&directory.join("cgroup.freeze"), "1")?;
    let events = directory.join("cgroup.events");
    until(|| Ok(reads(&events, |text| text.lines().any(|line| line == "frozen 1"))))
}

fn freeze_old(layout: &Layout, group: &str, directory: &Path) -> io::Result<()> {
    if let Some(hierarchy) = layout.with("freezer") {
        create_group(&hierarchy.mount, Path::new(group), false, &[])?;
    }
    let state = directory.join("freezer.state");
    // First the state, then the members: each stops as it comes in, and forks no more.
    write(&state, "FROZEN")?;
    gather(layout, group, directory)?;
    until(|| {
        // Said again each time: what was forked while the kernel looked the other way is only then found.
        write(&state, "FROZEN")?;
        Ok(reads(&state, |text| text == "FROZEN") || members(directory).is_empty())
    })
}

fn until(fact: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !fact()? {
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn reads(file: &Path, wanted: impl Fn(&str) -> bool) -> bool {
    fs::read_to_string(file).is_ok_and(|text| wanted(text.trim()))
}

impl Freezer {
    fn path(&self) -> &Path {
        match self {
            Freezer::Unified(path) | Freezer::Old(path) => path,
        }
    }
}
