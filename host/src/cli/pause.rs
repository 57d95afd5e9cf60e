//! `pause` and `unpause`: lets containers stand still, and go on.

use clap::Args;

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::query::encode;

/// `proa pause` and `proa unpause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn pause(args: PauseArgs, door: &Door) -> anyhow::Result<u8> {
    all(&args, door, "pause")
}

pub(crate) fn unpause(args: PauseArgs, door: &Door) -> anyhow::Result<u8> {
    all(&args, door, "unpause")
}

fn all(args: &PauseArgs, door: &Door, verb: &str) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    each(&args.containers, |name| {
        client.post(&format!("/containers/{}/{verb}", encode(name)))?;
        Ok(name.to_owned())
    })
}
