//! `wait`: waits for containers to end and prints their exit codes.

use clap::Args;

use super::client::{Client, Payload};
use super::door::Door;
use super::each::each;
use super::session::{Waited, wait_path};

/// `proa wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: WaitArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    each(&args.containers, |name| {
        let waited: Waited = client.send("POST", &wait_path(name, "not-running"), &[], Payload::None)?.json()?;
        waited.into_code()
    })
}
