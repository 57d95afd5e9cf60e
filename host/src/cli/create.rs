//! `create`: a container that waits for its start.

use std::io::Write;

use super::client::Client;
use super::door::Door;
use super::run::args::ContainerArgs;
use super::run::request::Request;

/// Creates a container and prints its id.
pub(crate) fn run(args: ContainerArgs, door: &Door) -> anyhow::Result<u8> {
    let request = Request::new(args, true)?;
    let mut client = Client::connect(door)?;
    let created = super::run::create(&mut client, request)?;
    writeln!(std::io::stdout(), "{}", created.id)?;
    Ok(0)
}
