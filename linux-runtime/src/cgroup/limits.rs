//! OCI resources as values of cgroup files, v1 or v2. Pure.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

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
    if memory.is_some_and(|memory| memory.disable_oom_killer() == Some(true)) && unified("memory") {
        return Err(Error::Lacks("limit memory: cgroups v2 cannot disable the OOM killer".into()));
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
    let io = resources.and_then(|all| all.block_io().as_ref());
    let controller = if layout.with("blkio").is_some() { "blkio" } else { "io" };
    let values = io.map(|io| io_values(io, controller == "io")).unwrap_or_default();
    if !values.is_empty() {
        put(controller, true, values)?;
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
    if memory.disable_oom_killer() == Some(true) && !unified {
        values.push(("memory.oom_control", "1".to_owned()));
    }
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

/// Weights of 10 to 1000 are 1 to 10000 on v2, by the OCI specification's annex.
fn io_values(io: &LinuxBlockIo, unified: bool) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    let scaled = |weight: u16| 1 + (u32::from(weight.clamp(10, 1000)) - 10) * 9999 / 990;
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        values.push(if unified {
            ("io.weight", format!("default {}", scaled(weight)))
        } else {
            ("blkio.weight", weight.to_string())
        });
    }
    for device in io.weight_device().iter().flatten() {
        let Some(weight) = device.weight() else { continue };
        let (major, minor) = (device.major(), device.minor());
        values.push(if unified {
            ("io.weight", format!("{major}:{minor} {}", scaled(weight)))
        } else {
            ("blkio.weight_device", format!("{major}:{minor} {weight}"))
        });
    }
    let throttles: [(&Option<Vec<LinuxThrottleDevice>>, &'static str, &str); 4] = [
        (io.throttle_read_bps_device(), "blkio.throttle.read_bps_device", "rbps"),
        (io.throttle_write_bps_device(), "blkio.throttle.write_bps_device", "wbps"),
        (io.throttle_read_iops_device(), "blkio.throttle.read_iops_device", "riops"),
        (io.throttle_write_iops_device(), "blkio.throttle.write_iops_device", "wiops"),
    ];
    for (devices, file, key) in throttles {
        for device in devices.iter().flatten() {
            let (major, minor, rate) = (device.major(), device.minor(), device.rate());
            values.push(if unified {
                ("io.max", format!("{major}:{minor} {key}={rate}"))
            } else {
                (file, format!("{major}:{minor} {rate}"))
            });
        }
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
