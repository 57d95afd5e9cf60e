//! `kill`: sends a signal.

use clap::Args;

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::query::{Query, encode};

/// `proa kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// The signal's name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: KillArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    each(&args.containers, |name| {
        let path = Query::new(format!("/containers/{}/kill", encode(name))).with("signal", &args.signal);
        client.post(&path.into_path())?;
        Ok(name.to_owned())
    })
}
