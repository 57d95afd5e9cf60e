//! `restart`: ends containers and starts them again.

use clap::Args;

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::query::{Query, encode};

/// `proa restart`.
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// Seconds before the container is ended by force; -1 waits for ever
    #[arg(short, long, visible_alias = "time", allow_negative_numbers = true, value_name = "SECONDS")]
    timeout: Option<i64>,
    /// The signal instead of the container's own stop signal
    #[arg(short, long)]
    signal: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: RestartArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    let timeout = args.timeout.map(|seconds| seconds.to_string());
    each(&args.containers, |name| {
        let path = Query::new(format!("/containers/{}/restart", encode(name)))
            .maybe("t", timeout.as_deref())
            .maybe("signal", args.signal.as_deref());
        client.post(&path.into_path())?;
        Ok(name.to_owned())
    })
}
