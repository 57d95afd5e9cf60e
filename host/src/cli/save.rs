//! `save`: images as a tar archive that `load` takes.

use std::path::PathBuf;

use clap::Args;

use super::client::{Client, Payload};
use super::door::Door;
use super::out_file;
use super::platform;
use super::query::Query;

/// `proa save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this platform of the images
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) fn run(args: SaveArgs, door: &Door) -> anyhow::Result<u8> {
    out_file::check(args.output.as_deref(), "save")?;
    let mut query = Query::new("/images/get");
    for image in &args.images {
        query = query.with("names", image);
    }
    let platform = args.platform.as_deref().map(platform::json).transpose()?;
    let path = query.maybe("platform", platform.as_deref()).into_path();
    let mut client = Client::connect(door)?;
    let answer = client.send("GET", &path, &[], Payload::None)?;
    out_file::copy(answer.into_body(), args.output.as_deref())?;
    Ok(0)
}
