//! `export`: a container's files as a tar archive.

use std::path::PathBuf;

use clap::Args;

use super::client::{Client, Payload};
use super::door::Door;
use super::out_file;
use super::query::encode;

/// `proa export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    container: String,
}

pub(crate) fn run(args: ExportArgs, door: &Door) -> anyhow::Result<u8> {
    out_file::check(args.output.as_deref(), "export")?;
    let mut client = Client::connect(door)?;
    let path = format!("/containers/{}/export", encode(&args.container));
    let answer = client.send("GET", &path, &[], Payload::None)?;
    out_file::copy(answer.into_body(), args.output.as_deref())?;
    Ok(0)
}
