//! `rename`: gives a container another name.

use clap::Args;

use super::client::Client;
use super::door::Door;
use super::query::{Query, encode};

/// `proa rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

pub(crate) fn run(args: RenameArgs, door: &Door) -> anyhow::Result<u8> {
    let path = Query::new(format!("/containers/{}/rename", encode(&args.container))).with("name", args.name.trim());
    Client::connect(door)?.post(&path.into_path())?;
    Ok(0)
}
