//! `GET /containers/{id}/stats`: what a container uses now, one sample.

use std::time::SystemTime;

use bollard_stubs::models::{
    ContainerCpuStats, ContainerCpuUsage, ContainerMemoryStats, ContainerPidsStats, ContainerStatsResponse,
};
use proa_sandbox::Usage;

use crate::api::call::Call;
use crate::api::reply::{Answer, Failure, ok};
use crate::error::Error;
use crate::host::Host;
use crate::state::Record;
use crate::timestamp;

/// One sample; a container that does not run answers with empty statistics, as dockerd does.
pub(crate) async fn stats(host: &Host, id: &str, call: &Call) -> Answer {
    if call.query.get("stream").is_none() || call.query.truth("stream") {
        return Err(Failure::not_yet("a stream of statistics"));
    }
    let container = host.containers.find(id)?;
    let usage = match container.sandbox() {
        Some(sandbox) => Some(sandbox.usage().await.map_err(|source| Error::Sandbox {
            attempt: "measure container",
            container: id.to_owned(),
            source,
        })?),
        None => None,
    };
    ok(&sample(&container.record(), usage, host.account().0))
}

/// Docker's form of `usage`. `node` is the node's memory, which bounds a container without a limit of its own.
fn sample(record: &Record, usage: Option<Usage>, node: u64) -> ContainerStatsResponse {
    let limit = record.host_config.memory.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    ContainerStatsResponse {
        id: Some(record.id.clone()),
        name: Some(format!("/{}", record.name)),
        os_type: Some("linux".to_owned()),
        read: Some(timestamp::rfc3339(SystemTime::now())),
        preread: Some(timestamp::ZERO.to_owned()),
        num_procs: Some(0),
        memory_stats: Some(usage.map_or_else(Default::default, |usage| ContainerMemoryStats {
            usage: Some(usage.memory),
            max_usage: Some(usage.memory_peak),
            limit: Some(limit.unwrap_or(node)),
            ..Default::default()
        })),
        cpu_stats: Some(cpu(usage)),
        precpu_stats: Some(cpu(None)),
        pids_stats: Some(usage.map_or_else(Default::default, |usage| ContainerPidsStats {
            current: Some(usage.pids),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn cpu(usage: Option<Usage>) -> ContainerCpuStats {
    let total = usage.map_or(0, |usage| u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX));
    ContainerCpuStats {
        cpu_usage: Some(ContainerCpuUsage { total_usage: Some(total), ..Default::default() }),
        online_cpus: std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()),
        ..Default::default()
    }
}
