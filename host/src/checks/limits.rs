//! Whether a request's numbers make sense together and on this machine, by Docker's rules and in its words. What the
//! machine cannot hold is taken out with a warning, as dockerd does, unless a container without it would be a danger.

use bollard_stubs::models::HostConfig;
use proa_sandbox::Offers;

use crate::error::{Error, Result};

/// The smallest memory limit Docker takes.
const LEAST_MEMORY: i64 = 6 << 20;

fn refuse<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(sentence.into()))
}

/// Refuses what Docker refuses, and drops what this machine cannot hold.
pub fn check(host: &mut HostConfig, offers: &Offers, warnings: &mut Vec<String>) -> Result<()> {
    memory(host, offers, warnings)?;
    cpu(host)?;
    cpusets(host)?;
    block_io(host, offers, warnings)?;
    if host.shm_size.is_some_and(|size| size < 0) {
        return refuse("SHM size can not be less than 0");
    }
    // Docker's: 0 and every negative number are without limit.
    host.pids_limit = host.pids_limit.filter(|limit| *limit > 0);
    let windows = [host.cpu_count, host.cpu_percent, host.io_maximum_iops, host.io_maximum_bandwidth];
    if windows.iter().any(|value| value.is_some_and(|value| value != 0)) {
        return refuse("CpuCount, CpuPercent, IOMaximumIOps and IOMaximumBandwidth exist on Windows only");
    }
    Ok(())
}

fn memory(host: &mut HostConfig, offers: &Offers, warnings: &mut Vec<String>) -> Result<()> {
    let (memory, swap) = (host.memory.unwrap_or(0), host.memory_swap.unwrap_or(0));
    let reservation = host.memory_reservation.unwrap_or(0);
    if memory < 0 {
        return refuse("the memory limit must not be negative");
    }
    if memory > 0 && memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if swap > 0 && memory == 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if swap < -1 {
        return refuse("the limit of memory and swap is a number of bytes, or -1 for unlimited swap");
    }
    if swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if reservation < 0 || reservation > 0 && reservation < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if memory > 0 && swap != -1 && !offers.swap {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
                .to_owned(),
        );
        host.memory_swap = Some(-1);
    }
    // -1 is how a client says nothing.
    host.memory_swappiness = host.memory_swappiness.filter(|value| *value != -1);
    if let Some(swappiness) = host.memory_swappiness {
        if !(0..=100).contains(&swappiness) {
            return refuse(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"));
        }
        if !offers.swappiness {
            warnings.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.".to_owned());
            host.memory_swappiness = None;
        }
    }
    if host.oom_kill_disable == Some(true) {
        if !offers.oom_kill_disable {
            warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
            host.oom_kill_disable = None;
        } else if memory == 0 {
            warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
        }
    }
    Ok(())
}

fn cpu(host: &HostConfig) -> Result<()> {
    let value = |value: Option<i64>| value.unwrap_or(0);
    let (nano, period, quota) = (value(host.nano_cpus), value(host.cpu_period), value(host.cpu_quota));
    if nano < 0 {
        return refuse("the number of CPUs must not be negative");
    }
    if nano > 0 && period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set.");
    }
    if nano > 0 && quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set.");
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(cores).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if nano > most || nano > 0 && nano < 10_000_000 {
        return refuse(format!("range of CPUs is from 0.01 to {cores}.00, as there are only {cores} CPUs available"));
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if quota > 0 && quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if value(host.cpu_shares) < 0 {
        return refuse(format!("invalid CPU shares ({}): value must be a positive integer", value(host.cpu_shares)));
    }
    if value(host.cpu_realtime_period) != 0 || value(host.cpu_realtime_runtime) != 0 {
        return refuse("Your kernel does not support CPU real-time scheduler");
    }
    Ok(())
}

fn cpusets(host: &HostConfig) -> Result<()> {
    let sets = [
        (&host.cpuset_cpus, "cpus", "CPUs", "/sys/devices/system/cpu/online"),
        (&host.cpuset_mems, "mems", "memory nodes", "/sys/devices/system/node/online"),
    ];
    for (asked, name, words, online) in sets {
        let Some(asked) = asked.as_deref().filter(|asked| !asked.is_empty()) else { continue };
        let Some(wanted) = parse_set(asked) else {
            return refuse(format!("Invalid value {asked} for cpuset {name}"));
        };
        // A kernel without memory nodes has the one.
        let available = std::fs::read_to_string(online).unwrap_or_else(|_| "0".to_owned()).trim().to_owned();
        let there = parse_set(&available).unwrap_or_default();
        if wanted.iter().any(|number| !there.contains(number)) {
            return refuse(format!("Requested {words} are not available - requested {asked}, available: {available}"));
        }
    }
    Ok(())
}

/// `0-2,4` as numbers; 8192 is more than any kernel has.
fn parse_set(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= 8192 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

fn block_io(host: &mut HostConfig, offers: &Offers, warnings: &mut Vec<String>) -> Result<()> {
    let weight = host.blkio_weight.unwrap_or(0);
    if weight > 0 && !(10..=1000).contains(&weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if weight > 0 && !offers.io_weight {
        warnings.push(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.".to_owned(),
        );
        host.blkio_weight = None;
    }
    if host.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty()) && !offers.io_weight {
        warnings.push("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.".to_owned());
        host.blkio_weight_device = None;
    }
    let throttles = [
        (&mut host.blkio_device_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
        (&mut host.blkio_device_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
        (&mut host.blkio_device_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit"),
        (&mut host.blkio_device_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit"),
    ];
    for (list, what, limit) in throttles {
        if list.as_ref().is_some_and(|list| !list.is_empty()) && !offers.io_throttle {
            warnings
                .push(format!("Your kernel does not support {what} or the cgroup is not mounted. {limit} discarded."));
            *list = None;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Offers = Offers {
        memory: true,
        swap: true,
        swappiness: true,
        oom_kill_disable: true,
        cpu: true,
        cpuset: true,
        pids: true,
        io_weight: true,
        io_throttle: true,
    };

    #[track_caller]
    fn sentence(edit: impl FnOnce(&mut HostConfig)) -> String {
        let mut host = HostConfig::default();
        edit(&mut host);
        check(&mut host, &EVERYTHING, &mut Vec::new()).map_or_else(|error| error.sentence(), |()| String::new())
    }

    #[test]
    fn numbers_out_of_docker_s_ranges_are_refused_in_its_words() {
        assert_eq!(sentence(|host| host.memory = Some(1 << 20)), "Minimum memory limit allowed is 6MB");
        assert!(sentence(|host| host.memory_swap = Some(64 << 20)).starts_with("You should always set the Memory"));
        assert!(sentence(|host| host.memory_swappiness = Some(101)).contains("valid memory swappiness range is 0-100"));
        assert!(sentence(|host| host.cpu_period = Some(10)).starts_with("CPU cfs period can not be less"));
        assert!(sentence(|host| host.cpu_quota = Some(10)).starts_with("CPU cfs quota can not be less"));
        assert_eq!(sentence(|host| host.blkio_weight = Some(5)), "Range of blkio weight is from 10 to 1000");
        assert_eq!(sentence(|host| host.cpuset_cpus = Some("x".into())), "Invalid value x for cpuset cpus");
        assert!(
            sentence(|host| host.cpuset_cpus = Some("8000".into())).starts_with("Requested CPUs are not available")
        );
        assert_eq!(sentence(|host| host.shm_size = Some(-1)), "SHM size can not be less than 0");
        assert!(
            sentence(|host| (host.nano_cpus, host.cpu_quota) = (Some(1_000_000_000), Some(2000)))
                .contains("cannot both")
        );
        assert_eq!(sentence(|host| host.pids_limit = Some(-1)), "");
    }

    #[test]
    fn what_the_machine_cannot_hold_is_taken_out_with_a_warning() {
        let mut host = HostConfig {
            memory: Some(64 << 20),
            memory_swappiness: Some(10),
            oom_kill_disable: Some(true),
            blkio_weight: Some(100),
            ..Default::default()
        };
        let mut warnings = Vec::new();
        check(&mut host, &Offers { memory: true, ..Offers::default() }, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert_eq!((host.memory_swap, host.memory_swappiness), (Some(-1), None));
        assert_eq!((host.oom_kill_disable, host.blkio_weight), (None, None));
    }
}
