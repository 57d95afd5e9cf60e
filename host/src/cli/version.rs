//! `version`: what runs here, on both ends of the socket.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::client::{self, Client};
use super::door::Door;
use super::template::Format;

/// `proa version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print `json`, or a template such as {{.Server.Version}}
    #[arg(short, long)]
    format: Option<String>,
}

pub(crate) fn run(args: VersionArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    // Asking for a version is no reason to start a host.
    let server: Option<Value> = match door {
        Door::Root(_) if door.knock().is_err() => None,
        _ => Some(Client::connect(door)?.get("/version")?),
    };
    let client = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": client::VERSION,
        "Os": std::env::consts::OS,
        "Arch": arch(std::env::consts::ARCH),
    });
    let mut out = std::io::stdout().lock();
    if format != Format::Table {
        let both = json!({"Client": client, "Server": server});
        writeln!(out, "{}", format.line(&if format == Format::Json { both } else { named_as_in_go(both) })?)?;
        return Ok(0);
    }
    section(&mut out, "Client", Some(&client))?;
    section(&mut out, "Server", server.as_ref())?;
    Ok(0)
}

/// In templates Docker's field has Go's name, in JSON another.
fn named_as_in_go(mut both: Value) -> Value {
    for end in ["Client", "Server"] {
        if let Some(version) = both[end].get("ApiVersion").cloned() {
            both[end]["APIVersion"] = version;
        }
    }
    both
}

/// An architecture under the name that Docker and OCI use.
fn arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn section(out: &mut impl Write, name: &str, facts: Option<&Value>) -> std::io::Result<()> {
    let Some(facts) = facts else { return writeln!(out, "{name}: not running") };
    writeln!(out, "{name}: proa")?;
    for (title, field) in [("Version:", "Version"), ("API version:", "ApiVersion"), ("OS/Arch:", "Os")] {
        let value = facts[field].as_str().unwrap_or("unknown");
        let arch =
            if field == "Os" { format!("/{}", facts["Arch"].as_str().unwrap_or("unknown")) } else { String::new() };
        writeln!(out, " {title:<13} {value}{arch}")?;
    }
    Ok(())
}
