//! `rm`: removes containers.

use clap::Args;

use super::client::{Client, Error};
use super::door::Door;
use super::each::each_found;
use super::failure::report;
use super::query::{Query, encode};

/// `proa rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// End the container first if it runs; one that is not there is fine
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Remove a link instead of its container
    #[arg(short, long)]
    link: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: RmArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    each_found(&args.containers, |name| {
        let path = Query::new(format!("/containers/{}", encode(name)))
            .flag("force", args.force)
            .flag("v", args.volumes)
            .flag("link", args.link);
        match client.delete(&path.into_path()) {
            // As Docker since 20.10: -f means that it shall be gone.
            Err(error @ Error::Refused { status: 404, .. }) if args.force => {
                report(&error.into());
                Ok(None)
            }
            other => other.map(|_| Some(name.to_owned())).map_err(Into::into),
        }
    })
}
