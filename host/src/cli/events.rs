//! `events`: what happens on the host, as it happens.

use std::io::{BufRead, BufReader, Write};

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::client::{Client, Payload};
use super::door::Door;
use super::filters::filters;
use super::human::harmless;
use super::moment;
use super::query::Query;
use super::template::Format;

/// `proa events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only those for which NAME=VALUE holds, such as type=container or event=die
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print `json`, or a template such as {{.Action}}
    #[arg(long)]
    format: Option<String>,
    /// From this moment on: a date, seconds since 1970, or how long ago, such as 10m
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// Up to this moment
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
}

pub(crate) fn run(args: EventsArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    let path = Query::new("/events")
        .maybe("since", args.since.as_deref().map(moment::parse).transpose()?.as_deref())
        .maybe("until", args.until.as_deref().map(moment::parse).transpose()?.as_deref())
        .maybe("filters", filters(&args.filter)?.as_deref())
        .into_path();
    let mut client = Client::connect(door)?;
    let answer = client.send("GET", &path, &[], Payload::None)?;
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(answer.into_body()).lines() {
        let line = line.context("read the host's events")?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Value = serde_json::from_str(&line).context("understand the host's event")?;
        match &format {
            Format::Table => writeln!(out, "{}", harmless(&sentence(&event)))?,
            Format::Json => writeln!(out, "{line}")?,
            format => writeln!(out, "{}", format.line(&event)?)?,
        }
        out.flush()?;
    }
    Ok(0)
}

/// `2026-11-20T18:43:26.000000000Z container die 0123... (exitCode=0, image=busybox)`.
fn sentence(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let nanos = event["timeNano"].as_u64().or_else(|| Some(event["time"].as_u64()? * 1_000_000_000));
    let moment = nanos.map(proa::timestamp::rfc3339_nanos).unwrap_or_default();
    let mut said = format!("{moment} {} {} {}", text("/Type"), text("/Action"), text("/Actor/ID"));
    let attributes = event.pointer("/Actor/Attributes").and_then(Value::as_object);
    let mut attributes: Vec<String> = attributes
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    if !attributes.is_empty() {
        attributes.sort();
        said.push_str(&format!(" ({})", attributes.join(", ")));
    }
    said
}
