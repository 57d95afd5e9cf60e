//! What a request may not ask for, in one sentence each, before anything is made. Silence about an option means that
//! it is honoured or has no meaning under any engine.

use std::collections::HashSet;
use std::path::Path;

use bollard_stubs::models::{MountType, RestartPolicyNameEnum};
use proa_sandbox::Isolation;

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::request::arguments;
use crate::spec::{mounts, resources};
use crate::state::record::Record;
use crate::{ports, spec};

/// Refuses what cannot be honoured and returns warnings for what is ignored.
pub fn check(record: &Record) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    not_yet(record)?;
    Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())?;
    resources::check(&record.host_config)?;
    check_ports(record, &mut warnings)?;
    check_mounts(record, &mut warnings)?;
    if record.isolation.is_wasm() {
        check_wasm(record, &mut warnings)?;
    } else if arguments(&record.config).is_empty() {
        return Err(Error::Invalid("no command specified".to_owned()));
    }
    if arguments(&record.config).iter().any(|argument| argument.contains('\0')) {
        return Err(Error::Invalid("an argument contains a zero byte".to_owned()));
    }
    if record.config.healthcheck.as_ref().and_then(|check| check.test.as_ref()).is_some_and(|test| !test.is_empty()) {
        warnings.push("health checks are not supported yet: the container's is ignored".to_owned());
    }
    // Whatever the specification cannot express fails here rather than at the start.
    spec::workload(record, Path::new("/"))?;
    Ok(warnings)
}

fn not_yet(record: &Record) -> Result<()> {
    let host = &record.host_config;
    let restart = host.restart_policy.as_ref().and_then(|policy| policy.name);
    let asked = |text: &Option<String>, usual: &[&str]| text.as_deref().is_some_and(|text| !usual.contains(&text));
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let table = [
        (host.privileged == Some(true), "--privileged is not supported"),
        (host.init == Some(true), "--init is not supported yet"),
        (
            !matches!(restart, None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO)),
            "restart policies are not supported yet: only `no` is",
        ),
        (asked(&host.pid_mode, &["", "private"]), "--pid is not supported yet"),
        (asked(&host.ipc_mode, &["", "private", "shareable"]), "--ipc is not supported yet: only `private` is"),
        (asked(&host.uts_mode, &["", "private"]), "--uts is not supported yet"),
        (asked(&host.userns_mode, &["", "private"]), "--userns is not supported: choose an isolation instead"),
        (asked(&host.cgroup_parent, &[""]), "--cgroup-parent is not supported"),
        (asked(&host.runtime, &["", "proa"]), "unknown or invalid runtime name: the only runtime is `proa`"),
        (host.devices.as_ref().is_some_and(|list| !list.is_empty()), "--device is not supported yet"),
        (host.device_requests.as_ref().is_some_and(|list| !list.is_empty()), "--gpus is not supported"),
        (any(&host.device_cgroup_rules), "--device-cgroup-rule is not supported"),
        (any(&host.volumes_from), "--volumes-from is not supported yet"),
        (any(&host.links), "--link is not supported"),
        (host.storage_opt.as_ref().is_some_and(|map| !map.is_empty()), "--storage-opt is not supported"),
        (host.publish_all_ports == Some(true), "--publish-all is not supported yet: name the ports with -p"),
    ];
    if let Some((_, sentence)) = table.into_iter().find(|(refused, _)| *refused) {
        return Err(Error::Unsupported(sentence.to_owned()));
    }
    for option in host.security_opt.iter().flatten() {
        if !matches!(option.as_str(), "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true") {
            return Err(Error::Unsupported(format!("--security-opt {option} is not supported")));
        }
    }
    Ok(())
}

fn check_ports(record: &Record, warnings: &mut Vec<String>) -> Result<()> {
    let wanted = ports::wanted(&record.host_config)?;
    match (record.is_http(), wanted.is_empty()) {
        (true, true) => warnings.push(
            "this is an HTTP component and no port is published, so nobody reaches it: add `-p 8080:80`".to_owned(),
        ),
        (false, false) if record.isolation.is_wasm() => {
            return Err(Error::Invalid(
                "ports can be published for a Wasm HTTP component only, and this module is none".to_owned(),
            ));
        }
        (false, false) => {
            return Err(Error::Invalid(
                "ports cannot be published for a native container yet: use --network host".to_owned(),
            ));
        }
        _ => {}
    }
    Ok(())
}

fn check_mounts(record: &Record, warnings: &mut Vec<String>) -> Result<()> {
    let mut targets = HashSet::new();
    for bind in mounts::binds(record)? {
        if !targets.insert(bind.target.clone()) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", bind.target)));
        }
        if !bind.source.starts_with('/') {
            return Err(Error::Invalid(format!("invalid mount source `{}`: the path must be absolute", bind.source)));
        }
        if !Path::new(&bind.source).exists() {
            return Err(Error::Invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                bind.source
            )));
        }
    }
    for entry in record.host_config.mounts.iter().flatten() {
        if !matches!(entry.typ, Some(MountType::BIND | MountType::TMPFS)) {
            return Err(Error::Unsupported("only mounts of type bind and tmpfs are supported yet".to_owned()));
        }
    }
    if record.isolation.is_wasm() && !mounts::tmpfs(record).is_empty() {
        return Err(Error::Invalid("--tmpfs has no meaning for a Wasm container".to_owned()));
    }
    if record.config.volumes.as_ref().is_some_and(|volumes| !volumes.is_empty()) && !record.isolation.is_wasm() {
        let names = record.config.volumes.clone().unwrap_or_default().join("`, `");
        warnings.push(format!("volumes are not supported yet: `{names}` is a plain directory of the container"));
    }
    Ok(())
}

fn check_wasm(record: &Record, warnings: &mut Vec<String>) -> Result<()> {
    let host = &record.host_config;
    let cpus = host.nano_cpus.unwrap_or(0) > 0 || host.cpu_quota.unwrap_or(0) > 0 || host.cpu_shares.unwrap_or(0) > 0;
    let set = host.cpuset_cpus.as_ref().is_some_and(|cpus| !cpus.is_empty());
    if record.isolation == Isolation::Wasm && (cpus || set) {
        return Err(Error::Invalid(
            "isolation `wasm` cannot limit the CPU yet: use `--isolation wasm-process`, which holds --cpus".to_owned(),
        ));
    }
    if host.pids_limit.unwrap_or(0) > 0 {
        warnings.push("--pids-limit has no effect on a Wasm container, which has no processes of its own".to_owned());
    }
    if record.config.working_dir.as_deref().is_some_and(|folder| !matches!(folder, "" | "/")) {
        warnings.push("--workdir is only told to a Wasm guest: most of them resolve relative paths from /".to_owned());
    }
    if record.config.user.as_ref().is_some_and(|user| !user.is_empty()) {
        warnings.push("--user has no effect on a Wasm container, which has no users".to_owned());
    }
    Ok(())
}
