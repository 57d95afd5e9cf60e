//! What a container or an engine could leave behind: mounts, cgroups, processes, state.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::wait;

/// The cgroups whose path contains `word`, in every hierarchy.
pub(crate) fn cgroups(word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let tops = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for top in tops.filter(|path| path.is_dir()) {
        collect(&top, word, &mut found);
    }
    found
}

/// Removes the cgroups below which an engine's containers were, which engines leave.
pub(crate) fn remove_parents(word: &str) {
    for path in cgroups(word).iter().rev() {
        let _ = fs::remove_dir(path);
    }
}

/// The mounts of this process's namespace whose line contains `word`.
pub(crate) fn mounts(word: &str) -> Result<Vec<String>> {
    let all = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(all.lines().filter(|line| line.contains(word)).map(str::to_owned).collect())
}

/// The processes whose command line contains `word`.
pub(crate) fn processes(word: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(word).then(|| format!("{} {line}", entry.file_name().to_string_lossy()))
    });
    lines.collect()
}

/// Waits until nothing of container `id` is left: no cgroup, no mount, no monitor, no state in the runtime's `root`.
pub(crate) fn nothing(id: &str, root: &Path) -> Result<()> {
    wait::until(&format!("the cgroups of `{id}` are gone"), || Ok(cgroups(id).is_empty()))?;
    wait::until(&format!("the processes of `{id}` are gone"), || Ok(processes(id).is_empty()))?;
    let mounts = mounts(id)?;
    ensure!(mounts.is_empty(), "mounts are left: {mounts:?}");
    let state: Vec<_> = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    let left = state.iter().filter(|name| name.to_string_lossy().contains(id)).count();
    ensure!(left == 0, "state of `{id}` is left in `{}`: {state:?}", root.display());
    Ok(())
}

fn collect(folder: &Path, word: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(word) {
                found.push(path.clone());
            }
            collect(&path, word, found);
        }
    }
}
