//! `run`: creates a container, starts it, and stays for its output and its exit code.
//!
//! The lean path: [`main`] builds only this verb's parser and leaves the rest of the command tree, tokio and the engine
//! untouched. Three steps: [`args`] is what was typed, [`request`] what it means, and this file does it.

pub(crate) mod args;
mod cidfile;
mod devices;
mod endpoints;
pub(crate) mod environment;
mod health;
mod host_config;
mod limits;
mod mount;
mod mounts;
pub(crate) mod pairs;
mod ports;
pub(crate) mod quantity;
pub(crate) mod request;
pub(crate) mod restart;
mod security;

use std::io::Write;

use clap::Parser;
use proa_registry::Reference;
use serde::Deserialize;

use self::args::{Pull, RunArgs};
use self::cidfile::IdFile;
use self::request::{Attached, Request};
use super::client::{self, Client};
use super::door::Door;
use super::progress::Show;
use super::query::{Query, encode};
use super::{DoorArgs, Failure, escape, parse, session};

/// The parser of `proa run` alone.
#[derive(Debug, Parser)]
#[command(name = "run", bin_name = "proa run", about = "Create and run a container", disable_help_flag = true)]
struct Lean {
    #[command(flatten)]
    door: DoorArgs,
    #[command(flatten)]
    args: RunArgs,
}

/// `proa run` as typed, before the command tree exists.
pub(crate) fn main() -> anyhow::Result<u8> {
    match parse::parse::<Lean>(std::env::args_os().skip(1)) {
        Ok(lean) => run(lean.args, &lean.door.find()?),
        Err(code) => Ok(code),
    }
}

/// Runs a container; the exit code is the container's, or Docker's for what went wrong before it.
pub(crate) fn run(args: RunArgs, door: &Door) -> anyhow::Result<u8> {
    let (detach, sig_proxy) = (args.detach, args.sig_proxy);
    let failed = |error| Failure::wrap(125, error);
    if detach && !args.container.attach.is_empty() {
        anyhow::bail!("conflicting options: cannot specify both --attach and --detach");
    }
    let request = Request::new(args.container, !detach).map_err(failed)?;
    if !detach && request.body.tty() && request.body.open_stdin() && !super::terminal::is_input() {
        anyhow::bail!("the input device is not a TTY\nhint: leave out --tty when input comes from a file or a pipe");
    }
    let keys = escape::Keys::find(args.detach_keys.as_deref(), request.body.tty() && !detach).map_err(failed)?;
    let mut client = Client::connect(door).map_err(failed)?;
    let container = create(&mut client, request).map_err(failed)?;
    if detach {
        start(&mut client, &container.id)?;
        writeln!(std::io::stdout(), "{}", container.id)?;
        return Ok(0);
    }
    let session = session::Options {
        streams: container.attached,
        tty: container.tty,
        sig_proxy: sig_proxy && !container.tty,
        removed: container.auto_remove,
        keys,
    };
    session::run(client, &container.id, session)
}

/// A container that exists and has not been started.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) id: String,
    tty: bool,
    attached: Attached,
    auto_remove: bool,
}

/// Creates a container, pulling its image first where that is asked for or needed.
pub(crate) fn create(client: &mut Client, mut request: Request) -> anyhow::Result<Created> {
    let id_file = request.cidfile.take().map(IdFile::reserve).transpose()?;
    request.body.config.image = Some(request.image.settle(client)?);
    let show = if request.quiet { Show::Nothing } else { Show::Stderr };
    let pull = |client: &mut Client, request: &Request| {
        super::pull::pull(client, request.body.image(), request.platform.as_deref(), show)
    };
    if request.pull == Pull::Always {
        pull(client, &request)?;
    }
    let id = match post(client, &request) {
        Err(error) if request.pull == Pull::Missing && is_missing_image(&error) => {
            if !request.quiet {
                let image = request.body.image();
                let image = Reference::parse(image).map_or(image.to_owned(), |name| name.familiar());
                writeln!(std::io::stderr(), "Unable to find image '{image}' locally")?;
            }
            pull(client, &request)?;
            post(client, &request)?
        }
        other => other?,
    };
    if let Some(file) = id_file {
        file.write(&id)?;
    }
    let body = request.body;
    Ok(Created { id, tty: body.tty(), attached: body.attached(), auto_remove: body.auto_remove() })
}

fn is_missing_image(error: &client::Error) -> bool {
    matches!(error, client::Error::Refused { status: 404, message } if message.contains("No such image"))
}

fn post(client: &mut Client, request: &Request) -> client::Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        id: String,
        #[serde(default)]
        warnings: Option<Vec<String>>,
    }
    let answer: Answer = client.post_json(&request.path(), &request.body)?;
    for warning in answer.warnings.unwrap_or_default() {
        let _ = writeln!(std::io::stderr(), "WARNING: {warning}");
    }
    Ok(answer.id)
}

/// Starts a container; a failure has the exit code that Docker's users know.
pub(crate) fn start(client: &mut Client, id: &str) -> anyhow::Result<()> {
    let path = Query::new(format!("/containers/{}/start", encode(id))).into_path();
    client.post(&path).map_err(|error| Failure::wrap(start_code(&error), error.into()))?;
    Ok(())
}

/// 127 for a program that is not there, 126 for one that cannot be executed, 125 for the rest. The API has no field for
/// it; Docker's own client looks at the words too.
pub(crate) fn start_code(error: &client::Error) -> u8 {
    let client::Error::Refused { message, .. } = error else { return 125 };
    // What else is missing or forbidden, such as a directory to mount, is no fault of the program.
    if !message.contains("exec: ") {
        return 125;
    }
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["executable file not found", "no such file or directory"]) {
        127
    } else if says(&["permission denied", "is a directory", "exec format error"]) {
        126
    } else {
        125
    }
}
