//! `update`: changes the bounds of containers and what happens when they end.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::query::encode;
use super::run::{quantity, restart};

/// `proa update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its weight at block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The period of its CPU limit in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Its CPU time in a period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// The period of its real-time limit in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<i64>,
    /// Its real-time CPU time in a period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// Its weight where CPUs are short
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<i64>,
    /// How many CPUs it may use, such as 0.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// The CPUs it may use, such as 0-3 or 0,1
    #[arg(long, value_name = "CPUS")]
    cpuset_cpus: Option<String>,
    /// The memory nodes it may use
    #[arg(long, value_name = "NODES")]
    cpuset_mems: Option<String>,
    /// The most memory it may use, such as 64m
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// The memory that is set aside for it on this node
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<String>,
    /// The most memory and swap together; -1 for no limit
    #[arg(long, value_name = "BYTES")]
    memory_swap: Option<String>,
    /// How many processes it may have; -1 for no limit
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// What happens when it ends: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

pub(crate) fn run(args: UpdateArgs, door: &Door) -> anyhow::Result<u8> {
    let wanted = wanted(&args)?;
    if wanted.is_empty() {
        bail!("you must provide one or more flags when using this command");
    }
    let mut client = Client::connect(door)?;
    each(&args.containers, |name| {
        let answer: Answer = client.post_json(&format!("/containers/{}/update", encode(name)), &wanted)?;
        for warning in answer.warnings.unwrap_or_default() {
            writeln!(std::io::stderr(), "{warning}")?;
        }
        Ok(name.to_owned())
    })
}

/// The fields that were typed; the host leaves the others as they are.
fn wanted(args: &UpdateArgs) -> anyhow::Result<Map<String, Value>> {
    let bytes = |flag: &str, typed: &Option<String>| -> anyhow::Result<Option<Value>> {
        match typed.as_deref() {
            Some("-1") if flag == "--memory-swap" => Ok(Some(Value::from(-1))),
            typed => {
                typed.map(|typed| quantity::bytes(typed).map(Value::from)).transpose().context(format!("read {flag}"))
            }
        }
    };
    let cpus = args.cpus.as_deref().map(quantity::nano_cpus).transpose().context("read --cpus")?;
    let policy = args.restart.as_deref().map(restart::parse).transpose()?;
    let fields = [
        ("BlkioWeight", args.blkio_weight.map(Value::from)),
        ("CpuPeriod", args.cpu_period.map(Value::from)),
        ("CpuQuota", args.cpu_quota.map(Value::from)),
        ("CpuRealtimePeriod", args.cpu_rt_period.map(Value::from)),
        ("CpuRealtimeRuntime", args.cpu_rt_runtime.map(Value::from)),
        ("CpuShares", args.cpu_shares.map(Value::from)),
        ("NanoCpus", cpus.map(Value::from)),
        ("CpusetCpus", args.cpuset_cpus.clone().map(Value::from)),
        ("CpusetMems", args.cpuset_mems.clone().map(Value::from)),
        ("Memory", bytes("--memory", &args.memory)?),
        ("MemoryReservation", bytes("--memory-reservation", &args.memory_reservation)?),
        ("MemorySwap", bytes("--memory-swap", &args.memory_swap)?),
        ("PidsLimit", args.pids_limit.map(Value::from)),
        ("RestartPolicy", policy.map(serde_json::to_value).transpose()?),
    ];
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}
