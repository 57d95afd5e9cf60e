//! `network inspect`.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::inspect;
use crate::cli::query::{Query, encode};

/// `proa network inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Print `json`, or a template such as {{.Driver}}
    #[arg(short, long)]
    format: Option<String>,
    /// Ask for more
    #[arg(short, long)]
    verbose: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

pub(super) fn run(args: InspectArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    inspect::all(args.format.as_deref(), &args.networks, |name| {
        let path = Query::new(format!("/networks/{}", encode(name))).flag("verbose", args.verbose);
        Ok(client.get(&path.into_path())?)
    })
}
