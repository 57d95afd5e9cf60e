//! What a process holds: memory of its own and descriptors, and who its children are.

use std::fs;

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

/// All processes that run the program `name`, by pid and arguments.
///
/// # Errors
/// When /proc cannot be read.
pub fn processes(name: &str) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while it is looked at.
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if program.to_string_lossy().trim_end_matches(" (deleted)") == name {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    Ok(found)
}
