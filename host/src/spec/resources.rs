//! A container's limits.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use bollard_stubs::models::{HostConfig, ThrottleDevice};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResources, LinuxResourcesBuilder, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

use crate::error::{Error, Result};
use crate::spec::{built, devices};
use crate::state::record::Record;

/// The period Docker divides `--cpus` by, in microseconds.
const PERIOD: i64 = 100_000;

/// The limits a request names; what it does not name is not limited.
pub fn resources(record: &Record) -> Result<LinuxResources> {
    let host = &record.host_config;
    let mut builder = LinuxResourcesBuilder::default();
    if let Some(memory) = memory(host)? {
        builder = builder.memory(memory);
    }
    if let Some(cpu) = cpu(host)? {
        builder = builder.cpu(cpu);
    }
    if record.isolation.is_wasm() {
        return built(builder.build());
    }
    if let Some(limit) = positive(host.pids_limit) {
        builder = builder.pids(built(LinuxPidsBuilder::default().limit(limit).build())?);
    }
    if let Some(io) = block_io(host)? {
        builder = builder.block_io(io);
    }
    let devices = devices::rules(record)?;
    if !devices.is_empty() {
        builder = builder.devices(devices);
    }
    built(builder.build())
}

fn positive(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value > 0)
}

fn memory(host: &HostConfig) -> Result<Option<LinuxMemory>> {
    let (limit, reservation) = (positive(host.memory), positive(host.memory_reservation));
    // -1 leaves the kernel's own.
    let swappiness = host.memory_swappiness.and_then(|value| u64::try_from(value).ok());
    let unkillable = host.oom_kill_disable == Some(true);
    if limit.is_none() && reservation.is_none() && swappiness.is_none() && !unkillable {
        return Ok(None);
    }
    let mut memory = LinuxMemoryBuilder::default();
    if let Some(limit) = limit {
        // Docker's default: as much swap again; -1 is without limit.
        let swap = host.memory_swap.filter(|swap| *swap != 0).unwrap_or(limit.saturating_mul(2));
        memory = memory.limit(limit).swap(swap);
    }
    if let Some(reservation) = reservation {
        memory = memory.reservation(reservation);
    }
    if let Some(swappiness) = swappiness {
        memory = memory.swappiness(swappiness);
    }
    if unkillable {
        memory = memory.disable_oom_killer(true);
    }
    built(memory.build()).map(Some)
}

fn cpu(host: &HostConfig) -> Result<Option<LinuxCpu>> {
    let quota = match positive(host.nano_cpus) {
        Some(nano) => Some(nano.saturating_mul(PERIOD) / 1_000_000_000),
        None => host.cpu_quota.filter(|quota| *quota != 0),
    };
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (cpus, mems) = (text(&host.cpuset_cpus), text(&host.cpuset_mems));
    // The kernel's own bounds, which Docker clamps to.
    let shares = positive(host.cpu_shares).map(|shares| shares.clamp(2, 262_144).cast_unsigned());
    let period = positive(host.cpu_period);
    if quota.is_none() && shares.is_none() && cpus.is_none() && mems.is_none() && period.is_none() {
        return Ok(None);
    }
    let mut cpu = LinuxCpuBuilder::default();
    if quota.is_some() || period.is_some() {
        cpu = cpu.period(period.unwrap_or(PERIOD).cast_unsigned());
    }
    if let Some(quota) = quota {
        cpu = cpu.quota(quota);
    }
    if let Some(shares) = shares {
        cpu = cpu.shares(shares);
    }
    if let Some(cpus) = cpus {
        cpu = cpu.cpus(cpus);
    }
    if let Some(mems) = mems {
        cpu = cpu.mems(mems);
    }
    built(cpu.build()).map(Some)
}

fn block_io(host: &HostConfig) -> Result<Option<LinuxBlockIo>> {
    let weight = host.blkio_weight.filter(|weight| *weight > 0);
    let mut weights = Vec::new();
    for device in host.blkio_weight_device.iter().flatten() {
        let (major, minor) = numbers(device.path.as_deref().unwrap_or_default())?;
        let weight = u16::try_from(device.weight.unwrap_or(0)).unwrap_or(u16::MAX);
        weights.push(built(LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(weight).build())?);
    }
    let read_bytes = throttles(&host.blkio_device_read_bps)?;
    let write_bytes = throttles(&host.blkio_device_write_bps)?;
    let reads = throttles(&host.blkio_device_read_iops)?;
    let writes = throttles(&host.blkio_device_write_iops)?;
    let devices = [&read_bytes, &write_bytes, &reads, &writes];
    if weight.is_none() && weights.is_empty() && devices.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    let mut io = LinuxBlockIoBuilder::default()
        .weight_device(weights)
        .throttle_read_bps_device(read_bytes)
        .throttle_write_bps_device(write_bytes)
        .throttle_read_iops_device(reads)
        .throttle_write_iops_device(writes);
    if let Some(weight) = weight {
        io = io.weight(weight);
    }
    built(io.build()).map(Some)
}

fn throttles(devices: &Option<Vec<ThrottleDevice>>) -> Result<Vec<LinuxThrottleDevice>> {
    let one = |device: &ThrottleDevice| {
        let (major, minor) = numbers(device.path.as_deref().unwrap_or_default())?;
        let rate = device.rate.unwrap_or(0).max(0).cast_unsigned();
        built(LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate).build())
    };
    devices.iter().flatten().map(one).collect()
}

/// The numbers of a block device of the node.
fn numbers(path: &str) -> Result<(i64, i64)> {
    let refused = |reason: String| Error::Invalid(format!("block device `{path}`: {reason}"));
    let metadata = fs::metadata(path).map_err(|error| refused(error.kind().to_string()))?;
    if !metadata.file_type().is_block_device() {
        return Err(refused("it is none".to_owned()));
    }
    let number = metadata.rdev();
    Ok((rustix::fs::major(number).into(), rustix::fs::minor(number).into()))
}
