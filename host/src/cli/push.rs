//! `push`: an image from the host's store to a registry.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use proa_registry::{Credentials, Reference};

use super::client::{Client, Payload};
use super::door::Door;
use super::platform;
use super::progress::{self, Show};
use super::pull::has_tag;
use super::query::{Query, encode_image};

/// `proa push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Accepted for Docker's sake: nothing here is signed that way
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Only this platform of the image
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

pub(crate) fn run(args: PushArgs, door: &Door) -> anyhow::Result<u8> {
    let show = if args.quiet { Show::Nothing } else { Show::Stdout };
    let reference = parse(&args.image)?;
    let platform = args.platform.as_deref().map(platform::json).transpose()?;
    let tag = match args.all_tags {
        true if has_tag(&args.image) => anyhow::bail!("tag can't be used with --all-tags/-a"),
        true => None,
        false => reference.tag(),
    };
    if show == Show::Stdout && !args.all_tags && reference.digest().is_none() && !has_tag(&args.image) {
        writeln!(std::io::stdout(), "Using default tag: latest")?;
    }
    request(&mut Client::connect(door)?, &reference, tag, platform.as_deref(), show)?;
    if args.quiet {
        writeln!(std::io::stdout(), "{reference}")?;
    }
    Ok(0)
}

/// Pushes an image, showing how far it has come.
#[cfg(feature = "demo")]
pub(crate) fn push(client: &mut Client, image: &str, show: Show) -> anyhow::Result<()> {
    let reference = parse(image)?;
    request(client, &reference, reference.tag(), None, show)
}

/// A repository without a tag means all its tags, as Docker has it.
fn request(
    client: &mut Client,
    reference: &Reference,
    tag: Option<&str>,
    platform: Option<&str>,
    show: Show,
) -> anyhow::Result<()> {
    let path = Query::new(format!("/images/{}/push", encode_image(&reference.name())))
        .maybe("tag", tag)
        .maybe("platform", platform)
        .into_path();
    let auth = registry_auth(reference)?;
    let answer = client.send("POST", &path, &[("X-Registry-Auth", &auth)], Payload::None)?;
    progress::show(answer.into_body(), show)
}

fn parse(image: &str) -> anyhow::Result<Reference> {
    Reference::parse(image).with_context(|| format!("read the image's name `{image}`"))
}

/// The caller's credentials for an image's registry as the API carries them. They are the caller's and not the host's,
/// which may run as somebody else.
pub(crate) fn registry_auth(reference: &Reference) -> anyhow::Result<String> {
    let credentials = Credentials::from_docker_config().context("read Docker's credentials")?;
    let registry = reference.registry();
    let login = credentials.find(registry).with_context(|| format!("find the login at `{registry}`"))?;
    // The base64 of `{}`: Docker's way to say that there are none.
    Ok(login.map_or_else(|| "e30=".to_owned(), |login| login.header(registry)))
}
