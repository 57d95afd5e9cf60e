//! `pull`: an image from a registry into the host's store.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use proa_registry::Reference;

use super::client::{Client, Payload};
use super::door::Door;
use super::progress::{self, Show};
use super::push::registry_auth;
use super::query::Query;

/// `proa pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Accepted for Docker's sake: nothing here is signed that way
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
    /// The platform to take from the image, such as wasi/wasm
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    image: String,
}

pub(crate) fn run(args: PullArgs, door: &Door) -> anyhow::Result<u8> {
    let reference = parse(&args.image)?;
    if args.all_tags {
        if reference.digest().is_some() || has_tag(&args.image) {
            anyhow::bail!("tag can't be used with --all-tags/-a");
        }
        let show = if args.quiet { Show::Nothing } else { Show::Stdout };
        request(&mut Client::connect(door)?, &reference, None, args.platform.as_deref(), show)?;
        writeln!(std::io::stdout(), "{}", reference.name())?;
        return Ok(0);
    }
    if !args.quiet && reference.digest().is_none() && !has_tag(&args.image) {
        writeln!(std::io::stdout(), "Using default tag: latest")?;
    }
    let mut client = Client::connect(door)?;
    let show = if args.quiet { Show::Nothing } else { Show::Stdout };
    pull(&mut client, &args.image, args.platform.as_deref(), show)?;
    writeln!(std::io::stdout(), "{reference}")?;
    Ok(0)
}

/// Pulls an image, showing how far it has come.
pub(crate) fn pull(client: &mut Client, image: &str, platform: Option<&str>, show: Show) -> anyhow::Result<()> {
    let reference = parse(image)?;
    let version = reference.digest().map(ToString::to_string).or_else(|| reference.tag().map(str::to_owned));
    request(client, &reference, version.as_deref(), platform, show)
}

/// A repository without a version means all its tags, as Docker has it.
fn request(
    client: &mut Client,
    reference: &Reference,
    version: Option<&str>,
    platform: Option<&str>,
    show: Show,
) -> anyhow::Result<()> {
    let path = Query::new("/images/create")
        .with("fromImage", &reference.name())
        .maybe("tag", version)
        .maybe("platform", platform)
        .into_path();
    let auth = registry_auth(reference)?;
    let answer = client.send("POST", &path, &[("X-Registry-Auth", &auth)], Payload::None)?;
    progress::show(answer.into_body(), show)
}

fn parse(image: &str) -> anyhow::Result<Reference> {
    Reference::parse(image).with_context(|| format!("read the image's name `{image}`"))
}

/// Whether a name ends in a tag; a colon before the last slash belongs to the registry's port.
pub(crate) fn has_tag(image: &str) -> bool {
    image.rsplit('/').next().is_some_and(|last| last.contains(':'))
}
