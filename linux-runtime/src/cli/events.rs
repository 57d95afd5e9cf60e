//! `events`: what a container uses, and its kills for memory, as JSON lines of runc's form.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use proa_linux::cgroup::{self, BlockTable, Counter, Layout, Oom, OomWatch, Pressure, Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use super::arguments::Global;
use super::container::{Container, Status};

pub(super) fn events(global: &Global, id: &str, interval: Duration, once: bool) -> Result<()> {
    let container = Container::load(global, id)?;
    let layout = Layout::here();
    if container.status(&layout) == Status::Stopped {
        bail!("container with id {id} is not running");
    }
    if once {
        return tell(&stats(&container, &layout));
    }
    if interval.is_zero() {
        bail!("--interval must be greater than 0");
    }
    watch(&container, &layout, interval)
}

/// Until the container has ended.
fn watch(container: &Container, layout: &Layout, interval: Duration) -> Result<()> {
    let Some(process) = container.process() else { return Ok(()) };
    let mut memory = OomWatch::new(layout, &container.identity.group.path)?;
    let mut due = Instant::now() + interval;
    loop {
        let left = Timespec::try_from(due.saturating_duration_since(Instant::now())).context("the interval")?;
        let mut polled = [PollFd::new(&process, PollFlags::IN), PollFd::new(&memory, PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(0) => {
                tell(&stats(container, layout))?;
                due += interval;
            }
            Ok(_) => {
                let (ended, met) = (!polled[0].revents().is_empty(), !polled[1].revents().is_empty());
                match if met { memory.read()? } else { Oom::Nothing } {
                    Oom::Happened => tell(&json!({ "type": "oom", "id": container.identity.id }))?,
                    Oom::Gone => return Ok(()),
                    Oom::Nothing if ended => return Ok(()),
                    Oom::Nothing => {}
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for events"),
        }
    }
}

fn tell(event: &Value) -> Result<()> {
    writeln!(io::stdout(), "{event}").context("write an event")
}

fn stats(container: &Container, layout: &Layout) -> Value {
    let stats = cgroup::stats(layout, &container.identity.group.path);
    let huge = |(size, counter): &(String, Counter)| (size.clone(), counted(counter));
    let data = json!({
        "cpu": processors(&stats),
        "cpuset": { "cpus": numbers(&stats.cpus), "mems": numbers(&stats.mems) },
        "memory": memory(&stats),
        "pids": { "current": stats.usage.pids, "limit": stats.usage.pids_limit.unwrap_or(0) },
        "blkio": blocks(&stats.blocks),
        "hugetlb": stats.huge_pages.iter().map(huge).collect::<Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    });
    json!({ "type": "stats", "id": container.identity.id, "data": data })
}

fn processors(stats: &Stats) -> Value {
    let (usage, throttling) = (&stats.usage, &stats.usage.throttling);
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut told = json!({
        "usage": {
            "total": nanoseconds(usage.cpu),
            "kernel": nanoseconds(usage.cpu_system),
            "user": nanoseconds(usage.cpu_user),
            "percpu": usage.cpu_each,
            "percpu_kernel": stats.cpu_each_system,
            "percpu_user": stats.cpu_each_user,
        },
        "throttling": {
            "periods": throttling.periods,
            "throttledPeriods": throttling.throttled,
            "throttledTime": nanoseconds(throttling.time),
        },
    });
    add_pressure(&mut told, stats.cpu_pressure.as_ref());
    told
}

fn memory(stats: &Stats) -> Value {
    let usage = &stats.usage;
    let detail = |name: &str| usage.memory_details.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    let all = Counter {
        usage: usage.memory,
        peak: usage.memory_peak,
        limit: usage.memory_limit,
        failures: usage.memory_failures,
    };
    let mut told = json!({
        // v1 and v2 name the pages of files otherwise.
        "cache": detail("cache").or_else(|| detail("file")).unwrap_or(0),
        "usage": counted(&all),
        "swap": counted(&stats.swap),
        "kernel": counted(&stats.kernel),
        "kernelTCP": counted(&stats.kernel_tcp),
        "raw": usage.memory_details.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
    });
    add_pressure(&mut told, stats.memory_pressure.as_ref());
    told
}

fn blocks(tables: &[BlockTable]) -> Value {
    let mut told = Map::new();
    for table in tables {
        let counts = table.counts.iter();
        let count = counts
            .map(|one| json!({ "major": one.major, "minor": one.minor, "op": one.operation, "value": one.value }));
        told.insert(table.name.to_owned(), count.collect());
    }
    Value::Object(told)
}

fn counted(counter: &Counter) -> Value {
    json!({
        "limit": counter.limit.unwrap_or(u64::MAX),
        "usage": counter.usage,
        "max": counter.peak,
        "failcnt": counter.failures,
    })
}

fn add_pressure(told: &mut Value, pressure: Option<&Pressure>) {
    if let Some(pressure) = pressure {
        let stall = |stall: &cgroup::Stall| json!({ "avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300, "total": stall.total });
        told["psi"] = json!({ "some": stall(&pressure.some), "full": stall(&pressure.full) });
    }
}

/// `0-2,4` as its numbers.
fn numbers(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_ranges() {
        assert_eq!(numbers("0-2,4"), [0, 1, 2, 4]);
        assert_eq!(numbers("1"), [1]);
        assert_eq!(numbers(""), [0_u32; 0]);
    }
}
