//! OCI resources as properties of a unit (systemd.resource-control(5), v2). Pure. What systemd has no property for is
//! written to the group alone, and systemd leaves it.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::super::limits;
use super::message::Value;
use crate::error::{Error, Result};

type Property = (&'static str, Value);

/// systemd's `infinity`.
const UNBOUNDED: u64 = u64::MAX;

pub(super) fn of(resources: Option<&LinuxResources>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    let Some(resources) = resources else { return Ok(properties) };
    if let Some(memory) = resources.memory() {
        properties.extend(of_memory(memory)?);
    }
    if let Some(cpu) = resources.cpu() {
        properties.extend(of_cpu(cpu)?);
    }
    let pids = resources.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0);
    properties.extend(pids.map(|limit| ("TasksMax", Value::Number(bound(limit)))));
    let weight = resources.block_io().as_ref().and_then(|io| io.weight()).filter(|weight| *weight != 0);
    properties.extend(weight.map(|weight| ("IOWeight", Value::Number(limits::io_weight(weight).into()))));
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort();
    for (file, value) in files {
        properties.extend(of_file(file, value.trim())?);
    }
    Ok(properties)
}

/// A file of v2 that systemd writes too: it would put back what it knows.
fn of_file(file: &str, value: &str) -> Result<Vec<Property>> {
    let number = || if value == "max" { Some(UNBOUNDED) } else { value.parse().ok() };
    let wrong = || Error::Plan(format!("`linux.resources.unified`: `{value}` is no value of `{file}`"));
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" => return Ok(vec![("AllowedCPUs", Value::Bytes(bits(value).ok_or_else(wrong)?))]),
        "cpuset.mems" => return Ok(vec![("AllowedMemoryNodes", Value::Bytes(bits(value).ok_or_else(wrong)?))]),
        "cpu.max" => {
            let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
            let period: u64 = period.parse().ok().filter(|period| *period > 0).ok_or_else(wrong)?;
            let quota = if quota == "max" { -1 } else { quota.parse().map_err(|_| wrong())? };
            let per_second = Value::Number(per_second(quota, period));
            return Ok(vec![("CPUQuotaPeriodUSec", Value::Number(period)), ("CPUQuotaPerSecUSec", per_second)]);
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![(name, Value::Number(number().ok_or_else(wrong)?))])
}

fn of_memory(memory: &LinuxMemory) -> Result<Vec<Property>> {
    let given = |number: Option<i64>| number.filter(|number| *number != 0);
    let mut properties = Vec::new();
    let mut put = |name, bytes: Option<i64>| properties.extend(bytes.map(|bytes| (name, Value::Number(bound(bytes)))));
    put("MemoryLow", given(memory.reservation()));
    put("MemoryMax", given(memory.limit()));
    put("MemorySwapMax", limits::swap_alone(memory.limit(), memory.swap())?);
    Ok(properties)
}

fn of_cpu(cpu: &LinuxCpu) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    if cpu.idle() == Some(1) {
        // Its `idle` (version 252).
        properties.push(("CPUWeight", Value::Number(0)));
    } else if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        properties.push(("CPUWeight", Value::Number(limits::cpu_weight(shares))));
    }
    let period = cpu.period().filter(|period| *period != 0);
    properties.extend(period.map(|period| ("CPUQuotaPeriodUSec", Value::Number(period))));
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        properties.push(("CPUQuotaPerSecUSec", Value::Number(per_second(quota, period.unwrap_or(100_000)))));
    }
    for (name, field, list) in [("AllowedCPUs", "cpus", cpu.cpus()), ("AllowedMemoryNodes", "mems", cpu.mems())] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            let bits = bits(list);
            let bits =
                bits.ok_or_else(|| Error::Plan(format!("`linux.resources.cpu.{field}`: `{list}` is no list")))?;
            properties.push((name, Value::Bytes(bits)));
        }
    }
    Ok(properties)
}

/// Microseconds of each second; systemd counts in steps of ten milliseconds, and more is nearer to what was asked.
fn per_second(quota: i64, period: u64) -> u64 {
    let Ok(quota) = u64::try_from(quota) else { return UNBOUNDED };
    (quota.saturating_mul(1_000_000) / period).next_multiple_of(10_000)
}

fn bound(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(UNBOUNDED)
}

/// `0-3,5` as a set of bits, the lowest first.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // The kernel's own bound of processors (NR_CPUS).
        if first > last || last >= 8192 {
            return None;
        }
        for bit in first..=last {
            bits.resize(bits.len().max(bit / 8 + 1), 0);
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn systemd_knows_the_same_bounds() {
        let resources = json!({
            "memory": { "limit": 100, "swap": 300, "reservation": 50 },
            "cpu": { "shares": 1024, "quota": 25_000, "period": 50_000, "cpus": "0,2-3,9", "mems": "0" },
            "pids": { "limit": -1 },
            "blockIO": { "weight": 1000 },
        });
        let told = of(Some(&serde_json::from_value(resources).unwrap())).unwrap();
        let number = Value::Number;
        let expected = [
            ("MemoryLow", number(50)),
            ("MemoryMax", number(100)),
            ("MemorySwapMax", number(200)),
            ("CPUWeight", number(100)),
            ("CPUQuotaPeriodUSec", number(50_000)),
            ("CPUQuotaPerSecUSec", number(500_000)),
            ("AllowedCPUs", Value::Bytes(vec![0b1101, 0b10])),
            ("AllowedMemoryNodes", Value::Bytes(vec![1])),
            ("TasksMax", number(UNBOUNDED)),
            ("IOWeight", number(10_000)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn files_that_systemd_writes_too_are_told_it() {
        let told = |file: &str, value: &str| of_file(file, value).map_err(|error| error.to_string());
        assert_eq!(told("memory.high", "max"), Ok(vec![("MemoryHigh", Value::Number(UNBOUNDED))]));
        let max = vec![("CPUQuotaPeriodUSec", Value::Number(50_000)), ("CPUQuotaPerSecUSec", Value::Number(200_000))];
        assert_eq!(told("cpu.max", "10000 50000"), Ok(max));
        assert_eq!(told("io.max", "8:0 rbps=1"), Ok(Vec::new()));
        assert_eq!(told("pids.max", "x"), Err("`linux.resources.unified`: `x` is no value of `pids.max`".to_owned()));
    }

    #[test]
    fn a_share_of_a_second_is_rounded_up() {
        assert_eq!(per_second(1001, 100_000), 20_000);
        assert_eq!(per_second(-1, 100_000), UNBOUNDED);
    }

    #[test]
    fn what_is_no_list_of_processors_is_refused() {
        for list in ["1-", "3-1", "a", "0-9000"] {
            assert_eq!(bits(list), None, "{list}");
        }
    }
}
