//! One row of the table: `proa run --rm` of the same image under one isolation, as a user would type it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use proa_sandbox::Isolation;
use serde_json::{Value, json};

use super::samples::Samples;
use super::scene::Scene;
use crate::cli::client::{Client, Payload};
use crate::cli::human;

/// What one isolation costs.
#[derive(Debug)]
pub(super) struct Row {
    isolation: Isolation,
    image: u64,
    /// From the start of the command to the guest's first instruction; median.
    start: Duration,
    /// From the start of the command to its end; median.
    whole: Duration,
    /// Bytes held by an instance that waits, or why nobody counts them.
    memory: anyhow::Result<u64>,
}

impl Row {
    pub(super) fn cells(&self) -> [String; 5] {
        [
            self.isolation.to_string(),
            human::size(self.image),
            milliseconds(self.start),
            milliseconds(self.whole),
            self.memory.as_ref().map_or_else(|_| "unknown".to_owned(), |bytes| human::memory(*bytes)),
        ]
    }

    /// Why its memory is unknown.
    pub(super) fn uncounted(&self) -> Option<String> {
        Some(format!("memory of {}: {:#}", self.isolation, self.memory.as_ref().err()?))
    }
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// Measures one isolation. The first run, which compiles and warms, does not count.
pub(super) fn row(scene: &Scene, samples: &Samples, isolation: Isolation, runs: u32) -> anyhow::Result<Row> {
    once(scene, samples, isolation)?;
    let times = (0..runs).map(|_| once(scene, samples, isolation)).collect::<anyhow::Result<Vec<_>>>()?;
    let memory = memory(&mut scene.client()?, samples, isolation);
    Ok(Row {
        isolation,
        image: if isolation.is_wasm() { samples.hello.wasm_size } else { samples.hello.linux_size },
        start: median(times.iter().map(|(start, _)| *start).collect()),
        whole: median(times.iter().map(|(_, whole)| *whole).collect()),
        memory,
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// One run of the command: until the guest's first instruction, and whole.
fn once(scene: &Scene, samples: &Samples, isolation: Isolation) -> anyhow::Result<(Duration, Duration)> {
    let mut command = Command::new("/proc/self/exe");
    command.args([
        "run",
        "--host",
        &scene.host(),
        "--rm",
        "--isolation",
        isolation.as_str(),
        &samples.hello.name,
        "--clock",
    ]);
    let (asked, begun) = (SystemTime::now(), Instant::now());
    let done = command.stdin(Stdio::null()).output().context("run the command")?;
    let whole = begun.elapsed();
    if !done.status.success() {
        bail!("{}", String::from_utf8_lossy(&done.stderr).trim().trim_start_matches("proa: "));
    }
    let text = String::from_utf8_lossy(&done.stdout);
    let nanos: u64 = text.trim().parse().with_context(|| format!("read the guest's clock from `{}`", text.trim()))?;
    // A clock that was set back meanwhile gives nothing rather than nonsense.
    let start = (UNIX_EPOCH + Duration::from_nanos(nanos)).duration_since(asked).unwrap_or_default();
    Ok((start, whole))
}

/// What an instance holds that has said hello and waits.
fn memory(client: &mut Client, samples: &Samples, isolation: Isolation) -> anyhow::Result<u64> {
    let body = json!({
        "Image": samples.hello.name,
        "Cmd": ["--stay"],
        "HostConfig": {"Isolation": isolation.as_str(), "NetworkMode": "default"},
    });
    let created: Value = client.post_json("/containers/create", &body)?;
    let id = created["Id"].as_str().context("the host gave no id")?.to_owned();
    let counted = waiting_usage(client, &id);
    client.delete(&format!("/containers/{id}?force=1"))?;
    counted
}

fn waiting_usage(client: &mut Client, id: &str) -> anyhow::Result<u64> {
    client.post(&format!("/containers/{id}/start"))?;
    // A connection of its own: the log is followed to its first byte and then left.
    let mut follower = client.another()?;
    let log = format!("/containers/{id}/logs?follow=1&stdout=1");
    let mut first = [0; 9];
    follower
        .send("GET", &log, &[], Payload::None)?
        .into_body()
        .read_exact(&mut first)
        .context("wait for the guest's first words")?;
    let stats: Value = client.get(&format!("/containers/{id}/stats?stream=false&one-shot=true"))?;
    let usage = stats.pointer("/memory_stats/usage").and_then(Value::as_u64);
    usage.filter(|bytes| *bytes > 0).context("the host does not count it")
}
