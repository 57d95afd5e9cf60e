//! `GET /containers/{id}/stats`: what a container uses, once or every second, each sample with the one before it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use proa_sandbox::{Sandbox, Usage};
use serde_json::{Map, Value, json};

use crate::api::body::Body;
use crate::api::call::Call;
use crate::api::reply::{Answer, with_type};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::state::Container;
use crate::timestamp;

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was read at one time.
#[derive(Debug, Clone)]
struct Sample {
    at: SystemTime,
    /// Nothing while the container does not run.
    usage: Option<Usage>,
    /// Nanoseconds of all processors of the node since it came up, and how many there are.
    node_cpu: Option<u64>,
    processors: u32,
}

/// Samples of one container.
struct Samples {
    host: Arc<Host>,
    container: Arc<Container>,
    before: Option<Sample>,
}

/// `stream=1` (the default) goes on until the container is gone, `stream=0` gives one sample after a second, so that it
/// has one before it, and `one-shot=1` gives one at once. A container that does not run answers with empty statistics, as
/// dockerd does.
pub(crate) async fn stats(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    let live = call.query.get("stream").is_none() || call.query.truth("stream");
    let mut samples = Samples { host: host.clone(), container: container.clone(), before: None };
    if live {
        let told = stream::unfold(samples, |mut samples| async move {
            if samples.before.is_some() && !samples.pause().await {
                return None;
            }
            let line = samples.next().await.ok()?;
            Some((Bytes::from(format!("{line}\n")), samples))
        });
        return Ok(with_type(StatusCode::OK, "application/json", Body::stream(told)));
    }
    if !call.query.truth("one-shot") && container.status().is_running() {
        samples.next().await?;
        samples.pause().await;
    }
    let value = samples.next().await?;
    Ok(with_type(StatusCode::OK, "application/json", format!("{value}\n").into_bytes().into()))
}

impl Samples {
    async fn next(&mut self) -> Result<Value> {
        let sample = Sample::take(&self.container).await?;
        let value = describe(&self.container, &sample, self.before.as_ref(), self.host.account().0);
        self.before = Some(sample);
        Ok(value)
    }

    /// Waits for the next sample's time; `false` when the container was removed.
    async fn pause(&self) -> bool {
        let mut news = self.container.news();
        tokio::time::timeout(INTERVAL, news.wait_for(|news| news.gone)).await.is_err()
    }
}

impl Sample {
    async fn take(container: &Container) -> Result<Sample> {
        let usage = match container.running() {
            Ok(sandbox) => measured(container, &sandbox).await?,
            Err(_) => None,
        };
        let (node_cpu, processors) = node();
        Ok(Sample { at: SystemTime::now(), usage, node_cpu, processors })
    }
}

async fn measured(container: &Container, sandbox: &Sandbox) -> Result<Option<Usage>> {
    match sandbox.usage().await {
        Ok(usage) => Ok(Some(usage)),
        // It ended while it was measured.
        Err(_) if !container.status().is_running() => Ok(None),
        Err(source) => {
            Err(Error::Sandbox { attempt: "measure container", container: container.id().to_owned(), source })
        }
    }
}

/// The first line of /proc/stat, without guests' time, which is in the users' already (proc_stat(5)), and how many
/// processors have a line.
fn node() -> (Option<u64>, u32) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    node_in(&text, rustix::param::clock_ticks_per_second())
}

fn node_in(text: &str, ticks_per_second: u64) -> (Option<u64>, u32) {
    let total = text.lines().find_map(|line| line.strip_prefix("cpu ")).map(|line| {
        let ticks: u64 = line.split_whitespace().take(8).filter_map(|field| field.parse::<u64>().ok()).sum();
        ticks.saturating_mul(1_000_000_000 / ticks_per_second.max(1))
    });
    let one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (total, u32::try_from(text.lines().filter(one).count()).unwrap_or(u32::MAX))
}

/// Docker's form. `node` is the node's memory, which bounds a container without a limit of its own.
fn describe(container: &Container, sample: &Sample, before: Option<&Sample>, node: u64) -> Value {
    let (id, name) = container.with(|record| (record.id.clone(), format!("/{}", record.name)));
    let Some(usage) = &sample.usage else {
        return json!({ "id": id, "name": name, "os_type": "linux", "read": timestamp::ZERO, "preread": timestamp::ZERO,
            "num_procs": 0, "pids_stats": {}, "blkio_stats": blocks(&Usage::default()), "storage_stats": {},
            "cpu_stats": cpu(None), "precpu_stats": cpu(None), "memory_stats": {} });
    };
    let before = before.filter(|before| before.usage.is_some());
    json!({
        "id": id,
        "name": name,
        "os_type": "linux",
        "read": timestamp::rfc3339(sample.at),
        "preread": before.map_or_else(|| timestamp::ZERO.to_owned(), |before| timestamp::rfc3339(before.at)),
        "num_procs": 0,
        "pids_stats": pids(usage),
        "blkio_stats": blocks(usage),
        "storage_stats": {},
        "cpu_stats": cpu(Some(sample)),
        "precpu_stats": cpu(before),
        "memory_stats": memory(usage, node),
        // Nothing is counted yet, but clients look into it without asking whether it is there.
        "networks": {},
    })
}

fn pids(usage: &Usage) -> Value {
    let mut pids = Map::from_iter([("current".to_owned(), json!(usage.pids))]);
    if let Some(limit) = usage.pids_limit {
        pids.insert("limit".to_owned(), json!(limit));
    }
    Value::Object(pids)
}

fn memory(usage: &Usage, node: u64) -> Value {
    let details: Map<String, Value> =
        usage.memory_details.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let limit = usage.memory_limit.filter(|limit| *limit > 0).unwrap_or(node).min(node);
    let mut memory = Map::from_iter([
        ("usage".to_owned(), json!(usage.memory)),
        ("max_usage".to_owned(), json!(usage.memory_peak)),
        ("stats".to_owned(), Value::Object(details)),
        ("limit".to_owned(), json!(limit)),
    ]);
    if usage.memory_failures > 0 {
        memory.insert("failcnt".to_owned(), json!(usage.memory_failures));
    }
    Value::Object(memory)
}

fn cpu(sample: Option<&Sample>) -> Value {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let Some((sample, usage)) = sample.and_then(|sample| Some((sample, sample.usage.as_ref()?))) else {
        return json!({
            "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        });
    };
    let mut used = json!({
        "total_usage": nanos(usage.cpu),
        "usage_in_kernelmode": nanos(usage.cpu_system),
        "usage_in_usermode": nanos(usage.cpu_user),
    });
    if !usage.cpu_each.is_empty() {
        used["percpu_usage"] = json!(usage.cpu_each);
    }
    let throttling = &usage.throttling;
    let mut cpu = json!({
        "cpu_usage": used,
        "online_cpus": sample.processors,
        "throttling_data": { "periods": throttling.periods, "throttled_periods": throttling.throttled,
            "throttled_time": nanos(throttling.time) },
    });
    if let Some(node) = sample.node_cpu {
        cpu["system_cpu_usage"] = json!(node);
    }
    cpu
}

/// `null` where nothing is counted, as dockerd writes it.
fn blocks(usage: &Usage) -> Value {
    let entries = |value: fn(&proa_sandbox::Block) -> u64| {
        let one = |block: &proa_sandbox::Block| json!({ "major": block.major, "minor": block.minor, "op": block.operation, "value": value(block) });
        if usage.blocks.is_empty() { Value::Null } else { usage.blocks.iter().map(one).collect() }
    };
    json!({
        "io_service_bytes_recursive": entries(|block| block.bytes),
        "io_serviced_recursive": entries(|block| block.count),
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_time_is_that_of_all_its_processors() {
        let text =
            "cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 0 1 2 3 4 5 6 7 0 0\nintr 1\ncpufreq 1\n";
        assert_eq!(node_in(text, 100), (Some(360_000_000), 2));
        assert_eq!(node_in("", 100), (None, 0));
    }

    #[test]
    fn a_container_is_bounded_by_its_limit_or_the_node() {
        let usage = |memory_limit| Usage { memory: 5, memory_limit, ..Usage::default() };
        assert_eq!(memory(&usage(Some(64)), 100)["limit"], 64);
        assert_eq!(memory(&usage(Some(640)), 100)["limit"], 100);
        assert_eq!(memory(&usage(None), 100)["limit"], 100);
    }
}
