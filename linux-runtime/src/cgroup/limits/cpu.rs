//! Processor time and processors.

use oci_spec::runtime::LinuxCpu;

use super::super::setting::Setting;
use super::{number_or_max, refused};
use crate::error::Result;

/// What v1 takes for shares; it would bend others silently.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn settings(cpu: &LinuxCpu, unified: bool) -> Result<Vec<Setting>> {
    let (quota, burst) = (cpu.quota().unwrap_or(0), cpu.burst().unwrap_or(0));
    if quota > 0 && burst > quota.unsigned_abs() {
        return refused("cpu.burst", "it may not be above `cpu.quota`");
    }
    if unified { new(cpu) } else { old(cpu) }
}

/// The cpuset controller's, the same files in both versions.
pub(super) fn sets(cpu: &LinuxCpu) -> Vec<Setting> {
    let mut settings = Vec::new();
    settings.extend(cpu.cpus().as_ref().filter(|list| !list.is_empty()).map(|cpus| Setting::new("cpuset.cpus", cpus)));
    settings.extend(cpu.mems().as_ref().filter(|list| !list.is_empty()).map(|mems| Setting::new("cpuset.mems", mems)));
    settings
}

/// The weight of v2 for shares of v1: a curve through the least (2 is 1), the default (1024 is 100) and the most (262144
/// is 10000), as runc since 1.3.2 and crun since 1.23 draw it. The line that came before made 39 of the default.
pub(in super::super) fn weight(shares: u64) -> u64 {
    let log = (shares.clamp(*SHARES.start(), *SHARES.end()) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

fn new(cpu: &LinuxCpu) -> Result<Vec<Setting>> {
    if cpu.realtime_runtime().is_some_and(|runtime| runtime != 0) {
        return refused("cpu.realtimeRuntime", "cgroups v2 do not bound realtime processes");
    }
    if cpu.realtime_period().is_some_and(|period| period != 0) {
        return refused("cpu.realtimePeriod", "cgroups v2 do not bound realtime processes");
    }
    let mut settings = Vec::new();
    settings
        .extend(cpu.shares().filter(|shares| *shares != 0).map(|shares| Setting::new("cpu.weight", weight(shares))));
    let (quota, period) = (cpu.quota().filter(|quota| *quota != 0), cpu.period().filter(|period| *period != 0));
    match (quota.map(number_or_max), period) {
        (Some(quota), Some(period)) => settings.push(Setting::new("cpu.max", format!("{quota} {period}"))),
        // The period stays what it is, 100000 at first.
        (Some(quota), None) => settings.push(Setting::new("cpu.max", quota)),
        (None, Some(period)) => settings.push(Setting::new("cpu.max", format!("max {period}"))),
        (None, None) => {}
    }
    settings.extend(cpu.burst().map(|burst| Setting::new("cpu.max.burst", burst).passed_if(burst == 0)));
    settings.extend(idle(cpu));
    Ok(settings)
}

fn old(cpu: &LinuxCpu) -> Result<Vec<Setting>> {
    let shares = cpu.shares().filter(|shares| *shares != 0);
    if shares.is_some_and(|shares| !SHARES.contains(&shares)) {
        return refused("cpu.shares", "they are 2 to 262144");
    }
    let mut settings = Vec::new();
    // Realtime first: a process that is realtime already enters no group without such a bound.
    let (runtime, period) = (cpu.realtime_runtime(), cpu.realtime_period());
    settings.extend(period.filter(|p| *p != 0).map(|period| Setting::new("cpu.rt_period_us", period)));
    settings.extend(runtime.filter(|r| *r != 0).map(|runtime| Setting::new("cpu.rt_runtime_us", runtime)));
    settings.extend(shares.map(|shares| Setting::new("cpu.shares", shares)));
    settings.extend(cpu.period().filter(|p| *p != 0).map(|period| Setting::new("cpu.cfs_period_us", period)));
    settings.extend(cpu.burst().map(|burst| Setting::new("cpu.cfs_burst_us", burst).passed_if(burst == 0)));
    settings.extend(cpu.quota().filter(|q| *q != 0).map(|quota| Setting::new("cpu.cfs_quota_us", quota)));
    settings.extend(idle(cpu));
    Ok(settings)
}

/// Last, since an idle group takes no weight (Linux 5.15).
fn idle(cpu: &LinuxCpu) -> Option<Setting> {
    cpu.idle().map(|idle| Setting::new("cpu.idle", idle).passed_if(idle == 0))
}
