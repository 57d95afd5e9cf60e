//! `man`: the manual pages, made of the commands' own definition.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::Cli;

/// `proa man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory they are written into, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: ManArgs) -> anyhow::Result<u8> {
    let attempt = || format!("write manual pages into `{}`", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(attempt)?;
    clap_mangen::generate_to(Cli::command(), &args.folder).with_context(attempt)?;
    Ok(0)
}
