//! What a group uses now.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Layout;

/// What a group uses; 0 where no controller says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes now and at most.
    pub memory: u64,
    pub memory_peak: u64,
    pub cpu: Duration,
    /// Processes and threads.
    pub pids: u64,
}

/// Reads the use of `group`.
pub fn usage(layout: &Layout, group: &str) -> Usage {
    let file = |controller: &str, old: &str, new: &str| -> Option<String> {
        let hierarchy = layout.with(controller)?;
        let path: PathBuf = hierarchy.mount.join(group).join(if hierarchy.unified { new } else { old });
        fs::read_to_string(path).ok()
    };
    let number = |text: Option<String>| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let cpu = if layout.with("cpu").is_some_and(|hierarchy| hierarchy.unified) {
        let stat = file("cpu", "", "cpu.stat").unwrap_or_default();
        let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        Duration::from_micros(micros.unwrap_or(0))
    } else {
        Duration::from_nanos(number(file("cpuacct", "cpuacct.usage", "")))
    };
    Usage {
        memory: number(file("memory", "memory.usage_in_bytes", "memory.current")),
        memory_peak: number(file("memory", "memory.max_usage_in_bytes", "memory.peak")),
        cpu,
        pids: number(file("pids", "pids.current", "pids.current")),
    }
}
