//! `volume`: named places for files that outlive their containers.

mod create;
mod inspect;
mod ls;
mod rm;

use clap::{Args, Subcommand};

pub(crate) use self::ls::object;
use super::door::Door;
use super::prune;

/// `proa volume`.
#[derive(Debug, Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a volume
    Create(create::CreateArgs),
    /// Show all that is known about volumes
    Inspect(inspect::InspectArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ls::LsArgs),
    /// Remove volumes that no container uses
    Prune(prune::PruneAllArgs),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
}

pub(crate) fn run(args: VolumeArgs, door: &Door) -> anyhow::Result<u8> {
    match args.verb {
        Verb::Create(args) => create::run(args, door),
        Verb::Inspect(args) => inspect::run(args, door),
        Verb::Ls(args) => ls::run(args, door),
        Verb::Prune(args) => prune::volumes(args, door),
        Verb::Rm(args) => rm::run(args, door),
    }
}
