//! Which of a native container's walls a request takes down, for policy to judge.

use crate::error::Result;
use crate::network::Mode;
use crate::policy::Power;
use crate::spec::namespaces::{self, Whose};
use crate::spec::security::{Seccomp, Security};
use crate::spec::{capabilities, security};
use crate::state::record::Record;

/// What the record's container would have beyond a plain one.
pub fn asked(record: &Record) -> Result<Vec<Power>> {
    if record.isolation.is_wasm() {
        return Ok(Vec::new());
    }
    let host = &record.host_config;
    if host.privileged == Some(true) {
        return Ok(vec![Power::Privileged]);
    }
    let shared =
        [namespaces::pid(record)?, namespaces::ipc(record)?, namespaces::uts(record)?, namespaces::cgroup(record)];
    let network = Mode::parse(host.network_mode.as_deref().unwrap_or_default())?;
    let list = |there: bool, power: Power| there.then_some(power);
    let devices = host.devices.as_ref().is_some_and(|list| !list.is_empty())
        || host.device_cgroup_rules.as_ref().is_some_and(|list| !list.is_empty());
    let Security { no_new_privileges, seccomp, system_paths_unconfined } = security::of(record)?;
    let bared = |paths: &Option<Vec<String>>| paths.is_some();
    let unconfined = no_new_privileges == Some(false)
        || seccomp != Seccomp::Builtin
        || system_paths_unconfined
        || bared(&host.masked_paths)
        || bared(&host.readonly_paths);
    let powers = [
        list(shared.contains(&Whose::Node) || network == Mode::Host, Power::HostNamespaces),
        list(devices, Power::Devices),
        list(capabilities::asks_for_more(host)?, Power::Capabilities),
        list(unconfined, Power::Unconfined),
    ];
    Ok(powers.into_iter().flatten().collect())
}
