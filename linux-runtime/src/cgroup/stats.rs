//! Everything the kernel counts for a group, for `events --stats`: beyond [`usage`](super::usage), which is asked often.

use super::Layout;
use super::blocks::{self, BlockTable};
use super::pressure::Pressure;
use super::usage::{Files, Usage, table, usage, value};

/// What a group uses, waits for and has met.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    pub usage: Usage,
    /// Memory and swap together, as v1 counts; v2's two numbers are added up.
    pub swap: Counter,
    /// The kernel's own memory for the group (v1).
    pub kernel: Counter,
    /// Of that, buffers of TCP (v1).
    pub kernel_tcp: Counter,
    /// How many of its processes the kernel killed for memory.
    pub oom_kills: u64,
    /// Nanoseconds on each processor, in the kernel and outside (v1).
    pub cpu_each_system: Vec<u64>,
    pub cpu_each_user: Vec<u64>,
    /// The processors and memory nodes it may use, as lists of the kernel's.
    pub cpus: String,
    pub mems: String,
    pub blocks: Vec<BlockTable>,
    /// By page size, such as `2MB`.
    pub huge_pages: Vec<(String, Counter)>,
    /// How long it waited, where the kernel tells by group (v2).
    pub cpu_pressure: Option<Pressure>,
    pub memory_pressure: Option<Pressure>,
    pub io_pressure: Option<Pressure>,
}

/// Bytes of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    pub usage: u64,
    pub peak: u64,
    /// `None` without a limit.
    pub limit: Option<u64>,
    /// How often the limit was met.
    pub failures: u64,
}

/// Reads everything about `group`.
pub fn stats(layout: &Layout, group: &str) -> Stats {
    let files = |controller: &str| layout.with(controller).map(|hierarchy| Files { hierarchy, group });
    let mut stats = Stats { usage: usage(layout, group), blocks: blocks::tables(layout, group), ..Default::default() };
    if let Some(memory) = files("memory") {
        stats.swap = swap(&memory, &stats.usage);
        stats.kernel = old(&memory, "memory.kmem");
        stats.kernel_tcp = old(&memory, "memory.kmem.tcp");
        stats.oom_kills = value(&table(&memory.text("memory.oom_control", "memory.events")), "oom_kill");
        stats.memory_pressure = Pressure::parse(&memory.text("", "memory.pressure"));
        stats.io_pressure = Pressure::parse(&memory.text("", "io.pressure"));
        stats.cpu_pressure = Pressure::parse(&memory.text("", "cpu.pressure"));
    }
    if let Some(cpu) = files("cpuacct") {
        stats.cpu_each_system = numbers(&cpu.text("cpuacct.usage_percpu_sys", ""));
        stats.cpu_each_user = numbers(&cpu.text("cpuacct.usage_percpu_user", ""));
    }
    if let Some(sets) = files("cpuset") {
        stats.cpus = sets.text("cpuset.effective_cpus", "cpuset.cpus.effective").trim().to_owned();
        stats.mems = sets.text("cpuset.effective_mems", "cpuset.mems.effective").trim().to_owned();
    }
    if let Some(huge) = files("hugetlb") {
        stats.huge_pages = huge_pages(&huge);
    }
    stats
}

fn swap(memory: &Files<'_>, usage: &Usage) -> Counter {
    if !memory.hierarchy.unified {
        return old(memory, "memory.memsw");
    }
    let limit = memory.bound("", "memory.swap.max").zip(usage.memory_limit).map(|(swap, memory)| swap + memory);
    let swap = memory.number("", "memory.swap.current");
    let peak = memory.number("", "memory.swap.peak") + usage.memory_peak;
    let failures = value(&table(&memory.text("", "memory.swap.events")), "fail");
    Counter { usage: swap + usage.memory, peak, limit, failures }
}

/// The four files of v1 that begin with `name`.
fn old(files: &Files<'_>, name: &str) -> Counter {
    let file = |kind: &str| format!("{name}.{kind}");
    Counter {
        usage: files.number(&file("usage_in_bytes"), ""),
        peak: files.number(&file("max_usage_in_bytes"), ""),
        limit: files.bound(&file("limit_in_bytes"), ""),
        failures: files.number(&file("failcnt"), ""),
    }
}

/// What is reserved counts, where the kernel accounts that.
fn huge_pages(files: &Files<'_>) -> Vec<(String, Counter)> {
    let suffix = if files.hierarchy.unified { ".max" } else { ".limit_in_bytes" };
    let listed = std::fs::read_dir(files.hierarchy.mount.join(files.group)).into_iter().flatten().flatten();
    let names = listed.filter_map(|entry| entry.file_name().into_string().ok());
    let size = |name: String| Some(name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?.to_owned());
    let mut sizes: Vec<String> = names.filter_map(size).filter(|size| !size.contains('.')).collect();
    sizes.sort();
    let counter = |size: &str| {
        let reserved = format!("hugetlb.{size}.rsvd");
        let plain = format!("hugetlb.{size}");
        let name = if files.text(&format!("{reserved}{suffix}"), &format!("{reserved}{suffix}")).is_empty() {
            plain
        } else {
            reserved
        };
        if !files.hierarchy.unified {
            return old(files, &name);
        }
        Counter {
            usage: files.number("", &format!("{name}.current")),
            peak: 0,
            limit: files.bound("", &format!("{name}.max")),
            failures: value(&table(&files.text("", &format!("hugetlb.{size}.events"))), "max"),
        }
    };
    sizes.into_iter().map(|size| (size.clone(), counter(&size))).collect()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}
