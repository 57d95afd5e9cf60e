//! The part of a container's body that is about this node, from the flags that concern it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, bail};
use bollard_stubs::models::{
    HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, PortBinding, RestartPolicyNameEnum,
};

use super::args::{ConfinementArgs, ContainerArgs, LimitArgs};
use super::{devices, endpoints, limits, mount, pairs, quantity, restart, security};

pub(crate) fn lower(
    args: &ContainerArgs,
    network: String,
    binds: Vec<String>,
    published: BTreeMap<String, Vec<PortBinding>>,
) -> anyhow::Result<HostConfig> {
    let restart = args.restart.as_deref().map(restart::parse).transpose()?;
    if args.rm && restart.as_ref().is_some_and(|policy| policy.name != Some(RestartPolicyNameEnum::NO)) {
        bail!("conflicting options: cannot specify both --restart and --rm");
    }
    let config = HostConfig {
        binds: Some(binds),
        mounts: some(mount::parse(&args.storage.mount)?),
        tmpfs: tmpfs(&args.storage.tmpfs),
        volumes_from: some(args.storage.volumes_from.clone()),
        volume_driver: args.storage.volume_driver.clone(),
        readonly_rootfs: Some(args.storage.read_only),
        shm_size: bytes("--shm-size", args.storage.shm_size.as_deref())?,
        storage_opt: map(pairs::parse_full(&args.storage.storage_opt, "storage option")?),
        network_mode: Some(network),
        port_bindings: Some(published.into_iter().map(|(port, bindings)| (port, Some(bindings))).collect()),
        publish_all_ports: Some(args.network.publish_all),
        links: some(args.network.link.clone()),
        dns: some(endpoints::name_servers(&args.network.dns)?),
        dns_options: some(args.network.dns_option.clone()),
        dns_search: some(args.network.dns_search.clone()),
        extra_hosts: some(endpoints::hosts(&args.network.add_host)?),
        auto_remove: Some(args.rm),
        restart_policy: restart,
        init: args.init.then_some(true),
        log_config: log(args)?,
        annotations: map(pairs::parse(&args.annotation, "annotation")?),
        container_id_file: args.cidfile.as_ref().map(|file| file.to_string_lossy().into_owned()),
        console_size: console(args.tty),
        ..HostConfig::default()
    };
    confined(bounded(config, &args.limits)?, &args.confinement)
}

/// `None` for an empty list, which the API then does not hear of.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn map(pairs: HashMap<String, String>) -> Option<HashMap<String, String>> {
    Some(pairs).filter(|pairs| !pairs.is_empty())
}

fn bytes(flag: &str, typed: Option<&str>) -> anyhow::Result<Option<i64>> {
    let read = |typed| -> anyhow::Result<i64> { Ok(i64::try_from(quantity::bytes(typed)?)?) };
    typed.map(read).transpose().with_context(|| format!("read {flag}"))
}

fn tmpfs(typed: &[String]) -> Option<HashMap<String, String>> {
    let one = |typed: &String| {
        let (target, options) = typed.split_once(':').unwrap_or((typed, ""));
        (target.to_owned(), options.to_owned())
    };
    map(typed.iter().map(one).collect())
}

fn console(tty: bool) -> Option<Vec<usize>> {
    let size = if tty { crate::cli::terminal::size() } else { None };
    size.map(|size| size.into_iter().map(usize::from).collect())
}

fn log(args: &ContainerArgs) -> anyhow::Result<Option<HostConfigLogConfig>> {
    if args.log_driver.as_deref() == Some("none") && !args.log_opt.is_empty() {
        bail!("invalid logging opts for driver none");
    }
    let options = map(pairs::parse(&args.log_opt, "log option")?);
    let is_asked = args.log_driver.is_some() || options.is_some();
    Ok(is_asked.then(|| HostConfigLogConfig { typ: args.log_driver.clone(), config: options }))
}

fn bounded(mut config: HostConfig, args: &LimitArgs) -> anyhow::Result<HostConfig> {
    config.memory = Some(bytes("--memory", args.memory.as_deref())?.unwrap_or(0));
    config.memory_reservation = Some(bytes("--memory-reservation", args.memory_reservation.as_deref())?.unwrap_or(0));
    config.memory_swap = match args.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        typed => bytes("--memory-swap", typed)?,
    };
    if args.memory_swappiness.is_some_and(|value| !(-1..=100).contains(&value)) {
        bail!("invalid value: {}. Valid memory swappiness range is 0-100", args.memory_swappiness.unwrap_or_default());
    }
    config.memory_swappiness = args.memory_swappiness;
    let cpus = args.cpus.as_deref().map(quantity::nano_cpus).transpose().context("read --cpus")?;
    config.nano_cpus = Some(i64::try_from(cpus.unwrap_or(0))?);
    config.cpu_shares = args.cpu_shares;
    config.cpu_period = args.cpu_period;
    config.cpu_quota = args.cpu_quota;
    config.cpu_realtime_period = args.cpu_rt_period;
    config.cpu_realtime_runtime = args.cpu_rt_runtime;
    config.cpuset_cpus = args.cpuset_cpus.clone();
    config.cpuset_mems = args.cpuset_mems.clone();
    config.blkio_weight = args.blkio_weight;
    config.blkio_weight_device = some(limits::weights(&args.blkio_weight_device)?);
    config.blkio_device_read_bps = some(limits::byte_rates(&args.device_read_bps)?);
    config.blkio_device_write_bps = some(limits::byte_rates(&args.device_write_bps)?);
    config.blkio_device_read_iops = some(limits::operation_rates(&args.device_read_iops)?);
    config.blkio_device_write_iops = some(limits::operation_rates(&args.device_write_iops)?);
    config.pids_limit = args.pids_limit;
    config.ulimits = some(limits::ulimits(&args.ulimit)?);
    config.oom_kill_disable = args.oom_kill_disable.then_some(true);
    config.oom_score_adj = args.oom_score_adj;
    Ok(config)
}

fn confined(mut config: HostConfig, args: &ConfinementArgs) -> anyhow::Result<HostConfig> {
    let security = security::parse(&args.security_opt)?;
    let (by_path, mut requests) = devices::parse(&args.device)?;
    requests.extend(devices::gpus(&args.gpus)?);
    config.security_opt = some(security.options);
    if security.system_paths {
        (config.masked_paths, config.readonly_paths) = (Some(Vec::new()), Some(Vec::new()));
    }
    config.devices = some(by_path);
    config.device_requests = some(requests);
    config.device_cgroup_rules = some(devices::rules(&args.device_cgroup_rule)?);
    config.group_add = some(args.group_add.clone());
    config.cap_add = some(security::capabilities(&args.cap_add));
    config.cap_drop = some(security::capabilities(&args.cap_drop));
    config.privileged = args.privileged.then_some(true);
    config.sysctls = map(pairs::parse_full(&args.sysctl, "sysctl")?);
    config.pid_mode = mode("--pid", "PID", args.pid.as_deref(), &["host"], true)?;
    config.ipc_mode = args.ipc.clone();
    config.uts_mode = mode("--uts", "UTS", args.uts.as_deref(), &["host"], false)?;
    config.userns_mode = mode("--userns", "USER", args.userns.as_deref(), &["host"], false)?;
    let cgroups = mode("--cgroupns", "CGROUP", args.cgroupns.as_deref(), &["host", "private"], false)?;
    config.cgroupns_mode = cgroups.map(|mode| match mode.as_str() {
        "host" => HostConfigCgroupnsModeEnum::HOST,
        "private" => HostConfigCgroupnsModeEnum::PRIVATE,
        _ => HostConfigCgroupnsModeEnum::EMPTY,
    });
    config.cgroup_parent = args.cgroup_parent.clone();
    config.runtime = args.runtime.clone();
    Ok(config)
}

/// One of `known`, or another container's where that is possible.
fn mode(
    flag: &str,
    kind: &str,
    typed: Option<&str>,
    known: &[&str],
    of_container: bool,
) -> anyhow::Result<Option<String>> {
    match typed {
        None => Ok(None),
        Some("") => Ok(Some(String::new())),
        Some(mode) if known.contains(&mode) => Ok(Some(mode.to_owned())),
        Some(mode) if of_container && mode.strip_prefix("container:").is_some_and(|name| !name.is_empty()) => {
            Ok(Some(mode.to_owned()))
        }
        Some(_) => bail!("{flag}: invalid {kind} mode"),
    }
}
