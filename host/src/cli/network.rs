//! `network`: what containers can reach each other through; the host says what of it is there.

mod change;
mod inspect;
mod ls;

use clap::{Args, Subcommand};

use super::door::Door;
use super::prune;

/// `proa network`.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Connect a container to a network
    Connect(change::ConnectArgs),
    /// Make a network
    Create(change::CreateArgs),
    /// Disconnect a container from a network
    Disconnect(change::DisconnectArgs),
    /// Show all that is known about networks
    Inspect(inspect::InspectArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ls::LsArgs),
    /// Remove networks that no container uses
    Prune(prune::PruneArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(change::RmArgs),
}

pub(crate) fn run(args: NetworkArgs, door: &Door) -> anyhow::Result<u8> {
    match args.verb {
        Verb::Connect(args) => change::connect(args, door),
        Verb::Create(args) => change::create(args, door),
        Verb::Disconnect(args) => change::disconnect(args, door),
        Verb::Inspect(args) => inspect::run(args, door),
        Verb::Ls(args) => ls::run(args, door),
        Verb::Prune(args) => prune::networks(args, door),
        Verb::Rm(args) => change::remove(args, door),
    }
}
