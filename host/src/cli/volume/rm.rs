//! `volume rm`.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::each::each;
use crate::cli::query::{Query, encode};

/// `proa volume rm`.
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// One that is not there is fine
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub(super) fn run(args: RmArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    each(&args.volumes, |name| {
        client.delete(&Query::new(format!("/volumes/{}", encode(name))).flag("force", args.force).into_path())?;
        Ok(name.to_owned())
    })
}
