//! OCI resources as values of cgroup files, v1 or v2. Pure.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{Hierarchy, Layout, devices};
use crate::error::{Error, Result};

/// A group to make in one hierarchy: its files and values, in the order they must be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound<'a> {
    pub(crate) hierarchy: &'a Hierarchy,
    pub(crate) values: Vec<(&'static str, String)>,
}

/// What to make where, for `resources`.
///
/// # Errors
/// `Lacks` when a limit is asked for whose controller cannot be written here.
pub(crate) fn lower<'a>(layout: &'a Layout, resources: Option<&LinuxResources>) -> Result<Vec<Bound<'a>>> {
    let mut bounds: Vec<Bound<'a>> = Vec::new();
    let mut put = |controller: &str, required: bool, values: Vec<(&'static str, String)>| {
        let Some(hierarchy) = layout.with(controller) else {
            let lacks = format!("limit {controller}: no cgroup of that controller can be made by this user");
            return if required { Err(Error::Lacks(lacks)) } else { Ok(()) };
        };
        match bounds.iter_mut().find(|bound| bound.hierarchy.mount == hierarchy.mount) {
            Some(bound) => bound.values.extend(values),
            None => bounds.push(Bound { hierarchy, values }),
        }
        Ok(())
    };
    let unified = |controller: &str| layout.with(controller).is_some_and(|hierarchy| hierarchy.unified);

    let memory = resources.and_then(|all| all.memory().as_ref());
    if memory.is_some_and(|memory| memory.swappiness().is_some()) && unified("memory") {
        return Err(Error::Lacks("limit memory: cgroups v2 have no swappiness of their own".into()));
    }
    let values = memory.map(|memory| memory_values(memory, unified("memory"))).unwrap_or_default();
    put("memory", !values.is_empty(), values)?;

    let pids = resources.and_then(|all| all.pids().as_ref()).map(|pids| pids.limit()).filter(|limit| *limit != 0);
    let values = pids.map(|limit| vec![("pids.max", number_or_max(limit))]).unwrap_or_default();
    put("pids", !values.is_empty(), values)?;

    let cpu = resources.and_then(|all| all.cpu().as_ref());
    let values = cpu.map(|cpu| cpu_values(cpu, unified("cpu"))).unwrap_or_default();
    put("cpu", !values.is_empty(), values)?;
    if !unified("cpu") {
        put("cpuacct", false, Vec::new())?;
    }
    // Only v1 has this controller; for v2 see [`device_program`].
    put("devices", false, devices::lines(&devices::rules(resources.and_then(|all| all.devices().as_ref()))))?;
    let values = cpu.map(cpuset_values).unwrap_or_default();
    if !values.is_empty() {
        put("cpuset", true, values)?;
    }
    Ok(bounds)
}

/// What does for a group of v2 what the controller of v1 does, where there is no such controller.
pub(crate) fn device_program(layout: &Layout, resources: Option<&LinuxResources>) -> Option<Vec<u64>> {
    let rules = devices::rules(resources.and_then(|all| all.devices().as_ref()));
    layout.with("devices").is_none().then(|| devices::program(&rules))
}

fn memory_values(memory: &LinuxMemory, unified: bool) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    let limit = memory.limit().filter(|limit| *limit != 0);
    let swap = memory.swap().filter(|swap| *swap != 0);
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        let file = if unified { "memory.low" } else { "memory.soft_limit_in_bytes" };
        values.push((file, reservation.to_string()));
    }
    if let Some(limit) = limit {
        let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        values.push((file, if unified { number_or_max(limit) } else { limit.to_string() }));
    }
    // v2 has no such file; `lower` has refused it there.
    values.extend(memory.swappiness().filter(|_| !unified).map(|value| ("memory.swappiness", value.to_string())));
    match (swap, limit) {
        // OCI counts memory and swap together, as v1 does; v2 counts swap alone.
        (Some(swap), Some(limit)) if unified && swap > 0 && limit > 0 => {
            values.push(("memory.swap.max", (swap - limit).max(0).to_string()));
        }
        (Some(swap), _) if unified => values.push(("memory.swap.max", number_or_max(swap))),
        (Some(swap), _) => values.push(("memory.memsw.limit_in_bytes", swap.to_string())),
        (None, _) => {}
    }
    values
}

fn cpu_values(cpu: &LinuxCpu, unified: bool) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        if unified {
            // The conversion of the OCI specification's v2 annex: 2..=262144 shares onto 1..=10000 of weight.
            values.push(("cpu.weight", (1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142).to_string()));
        } else {
            values.push(("cpu.shares", shares.to_string()));
        }
    }
    let period = cpu.period().filter(|period| *period != 0);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    if unified {
        if quota.is_some() || period.is_some() {
            let quota = quota.map_or_else(|| "max".to_owned(), number_or_max);
            values.push(("cpu.max", format!("{quota} {}", period.unwrap_or(100_000))));
        }
        return values;
    }
    values.extend(period.map(|period| ("cpu.cfs_period_us", period.to_string())));
    values.extend(quota.map(|quota| ("cpu.cfs_quota_us", quota.to_string())));
    values
}

fn cpuset_values(cpu: &LinuxCpu) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    values.extend(cpu.cpus().clone().filter(|cpus| !cpus.is_empty()).map(|cpus| ("cpuset.cpus", cpus)));
    values.extend(cpu.mems().clone().filter(|mems| !mems.is_empty()).map(|mems| ("cpuset.mems", mems)));
    values
}

fn number_or_max(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}
