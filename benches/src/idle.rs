//! What a process holds: memory of its own and descriptors, and who its children are.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A process's private memory in bytes: what would come back if it ended.
///
/// # Errors
/// When it is gone or somebody else's.
pub fn private(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let clean = field("Private_Clean:").context("smaps_rollup has Private_Clean")?;
    let dirty = field("Private_Dirty:").context("smaps_rollup has Private_Dirty")?;
    Ok((clean + dirty) * 1024)
}

/// How many descriptors a process has open.
///
/// # Errors
/// As [`private`].
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// All processes that hold a file beneath `root`, by pid and name: a node's host, its zygote, and any other helper, but
/// none of its containers' programs.
///
/// # Errors
/// When /proc cannot be read.
pub fn processes(root: &Path) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while it is looked at.
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let mut files = files.filter_map(|file| fs::read_link(file.path()).ok());
        if pid != std::process::id() && files.any(|file| file.starts_with(root)) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_owned()));
        }
    }
    Ok(found)
}
