//! A container's limits.

use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder};

use crate::error::{Error, Result};
use crate::spec::built;
use crate::state::record::Record;

/// The period Docker divides `--cpus` by, in microseconds.
const PERIOD: i64 = 100_000;
/// The smallest memory limit Docker takes.
const LEAST_MEMORY: i64 = 6 << 20;

/// The limits a request names; what it does not name is not limited.
pub fn resources(record: &Record) -> Result<LinuxResources> {
    let host = &record.host_config;
    let mut builder = LinuxResourcesBuilder::default();
    let positive = |value: Option<i64>| value.filter(|value| *value > 0);

    let (limit, reservation) = (positive(host.memory), positive(host.memory_reservation));
    if limit.is_some() || reservation.is_some() {
        let mut memory = LinuxMemoryBuilder::default();
        if let Some(limit) = limit {
            // Docker's default: as much swap again; -1 is without limit.
            let swap = host.memory_swap.filter(|swap| *swap != 0).unwrap_or(limit.saturating_mul(2));
            memory = memory.limit(limit).swap(swap);
        }
        if let Some(reservation) = reservation {
            memory = memory.reservation(reservation);
        }
        if let Some(swappiness) = host.memory_swappiness.and_then(|value| u64::try_from(value).ok()) {
            memory = memory.swappiness(swappiness);
        }
        builder = builder.memory(built(memory.build())?);
    }

    let quota = match positive(host.nano_cpus) {
        Some(nano) => Some(nano.saturating_mul(PERIOD) / 1_000_000_000),
        None => host.cpu_quota.filter(|quota| *quota != 0),
    };
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (cpus, mems) = (text(&host.cpuset_cpus), text(&host.cpuset_mems));
    let shares = positive(host.cpu_shares).map(i64::cast_unsigned);
    if quota.is_some() || shares.is_some() || cpus.is_some() || mems.is_some() {
        let mut cpu = LinuxCpuBuilder::default();
        if let Some(quota) = quota {
            let period = positive(host.cpu_period).unwrap_or(PERIOD).cast_unsigned();
            cpu = cpu.quota(quota).period(period);
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
        builder = builder.cpu(built(cpu.build())?);
    }

    if let Some(limit) = positive(host.pids_limit).filter(|_| !record.isolation.is_wasm()) {
        builder = builder.pids(built(LinuxPidsBuilder::default().limit(limit).build())?);
    }
    built(builder.build())
}

/// Whether the numbers make sense together, by Docker's rules.
pub fn check(host: &bollard_stubs::models::HostConfig) -> Result<()> {
    let memory = host.memory.unwrap_or(0);
    let refuse = |sentence: &str| Err(Error::Invalid(sentence.to_owned()));
    if memory < 0 {
        return refuse("the memory limit must not be negative");
    }
    if memory > 0 && memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    let swap = host.memory_swap.unwrap_or(0);
    if swap > 0 && memory == 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory > 0 && host.memory_reservation.is_some_and(|reservation| reservation > memory) {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.nano_cpus.unwrap_or(0) < 0 {
        return refuse("the number of CPUs must not be negative");
    }
    if host.nano_cpus.unwrap_or(0) > 0 && host.cpu_quota.unwrap_or(0) > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as i64;
    if host.nano_cpus.unwrap_or(0) > cores * 1_000_000_000 {
        return Err(Error::Invalid(format!(
            "range of CPUs is from 0.01 to {cores}.00, as there are only {cores} CPUs available"
        )));
    }
    Ok(())
}
