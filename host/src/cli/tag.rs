//! `tag`: one more name for an image.

use anyhow::Context;
use clap::Args;
use proa_registry::Reference;

use super::client::Client;
use super::door::Door;
use super::query::{Query, encode_image};

/// `proa tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The image by any of its names
    source: String,
    /// Its new name
    target: String,
}

pub(crate) fn run(args: TagArgs, door: &Door) -> anyhow::Result<u8> {
    tag(&mut Client::connect(door)?, &args.source, &args.target)?;
    Ok(0)
}

/// Names an image.
pub(crate) fn tag(client: &mut Client, source: &str, target: &str) -> anyhow::Result<()> {
    let target = Reference::parse(target).with_context(|| format!("read the name `{target}`"))?;
    let path = Query::new(format!("/images/{}/tag", encode_image(source)))
        .with("repo", &target.name())
        .maybe("tag", target.tag())
        .into_path();
    client.post(&path)?;
    Ok(())
}
