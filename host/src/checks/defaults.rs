//! What dockerd writes into a container's HostConfig where a request says nothing, so that `inspect` shows what holds.

use bollard_stubs::models::{HostConfig, HostConfigCgroupnsModeEnum, RestartPolicy, RestartPolicyNameEnum};

use crate::error::Result;
use crate::logging;
use crate::spec;
use crate::state::record::Record;

/// Docker's size of /dev/shm, in bytes.
const SHM: i64 = 64 << 20;

pub(super) fn fill(record: &mut Record) -> Result<()> {
    let driver = logging::driver(&record.host_config).to_owned();
    let host = &mut record.host_config;
    host.shm_size = Some(host.shm_size.filter(|size| *size > 0).unwrap_or(SHM));
    fill_text(&mut host.ipc_mode, "private");
    fill_text(&mut host.runtime, "proa");
    if matches!(host.cgroupns_mode, None | Some(HostConfigCgroupnsModeEnum::EMPTY)) {
        host.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::PRIVATE);
    }
    let log = host.log_config.get_or_insert_default();
    log.typ = Some(driver);
    log.config.get_or_insert_default();
    let unnamed = |policy: &RestartPolicy| matches!(policy.name, None | Some(RestartPolicyNameEnum::EMPTY));
    if host.restart_policy.as_ref().is_none_or(unnamed) {
        let name = Some(RestartPolicyNameEnum::NO);
        host.restart_policy = Some(RestartPolicy { name, maximum_retry_count: Some(0) });
    }
    if let (Some(memory), None | Some(0)) = (host.memory.filter(|memory| *memory > 0), host.memory_swap)
        && !record.isolation.is_wasm()
    {
        host.memory_swap = Some(memory.saturating_mul(2));
    }
    if !record.isolation.is_wasm() {
        no_labels(&mut record.host_config);
        if record.host_config.privileged != Some(true) {
            record.host_config.masked_paths = Some(spec::masked_paths(record)?);
            record.host_config.readonly_paths = Some(spec::read_only_paths(record)?);
        }
    }
    Ok(())
}

fn fill_text(text: &mut Option<String>, default: &str) {
    if text.as_deref().unwrap_or_default().is_empty() {
        *text = Some(default.to_owned());
    }
}

/// Whoever shares the node's processes or memory, or is privileged, has no SELinux label: dockerd says so here.
fn no_labels(host: &mut HostConfig) {
    let shares = |mode: &Option<String>| mode.as_deref() == Some("host");
    let disable = "label=disable".to_owned();
    if shares(&host.pid_mode) || shares(&host.ipc_mode) || host.privileged == Some(true) {
        let options = host.security_opt.get_or_insert_default();
        if !options.contains(&disable) {
            options.push(disable);
        }
    }
}
