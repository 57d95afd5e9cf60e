//! What a group uses now.

use std::fs;
use std::time::Duration;

use super::{Hierarchy, Layout, blocks};

/// What a group uses; 0 or nothing where no controller says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes now and at most.
    pub memory: u64,
    pub memory_peak: u64,
    /// Bytes it may use; `None` without a limit.
    pub memory_limit: Option<u64>,
    /// How often its limit was met.
    pub memory_failures: u64,
    /// The kernel's own account (`memory.stat`), by its names.
    pub memory_details: Vec<(String, u64)>,
    pub cpu: Duration,
    pub cpu_user: Duration,
    pub cpu_system: Duration,
    /// Nanoseconds on each processor (v1).
    pub cpu_each: Vec<u64>,
    pub throttling: Throttling,
    /// Processes and threads, now and at most.
    pub pids: u64,
    pub pids_limit: Option<u64>,
    /// Reads and writes of block devices.
    pub blocks: Vec<Block>,
}

/// How often its processor quota held it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttling {
    pub periods: u64,
    pub throttled: u64,
    pub time: Duration,
}

/// One device and direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub major: u64,
    pub minor: u64,
    /// `read` or `write`.
    pub operation: &'static str,
    pub bytes: u64,
    pub count: u64,
}

/// One controller's files of a group.
pub(super) struct Files<'a> {
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) group: &'a str,
}

impl Files<'_> {
    /// The text of a file that may have another name on v2.
    pub(super) fn text(&self, old: &str, new: &str) -> String {
        let name = if self.hierarchy.unified { new } else { old };
        if name.is_empty() {
            return String::new();
        }
        fs::read_to_string(self.hierarchy.mount.join(self.group).join(name)).unwrap_or_default()
    }

    pub(super) fn number(&self, old: &str, new: &str) -> u64 {
        self.text(old, new).trim().parse().unwrap_or(0)
    }

    /// A bound; v1 says a number near the largest where there is none, v2 `max`.
    pub(super) fn bound(&self, old: &str, new: &str) -> Option<u64> {
        self.text(old, new).trim().parse().ok().filter(|bound| *bound < i64::MAX.cast_unsigned() / 2)
    }
}

/// Reads the use of `group`.
pub fn usage(layout: &Layout, group: &str) -> Usage {
    let files = |controller: &str| layout.with(controller).map(|hierarchy| Files { hierarchy, group });
    let mut usage = Usage::default();
    if let Some(memory) = files("memory") {
        usage.memory = memory.number("memory.usage_in_bytes", "memory.current");
        usage.memory_peak = memory.number("memory.max_usage_in_bytes", "memory.peak");
        usage.memory_limit = memory.bound("memory.limit_in_bytes", "memory.max");
        usage.memory_failures = if memory.hierarchy.unified {
            value(&table(&memory.text("", "memory.events")), "max")
        } else {
            memory.number("memory.failcnt", "")
        };
        usage.memory_details = table(&memory.text("memory.stat", "memory.stat"));
    }
    if let Some(pids) = files("pids") {
        usage.pids = pids.number("pids.current", "pids.current");
        usage.pids_limit = pids.bound("pids.max", "pids.max");
    }
    if let Some(cpu) = files("cpu") {
        let stat = table(&cpu.text("cpu.stat", "cpu.stat"));
        let value = |name: &str| value(&stat, name);
        usage.throttling.periods = value("nr_periods");
        usage.throttling.throttled = value("nr_throttled");
        usage.throttling.time = if cpu.hierarchy.unified {
            usage.cpu = Duration::from_micros(value("usage_usec"));
            usage.cpu_user = Duration::from_micros(value("user_usec"));
            usage.cpu_system = Duration::from_micros(value("system_usec"));
            Duration::from_micros(value("throttled_usec"))
        } else {
            Duration::from_nanos(value("throttled_time"))
        };
    }
    if let Some(cpu) = files("cpuacct").filter(|cpu| !cpu.hierarchy.unified) {
        usage.cpu = Duration::from_nanos(cpu.number("cpuacct.usage", ""));
        usage.cpu_user = Duration::from_nanos(cpu.number("cpuacct.usage_user", ""));
        usage.cpu_system = Duration::from_nanos(cpu.number("cpuacct.usage_sys", ""));
        let each = cpu.text("cpuacct.usage_percpu", "");
        usage.cpu_each = each.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    }
    let tables = blocks::tables(layout, group);
    usage.blocks = blocks::by_direction(&tables);
    usage
}

/// Lines of a name and a number.
pub(super) fn table(text: &str) -> Vec<(String, u64)> {
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// A number of such a table by its name; 0 where there is none.
pub(super) fn value(table: &[(String, u64)], name: &str) -> u64 {
    table.iter().find(|(key, _)| key == name).map_or(0, |(_, value)| *value)
}
