//! `push`: an image from the host's store to a registry.

use std::io::Write;

use anyhow::Context;
use clap::Args;
use proa_registry::{Credentials, Reference};

use super::client::{Client, Payload};
use super::door::Door;
use super::progress::{self, Show};
use super::query::{Query, encode_image};

/// `proa push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

pub(crate) fn run(args: PushArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    push(&mut client, &args.image, if args.quiet { Show::Nothing } else { Show::Stdout })?;
    if args.quiet {
        writeln!(std::io::stdout(), "{}", Reference::parse(&args.image)?)?;
    }
    Ok(0)
}

/// Pushes an image, showing how far it has come.
pub(crate) fn push(client: &mut Client, image: &str, show: Show) -> anyhow::Result<()> {
    let reference = Reference::parse(image).with_context(|| format!("read the image's name `{image}`"))?;
    let path = Query::new(format!("/images/{}/push", encode_image(&reference.name())))
        .maybe("tag", reference.tag())
        .into_path();
    let auth = registry_auth(&reference)?;
    let answer = client.send("POST", &path, &[("X-Registry-Auth", &auth)], Payload::None)?;
    progress::show(answer.into_body(), show)
}

/// The caller's credentials for an image's registry as the API carries them. They are the caller's and not the host's,
/// which may run as somebody else.
pub(crate) fn registry_auth(reference: &Reference) -> anyhow::Result<String> {
    let credentials = Credentials::from_docker_config().context("read Docker's credentials")?;
    let auth = credentials.registry_auth(reference.registry());
    // The base64 of `{}`: Docker's way to say that there are none.
    Ok(auth.unwrap_or_else(|| "e30=".to_owned()))
}
