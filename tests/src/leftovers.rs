//! What a root left on the machine: processes, mounts, cgroups and sockets. Everything of proa's is keyed by its root
//! directory, so a search for that path and for the cgroup named after it finds all there is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

/// The name of the cgroup below which everything of `root` stands.
pub fn cgroup_name(root: &Path) -> String {
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    format!("proa-{}", &hex::encode(digest)[..8])
}

/// Every process that belongs to `root`: by its command line, its cgroup, its mounts or its open files.
pub fn processes(root: &Path) -> Vec<u32> {
    let own = std::process::id();
    let name = cgroup_name(root);
    pids().into_iter().filter(|pid| *pid != own && belongs(*pid, root, &name)).collect()
}

/// Every process of the machine.
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn belongs(pid: u32, root: &Path, cgroup: &str) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let mentions = |file: &str, needle: &[u8]| {
        fs::read(proc.join(file)).is_ok_and(|text| text.windows(needle.len()).any(|window| window == needle))
    };
    let root_bytes = root.as_os_str().as_encoded_bytes();
    is_ours_by_command(&proc, root)
        || mentions("cgroup", cgroup.as_bytes())
        || mentions("mountinfo", root_bytes)
        || holds_files_of(&proc, root)
}

/// A host, zygote or worker names the root (or something below it) as an argument; a client may too, and a client
/// that outlives its test is also a leftover.
fn is_ours_by_command(proc: &Path, root: &Path) -> bool {
    let Ok(line) = fs::read(proc.join("cmdline")) else { return false };
    let root = root.as_os_str().as_encoded_bytes();
    line.split(|byte| *byte == 0).any(|argument| argument.windows(root.len()).any(|window| window == root))
}

fn holds_files_of(proc: &Path, root: &Path) -> bool {
    let Ok(files) = fs::read_dir(proc.join("fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.starts_with(root)))
}

/// The lines of our own mount table that mention `root`.
///
/// # Errors
/// When /proc cannot be read.
pub fn mounts(root: &Path) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let root = root.to_string_lossy();
    Ok(table.lines().filter(|line| line.contains(&*root)).map(str::to_owned).collect())
}

/// Every cgroup directory of `root`, in every hierarchy.
pub fn cgroups(root: &Path) -> Vec<PathBuf> {
    let name = cgroup_name(root);
    hierarchies().into_iter().map(|top| top.join(&name)).filter(|path| path.exists()).collect()
}

/// The top directories of the mounted cgroup hierarchies.
pub fn hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of_cgroups = |line: &&str| {
        let kind = line.split(" - ").nth(1).unwrap_or_default();
        kind.starts_with("cgroup ") || kind.starts_with("cgroup2 ")
    };
    table.lines().filter(of_cgroups).filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

/// The files of the run directory: sockets and whatever lies beside them.
pub fn run_files(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("run")) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Holds when nothing of `root` runs, is mounted, or stands in a cgroup, and its run directory is empty.
///
/// # Errors
/// Lists what is left.
pub fn none(root: &Path) -> Result<()> {
    let processes: Vec<String> = processes(root).into_iter().map(describe).collect();
    let (mounts, cgroups, files) = (mounts(root)?, cgroups(root), run_files(root));
    ensure!(
        processes.is_empty() && mounts.is_empty() && cgroups.is_empty() && files.is_empty(),
        "left behind: processes {processes:?}, mounts {mounts:?}, cgroups {cgroups:?}, run files {files:?}"
    );
    Ok(())
}

fn describe(pid: u32) -> String {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default().to_owned();
    format!("{pid} `{}` {state}", line.trim())
}

/// Ends what a failed test left, so that it disturbs nobody else: only processes of this very root, by their ids.
pub fn sweep(root: &Path) {
    for pid in processes(root) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for top in cgroups(root) {
        remove_cgroup(&top);
    }
}

fn remove_cgroup(folder: &Path) {
    if let Ok(entries) = fs::read_dir(folder) {
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).for_each(|path| remove_cgroup(&path));
    }
    let _ = fs::remove_dir(folder);
}
