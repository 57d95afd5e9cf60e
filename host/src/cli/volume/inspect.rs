//! `volume inspect`.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::inspect;
use crate::cli::query::encode;

/// `proa volume inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Print `json`, or a template such as {{.Mountpoint}}
    #[arg(short, long)]
    format: Option<String>,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub(super) fn run(args: InspectArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    inspect::all(args.format.as_deref(), &args.volumes, |name| Ok(client.get(&format!("/volumes/{}", encode(name)))?))
}
