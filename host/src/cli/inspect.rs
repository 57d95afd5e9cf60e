//! `inspect`: all the host knows about containers, images, networks or volumes, as JSON.

use std::io::Write;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::client::{Client, Error};
use super::door::Door;
use super::failure::report;
use super::platform;
use super::query::{Query, encode, encode_image};
use super::template::Format;

/// `proa inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Print `json`, or a template such as {{.State.Status}}
    #[arg(short, long)]
    format: Option<String>,
    /// Count the files' sizes of containers too
    #[arg(short, long)]
    size: bool,
    /// What the names name; containers, images, networks and volumes in this order otherwise
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// `proa container inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectContainerArgs {
    /// Print `json`, or a template such as {{.State.Status}}
    #[arg(short, long)]
    format: Option<String>,
    /// Count the files' sizes too
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `proa image inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectImageArgs {
    /// Print `json`, or a template such as {{.Config.Cmd}}
    #[arg(short, long)]
    format: Option<String>,
    /// The platform that is meant
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

    fn path(self, name: &str, size: bool) -> String {
        match self {
            Kind::Container => Query::new(format!("/containers/{}/json", encode(name))).flag("size", size).into_path(),
            Kind::Image => format!("/images/{}/json", encode_image(name)),
            Kind::Network => format!("/networks/{}", encode(name)),
            Kind::Volume => format!("/volumes/{}", encode(name)),
        }
    }
}

pub(crate) fn run(args: InspectArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    all(args.format.as_deref(), &args.names, |name| match args.kind {
        Some(kind) => Ok(client.get(&kind.path(name, args.size))?),
        None => find(&mut client, name, args.size),
    })
}

pub(crate) fn containers(args: InspectContainerArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    all(args.format.as_deref(), &args.containers, |name| Ok(client.get(&Kind::Container.path(name, args.size))?))
}

pub(crate) fn images(args: InspectImageArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    let platform = args.platform.as_deref().map(platform::json).transpose()?;
    all(args.format.as_deref(), &args.images, |name| {
        let path = Query::new(Kind::Image.path(name, false)).maybe("platform", platform.as_deref());
        Ok(client.get(&path.into_path())?)
    })
}

/// Prints what `find` finds of each name, and tells each failure.
pub(crate) fn all(
    format: Option<&str>,
    names: &[String],
    mut find: impl FnMut(&str) -> anyhow::Result<Value>,
) -> anyhow::Result<u8> {
    let format = Format::parse(format)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(object) => found.push(object),
            Err(error) => failures.push(error),
        }
    }
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{}", pretty(&Value::Array(found))?)?,
        format => {
            found.iter().try_for_each(|object| format.line(object).and_then(|line| Ok(writeln!(out, "{line}")?)))?
        }
    }
    for failure in &failures {
        report(failure);
    }
    Ok(u8::from(!failures.is_empty()))
}

fn find(client: &mut Client, name: &str, size: bool) -> anyhow::Result<Value> {
    for kind in Kind::ALL {
        match client.get(&kind.path(name, size)) {
            // What the host does not do yet cannot hold the name either.
            Err(Error::Refused { status: 404 | 501, .. }) => {}
            other => return Ok(other?),
        }
    }
    bail!("No such object: {name}")
}

/// JSON with Docker's four blanks for each level.
pub(crate) fn pretty(value: &Value) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    Ok(String::from_utf8(text)?)
}

/// What attach, start and logs must know of a container first.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) auto_remove: bool,
    pub(crate) running: bool,
    pub(crate) paused: bool,
    pub(crate) restarting: bool,
}

/// Inspects a container for what a session needs.
pub(crate) fn container_facts(client: &mut Client, name: &str) -> anyhow::Result<Facts> {
    let all: Value = client.get(&format!("/containers/{}/json", encode(name)))?;
    let holds = |pointer| all.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    Ok(Facts {
        id: all["Id"].as_str().unwrap_or(name).to_owned(),
        tty: holds("/Config/Tty"),
        open_stdin: holds("/Config/OpenStdin"),
        auto_remove: holds("/HostConfig/AutoRemove"),
        running: holds("/State/Running"),
        paused: holds("/State/Paused"),
        restarting: holds("/State/Restarting"),
    })
}
