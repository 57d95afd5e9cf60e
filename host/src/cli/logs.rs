//! `logs`: what a container has written.

use std::io;

use clap::Args;

use super::client::{Client, Payload, copy_frames, copy_raw};
use super::door::Door;
use super::inspect::container_facts;
use super::moment;
use super::query::{Query, encode};

/// `proa logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on with what it writes from now on
    #[arg(short, long)]
    follow: bool,
    /// From this moment on: a date, seconds since 1970, or how long ago, such as 10m
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// Up to this moment
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
    /// What the log driver was told to keep with each line
    #[arg(long)]
    details: bool,
    /// Only the last N lines, or `all`
    #[arg(short = 'n', long, default_value = "all", value_name = "N")]
    tail: String,
    /// The time before each line
    #[arg(short, long)]
    timestamps: bool,
    container: String,
}

pub(crate) fn run(args: LogsArgs, door: &Door) -> anyhow::Result<u8> {
    let since = args.since.as_deref().map(moment::parse).transpose()?;
    let until = args.until.as_deref().map(moment::parse).transpose()?;
    let mut client = Client::connect(door)?;
    let facts = container_facts(&mut client, &args.container)?;
    let path = Query::new(format!("/containers/{}/logs", encode(&facts.id)))
        .flag("stdout", true)
        .flag("stderr", true)
        .flag("follow", args.follow)
        .flag("timestamps", args.timestamps)
        .flag("details", args.details)
        .maybe("since", since.as_deref())
        .maybe("until", until.as_deref())
        .with("tail", &args.tail)
        .into_path();
    let answer = client.send("GET", &path, &[], Payload::None)?;
    let framed = answer.is_multiplexed().unwrap_or(!facts.tty);
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    if framed {
        copy_frames(answer.into_body(), &mut out, &mut err)?;
    } else {
        copy_raw(answer.into_body(), &mut out)?;
    }
    Ok(0)
}
