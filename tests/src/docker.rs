//! The stock `docker` command line on a node's socket.

use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, Output, Running};
use crate::need;
use crate::node::Node;
use crate::wait::PATIENCE;

/// `docker ARGS` to its end.
///
/// # Errors
/// When it is not installed or does not end in time.
pub fn docker(node: &Node, args: &[&str]) -> Result<Output> {
    command::run(&mut line(node, args)?, PATIENCE)
}

/// `docker ARGS` to its end with `input` on its standard input.
///
/// # Errors
/// As [`docker`].
pub fn feed(node: &Node, args: &[&str], input: &[u8]) -> Result<Output> {
    command::feed(&mut line(node, args)?, input.to_vec(), PATIENCE)
}

/// `docker ARGS` in the background.
///
/// # Errors
/// When it is not installed.
pub fn start(node: &Node, args: &[&str]) -> Result<Running> {
    command::start(&mut line(node, args)?)
}

/// `docker ARGS`, not yet started.
///
/// # Errors
/// When it is not installed.
pub fn line(node: &Node, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(need::peer("docker").context("`docker` is not installed")?);
    node.own_home(&mut command);
    command.args(args).env("DOCKER_HOST", format!("unix://{}", node.socket().display()));
    Ok(command)
}
