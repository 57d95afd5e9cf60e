//! `create`: a container that waits for its start.

use std::io::Write;

use super::Failure;
use super::client::Client;
use super::door::Door;
use super::run::args::ContainerArgs;
use super::run::request::Request;

/// Creates a container and prints its id.
pub(crate) fn run(args: ContainerArgs, door: &Door) -> anyhow::Result<u8> {
    // As with Docker: 125 for what was typed, 1 for what the host says to it.
    let request = Request::new(args, true).map_err(|error| Failure::wrap(125, error))?;
    let mut client = Client::connect(door)?;
    let created = super::run::create(&mut client, request)?;
    writeln!(std::io::stdout(), "{}", created.id)?;
    Ok(0)
}
