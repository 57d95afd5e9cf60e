//! `import`: an image of the files in a tar archive.

use std::fs::File;
use std::io::{self, Read};

use anyhow::Context;
use clap::Args;

use super::client::{Client, Payload};
use super::door::Door;
use super::progress::{self, Show};
use super::query::Query;

/// `proa import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Apply an instruction of a Dockerfile, such as 'CMD ["sh"]'
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What was done
    #[arg(short, long)]
    message: Option<String>,
    /// The image's platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// A tar archive, an address that the host fetches it from, or - for standard input
    #[arg(value_name = "FILE|URL|-")]
    source: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

pub(crate) fn run(args: ImportArgs, door: &Door) -> anyhow::Result<u8> {
    let is_address = args.source.starts_with("http://") || args.source.starts_with("https://");
    let mut bytes: Box<dyn Read> = match args.source.as_str() {
        "-" => Box::new(io::stdin().lock()),
        _ if is_address => Box::new(io::empty()),
        path => Box::new(File::open(path).with_context(|| format!("open `{path}`"))?),
    };
    let mut query = Query::new("/images/create")
        .with("fromSrc", if is_address { &args.source } else { "-" })
        .maybe("repo", args.name.as_deref())
        .maybe("message", args.message.as_deref())
        .maybe("platform", args.platform.as_deref());
    for change in &args.change {
        query = query.with("changes", change);
    }
    let path = query.into_path();
    let mut client = Client::connect(door)?;
    let payload = match is_address {
        true => Payload::None,
        false => Payload::Stream { media_type: "application/x-tar", bytes: &mut bytes },
    };
    let answer = client.send("POST", &path, &[], payload)?;
    progress::show(answer.into_body(), Show::Stdout)?;
    Ok(0)
}
