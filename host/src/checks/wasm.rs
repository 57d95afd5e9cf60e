//! What an option means for a Wasm guest, which has no kernel of its own to ask: what would give it power it cannot have
//! is refused, what would only bound or shape what it does not have is a warning.

use bollard_stubs::models::HostConfig;
use proa_sandbox::Isolation;

use crate::error::{Error, Result};
use crate::host::parse_signal;
use crate::network::Mode;
use crate::spec::mounts;
use crate::spec::security::{Seccomp, Security};
use crate::state::record::Record;

/// What a worker understands: TERM and INT ask, KILL ends.
const SIGNALS: [i32; 3] = [15, 2, 9];

pub(super) fn check(record: &mut Record, warnings: &mut Vec<String>) -> Result<()> {
    refuse_power(record)?;
    processor(record)?;
    ignored(record, warnings);
    if let Some(signal) = record.config.stop_signal.as_deref().filter(|signal| !signal.is_empty())
        && !SIGNALS.contains(&parse_signal(signal)?)
    {
        warnings.push(format!("a Wasm guest knows TERM, INT and KILL only: it is stopped by TERM, not by {signal}"));
        record.config.stop_signal = None;
    }
    Ok(())
}

fn refuse_power(record: &Record) -> Result<()> {
    let host = &record.host_config;
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let host_s = |mode: &Option<String>| mode.as_deref().is_some_and(|mode| mode == "host" || mode.contains(':'));
    let security = Security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    let table = [
        (host.privileged == Some(true), "--privileged"),
        (any(&host.cap_add), "--cap-add"),
        (host.devices.as_ref().is_some_and(|list| !list.is_empty()), "--device"),
        (any(&host.device_cgroup_rules), "--device-cgroup-rule"),
        (host.sysctls.as_ref().is_some_and(|map| !map.is_empty()), "--sysctl"),
        (host_s(&host.pid_mode), "--pid"),
        (host_s(&host.ipc_mode), "--ipc"),
        (host_s(&host.uts_mode), "--uts"),
        (security.seccomp != Seccomp::Builtin, "--security-opt seccomp"),
        (!mounts::tmpfs(record).is_empty(), "--tmpfs"),
    ];
    match table.into_iter().find(|(asked, _)| *asked) {
        Some((_, "--tmpfs")) => Err(Error::Invalid(
            "--tmpfs has no meaning for a Wasm container, which sees directories only: bind one with -v".to_owned(),
        )),
        Some((_, option)) => Err(Error::Invalid(format!(
            "{option} has no meaning for a Wasm container: it touches only what its grants name"
        ))),
        None => Ok(()),
    }
}

fn processor(record: &Record) -> Result<()> {
    let host = &record.host_config;
    let limited = [host.nano_cpus, host.cpu_quota, host.cpu_shares].iter().any(|value| value.unwrap_or(0) > 0);
    if record.isolation == Isolation::Wasm && (limited || has_cpuset(host)) {
        return Err(Error::Invalid(
            "isolation `wasm` cannot limit the CPU yet: use `--isolation wasm-process`, which holds --cpus".to_owned(),
        ));
    }
    Ok(())
}

fn has_cpuset(host: &HostConfig) -> bool {
    [&host.cpuset_cpus, &host.cpuset_mems].iter().any(|set| set.as_ref().is_some_and(|set| !set.is_empty()))
}

/// Asked for, and without anything it could apply to.
fn ignored(record: &Record, warnings: &mut Vec<String>) {
    let (host, config) = (&record.host_config, &record.config);
    let text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let number = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let network = Mode::parse(host.network_mode.as_deref().unwrap_or_default());
    let block = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    let block = block.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()));
    let table = [
        (host.pids_limit.unwrap_or(0) > 0, "--pids-limit", "no processes of its own"),
        (host.init == Some(true), "--init", "no processes of its own"),
        (host.ulimits.as_ref().is_some_and(|list| !list.is_empty()), "--ulimit", "no processes of its own"),
        (number(host.oom_score_adj), "--oom-score-adj", "no processes of its own"),
        (host.oom_kill_disable == Some(true), "--oom-kill-disable", "a memory of its own, bounded by --memory"),
        (number(host.memory_swap), "--memory-swap", "no swap"),
        (host.memory_swappiness.is_some_and(|value| value >= 0), "--memory-swappiness", "no swap"),
        (number(host.shm_size), "--shm-size", "no shared memory"),
        (any(&host.group_add), "--group-add", "no groups"),
        (text(&config.user), "--user", "no users"),
        (text(&config.hostname), "--hostname", "no host name"),
        (text(&config.domainname), "--domainname", "no host name"),
        (any(&host.dns) || any(&host.dns_search) || any(&host.dns_options), "--dns", "no name lookup"),
        (any(&host.extra_hosts), "--add-host", "no name lookup"),
        (network.is_ok_and(|mode| mode == Mode::Host), "--network host", "no sockets"),
        (host.blkio_weight.unwrap_or(0) > 0 || block, "--blkio-weight and --device-read-bps", "no block devices"),
        (number(host.cpu_shares), "--cpu-shares", "a processor limit by --cpus only"),
        (has_cpuset(host), "--cpuset-cpus", "a processor limit by --cpus only"),
    ];
    for (_, option, reason) in table.into_iter().filter(|(asked, _, _)| *asked) {
        warnings.push(format!("{option} has no effect on a Wasm container, which has {reason}"));
    }
    if config.working_dir.as_deref().is_some_and(|folder| !matches!(folder, "" | "/")) {
        warnings.push("--workdir is only told to a Wasm guest: most of them resolve relative paths from /".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::record;

    #[test]
    fn power_is_refused_and_the_rest_is_a_warning() {
        let mut plain = record(Isolation::Wasm);
        let mut warnings = Vec::new();
        check(&mut plain, &mut warnings).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let refused: [fn(&mut HostConfig); 5] = [
            |host| host.privileged = Some(true),
            |host| host.cap_add = Some(vec!["NET_RAW".to_owned()]),
            |host| host.pid_mode = Some("host".to_owned()),
            |host| host.security_opt = Some(vec!["seccomp=unconfined".to_owned()]),
            |host| host.tmpfs = Some([("/t".to_owned(), String::new())].into()),
        ];
        for edit in refused {
            let mut record = record(Isolation::Wasm);
            edit(&mut record.host_config);
            assert!(check(&mut record, &mut Vec::new()).is_err(), "{:?}", record.host_config);
        }
        let mut ignored = record(Isolation::Wasm);
        ignored.host_config.init = Some(true);
        ignored.host_config.shm_size = Some(1);
        ignored.config.stop_signal = Some("QUIT".to_owned());
        check(&mut ignored, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(ignored.config.stop_signal, None);
    }
}
