//! `inspect`: all the host knows about containers or images, as JSON.

use std::io::Write;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::client::{Client, Error};
use super::door::Door;
use super::failure::report;
use super::query::{encode, encode_image};
use super::template::Format;

/// `proa inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Print `json`, or a template such as {{.State.Status}}
    #[arg(short, long)]
    format: Option<String>,
    /// What the names name; containers before images otherwise
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

pub(crate) fn run(args: InspectArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    let mut client = Client::connect(door)?;
    let (mut found, mut code) = (Vec::new(), 0);
    for name in &args.names {
        match find(&mut client, name, args.kind) {
            Ok(object) => found.push(object),
            Err(error) => {
                report(&error);
                code = 1;
            }
        }
    }
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{}", pretty(&Value::Array(found))?)?,
        format => {
            found.iter().try_for_each(|object| format.line(object).and_then(|line| Ok(writeln!(out, "{line}")?)))?
        }
    }
    Ok(code)
}

fn find(client: &mut Client, name: &str, kind: Option<Kind>) -> anyhow::Result<Value> {
    if kind != Some(Kind::Image) {
        match client.get(&format!("/containers/{}/json", encode(name))) {
            Err(Error::Refused { status: 404, .. }) if kind.is_none() => {}
            other => return Ok(other?),
        }
    }
    match client.get(&format!("/images/{}/json", encode_image(name))) {
        Err(Error::Refused { status: 404, .. }) if kind.is_none() => bail!("No such object: {name}"),
        other => Ok(other?),
    }
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
    })
}
