//! `load`: images from an archive, a file or standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::client::{Client, Payload};
use super::door::Door;
use super::platform;
use super::progress::{self, Show};
use super::query::Query;

/// `proa load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Read from a file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only this platform of the images
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Print the images' names only
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: LoadArgs, door: &Door) -> anyhow::Result<u8> {
    let mut bytes: Box<dyn Read> = match &args.input {
        Some(path) => Box::new(File::open(path).with_context(|| format!("open `{}`", path.display()))?),
        None if io::stdin().is_terminal() => {
            bail!("requested load from stdin, but stdin is empty\nhint: name an archive with -i FILE")
        }
        None => Box::new(io::stdin().lock()),
    };
    let platform = args.platform.as_deref().map(platform::json).transpose()?;
    let path = Query::new("/images/load")
        .flag("quiet", args.quiet || !io::stdout().is_terminal())
        .maybe("platform", platform.as_deref())
        .into_path();
    let mut client = Client::connect(door)?;
    let payload = Payload::Stream { media_type: "application/x-tar", bytes: &mut bytes };
    let answer = client.send("POST", &path, &[], payload)?;
    progress::show(answer.into_body(), Show::Stdout)?;
    Ok(0)
}
