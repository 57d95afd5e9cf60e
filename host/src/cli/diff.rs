//! `diff`: what a container has changed of its image's files.

use std::io::{IsTerminal, Write};

use clap::Args;
use serde::Deserialize;

use super::client::Client;
use super::door::Door;
use super::human::harmless;
use super::query::encode;

/// `proa diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    container: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    path: String,
    kind: u8,
}

pub(crate) fn run(args: DiffArgs, door: &Door) -> anyhow::Result<u8> {
    let path = format!("/containers/{}/changes", encode(&args.container));
    let changes: Option<Vec<Change>> = Client::connect(door)?.get(&path)?;
    let on_terminal = std::io::stdout().is_terminal();
    let mut out = std::io::stdout().lock();
    for change in changes.unwrap_or_default() {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            2 => 'D',
            _ => '?',
        };
        // A pipe gets the names as they are; a terminal is not the container's to steer.
        let path = if on_terminal { harmless(&change.path) } else { change.path.as_str().into() };
        writeln!(out, "{kind} {path}")?;
    }
    Ok(0)
}
