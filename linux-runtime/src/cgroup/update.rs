//! Changes the bounds of a group in which something lives.

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::members::gather;
use super::{Bound, Layout, create_group, lower, settle};
use crate::error::{Error, Result};

/// Writes what `resources` names; what it does not name stays. Devices are not touched. May wait, since the kernel takes
/// back memory before a lower limit holds: not for an event loop's thread.
///
/// # Errors
/// `Lacks` for a limit that cannot be held here, `Cgroup` with the file that would not take its value (`ResourceBusy` for
/// memory that is in use).
pub fn update(layout: &Layout, group: &str, resources: &LinuxResources) -> Result<()> {
    let resources = completed(layout, group, resources)?;
    for mut bound in lower(layout, Some(&resources))? {
        bound.settings.retain(|setting| !setting.file.starts_with("devices."));
        if !bound.settings.is_empty() {
            change(layout, group, &bound)?;
        }
    }
    Ok(())
}

fn change(layout: &Layout, group: &str, bound: &Bound<'_>) -> Result<()> {
    let directory = bound.hierarchy.mount.join(group);
    let failed = |file: &str| {
        let path = directory.join(file).display().to_string();
        move |source| Error::Cgroup { verb: "set", path, source }
    };
    let stood = directory.exists();
    if !stood || bound.hierarchy.unified {
        // On v2 a controller that it did without so far is handed down.
        create_group(&bound.hierarchy.mount, Path::new(group), bound.hierarchy.unified, &bound.settings)
            .map_err(failed(""))?;
    }
    if !stood {
        // A hierarchy in which it had no bound so far.
        gather(layout, group, &directory).map_err(failed("cgroup.procs"))?;
    }
    settle(&directory, &bound.settings).map_err(|unsettled| unsettled.of(&directory))
}

/// What v2 writes together, from what holds now where only a part is named; and the check that the kernel of v1 makes.
fn completed(layout: &Layout, group: &str, resources: &LinuxResources) -> Result<LinuxResources> {
    let mut all = resources.clone();
    let now = |controller: &str, file: &str| {
        let hierarchy = layout.with(controller).filter(|hierarchy| hierarchy.unified)?;
        fs::read_to_string(hierarchy.mount.join(group).join(file)).ok()
    };
    if let Some(memory) = all.memory_mut() {
        if let Some(limit) = now("memory", "memory.max") {
            complete_memory(memory, &limit);
        }
        check_before(memory, now("memory", "memory.current").as_deref())?;
    }
    if let (Some(cpu), Some(max)) = (all.cpu_mut(), now("cpu", "cpu.max")) {
        complete_cpu(cpu, &max);
    }
    Ok(all)
}

/// Memory and swap are named together, so that swap alone takes both numbers.
fn complete_memory(memory: &mut LinuxMemory, limit: &str) {
    if memory.limit().unwrap_or(0) == 0 && memory.swap().unwrap_or(0) != 0 {
        memory.set_limit(Some(number(limit)));
    }
}

/// A period is written behind its quota.
fn complete_cpu(cpu: &mut LinuxCpu, max: &str) {
    if cpu.quota().unwrap_or(0) == 0 && cpu.period().unwrap_or(0) != 0 {
        cpu.set_quota(Some(number(max.split(' ').next().unwrap_or_default())));
    }
}

/// `max` is -1.
fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or(-1)
}

/// With v2 a limit below what is in use means kills; this asks for the refusal that v1 makes by itself.
fn check_before(memory: &LinuxMemory, current: Option<&str>) -> Result<()> {
    let limit = memory.limit().filter(|limit| *limit > 0);
    let current = current.map(number).filter(|_| memory.check_before_update() == Some(true));
    let (Some(limit), Some(current)) = (limit, current) else { return Ok(()) };
    if limit >= current {
        return Ok(());
    }
    let path = format!("memory.max to {limit}: {current} bytes are in use");
    Err(Error::Cgroup { verb: "set", path, source: io::ErrorKind::ResourceBusy.into() })
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder};

    use super::*;

    #[test]
    fn what_v2_writes_together_is_completed_from_what_holds() {
        let mut memory = LinuxMemoryBuilder::default().swap(300_i64).build().unwrap();
        complete_memory(&mut memory, "100\n");
        assert_eq!(memory.limit(), Some(100));
        let mut cpu = LinuxCpuBuilder::default().period(50_000_u64).build().unwrap();
        complete_cpu(&mut cpu, "max 100000\n");
        assert_eq!(cpu.quota(), Some(-1));
        let mut cpu = LinuxCpuBuilder::default().quota(7_i64).period(50_000_u64).build().unwrap();
        complete_cpu(&mut cpu, "1 100000\n");
        assert_eq!(cpu.quota(), Some(7));
    }

    #[test]
    fn a_limit_below_what_is_in_use_is_refused_where_that_is_asked() {
        let memory = |check| LinuxMemoryBuilder::default().limit(100_i64).check_before_update(check).build().unwrap();
        assert!(check_before(&memory(true), Some("101\n")).is_err());
        assert!(check_before(&memory(true), Some("99\n")).is_ok());
        assert!(check_before(&memory(false), Some("101\n")).is_ok());
    }
}
