//! `stop`: the stop signal, and the end after a grace period.

use clap::Args;

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::query::{Query, encode};

/// `proa stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Seconds before the container is ended by force; -1 waits for ever
    #[arg(short, long, visible_alias = "time", allow_negative_numbers = true, value_name = "SECONDS")]
    timeout: Option<i64>,
    /// The signal instead of the container's own stop signal
    #[arg(short, long)]
    signal: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: StopArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    let timeout = args.timeout.map(|seconds| seconds.to_string());
    each(&args.containers, |name| {
        let path = Query::new(format!("/containers/{}/stop", encode(name)))
            .maybe("t", timeout.as_deref())
            .maybe("signal", args.signal.as_deref());
        client.post(&path.into_path())?;
        Ok(name.to_owned())
    })
}
