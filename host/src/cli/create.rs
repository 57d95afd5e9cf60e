//! `create`: a container that waits for its start.

use std::io::Write;

use super::Failure;
use super::client::Client;
use super::door::Door;
use super::run::args::ContainerArgs;
use super::run::request::Request;

/// Creates a container and prints its id.
pub(crate) fn run(args: ContainerArgs, door: &Door) -> anyhow::Result<u8> {
    let failed = |error| Failure::wrap(125, error);
    let request = Request::new(args, true).map_err(failed)?;
    let mut client = Client::connect(door).map_err(failed)?;
    let created = super::run::create(&mut client, request).map_err(failed)?;
    writeln!(std::io::stdout(), "{}", created.id)?;
    Ok(0)
}
