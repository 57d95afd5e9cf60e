//! Makes groups, with their parents, ready to take processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::setting::{Setting, write};

/// How often a group is tried whose parent goes away.
const ATTEMPTS: usize = 64;

/// Makes the group and its parents, with the controllers that `settings` need besides the usual ones (v2). A sandbox that
/// is being removed may take an empty parent with it meanwhile: then it is made once more.
pub(crate) fn create_group(hierarchy: &Path, group: &Path, unified: bool, settings: &[Setting]) -> io::Result<PathBuf> {
    for _ in 1..ATTEMPTS {
        match try_create_group(hierarchy, group, unified, settings) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    try_create_group(hierarchy, group, unified, settings)
}

fn try_create_group(hierarchy: &Path, group: &Path, unified: bool, settings: &[Setting]) -> io::Result<PathBuf> {
    let directory = hierarchy.join(group);
    // What nearly every start finds: a parent that is ready.
    let ready = if unified { hands_down(directory.parent(), settings) } else { !hierarchy.join(CPUS).exists() };
    match fs::create_dir(&directory) {
        Ok(()) if ready => return Ok(directory),
        Err(error) if ready && error.kind() == io::ErrorKind::AlreadyExists => return Ok(directory),
        Ok(()) | Err(_) => {}
    }
    create_each(hierarchy, group, unified, settings)
}

/// One after the other from the root on. On v2 the controllers are handed down to the group.
fn create_each(hierarchy: &Path, group: &Path, unified: bool, settings: &[Setting]) -> io::Result<PathBuf> {
    let mut directory = hierarchy.to_path_buf();
    let sets = !unified && hierarchy.join("cpuset.cpus").exists();
    for component in group.components() {
        if unified {
            hand_down(&directory, settings)?;
        }
        directory.push(component);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ if sets => inherit_cpuset(&directory)?,
            _ => {}
        }
    }
    Ok(directory)
}

/// What every group has; others (hugetlb, rdma, misc) cost memory in each group and are for those who ask.
const USUAL: [&str; 5] = ["memory", "cpu", "pids", "cpuset", "io"];

/// Whether `directory` has enabled all that anybody needs.
fn hands_down(directory: Option<&Path>, settings: &[Setting]) -> bool {
    let enabled = directory.and_then(|directory| fs::read_to_string(directory.join("cgroup.subtree_control")).ok());
    let Some(enabled) = enabled else { return false };
    needed(settings)
        .all(|controller| controller == "cgroup" || enabled.split_whitespace().any(|name| name == controller))
}

/// The controllers by the beginnings of their files' names.
fn needed(settings: &[Setting]) -> impl Iterator<Item = &str> {
    USUAL.into_iter().chain(settings.iter().filter_map(|setting| setting.file.split('.').next()))
}

/// Enables below `directory` the controllers that sandboxes use, one by one: one that is missing keeps none away.
fn hand_down(directory: &Path, settings: &[Setting]) -> io::Result<()> {
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control"))?;
    let offered = fs::read_to_string(directory.join("cgroup.controllers"))?;
    for controller in needed(settings) {
        let has = |text: &str| text.split_whitespace().any(|name| name == controller);
        if has(&offered) && !has(&enabled) {
            // What cannot be enabled shows when a limit's file is missing.
            drop(write(&directory.join("cgroup.subtree_control"), &format!("+{controller}")));
        }
    }
    Ok(())
}

const CPUS: &str = "cpuset.cpus";

/// A fresh v1 cpuset accepts no task before it has cpus and mems (cpuset(7)).
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    for file in [CPUS, "cpuset.mems"] {
        let own = directory.join(file);
        if !fs::read_to_string(&own).is_ok_and(|value| value.trim().is_empty()) {
            continue;
        }
        if let Some(parent) = directory.parent()
            && directory.join("tasks").exists()
        {
            write(&own, &fs::read_to_string(parent.join(file))?)?;
        }
    }
    Ok(())
}
