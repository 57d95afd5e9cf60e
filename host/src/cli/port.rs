//! `port`: where a container's ports are published.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::door::Door;
use super::query::encode;

/// `proa port`.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    container: String,
    /// Only this port of the container's
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

pub(crate) fn run(args: PortArgs, door: &Door) -> anyhow::Result<u8> {
    let all: Value = Client::connect(door)?.get(&format!("/containers/{}/json", encode(&args.container)))?;
    let ports = all.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
    let mut found: Vec<(u16, String, String)> = Vec::new();
    for (port, bindings) in ports.into_iter().flatten() {
        let number = port.split('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        for binding in bindings.as_array().into_iter().flatten() {
            found.push((number, port.clone(), address(binding)));
        }
    }
    found.sort();
    let mut out = std::io::stdout().lock();
    let Some(asked) = args.port else {
        found.iter().try_for_each(|(_, port, address)| writeln!(out, "{port} -> {address}"))?;
        return Ok(0);
    };
    let asked = if asked.contains('/') { asked } else { format!("{asked}/tcp") };
    let published: Vec<&String> =
        found.iter().filter(|(_, port, _)| *port == asked).map(|(_, _, address)| address).collect();
    if published.is_empty() {
        bail!("no public port '{asked}' published for {}", args.container);
    }
    published.iter().try_for_each(|address| writeln!(out, "{address}"))?;
    Ok(0)
}

/// `0.0.0.0:8080` or `[::]:8080`.
fn address(binding: &Value) -> String {
    let text = |field: &str| binding[field].as_str().unwrap_or_default();
    let (ip, port) = (text("HostIp"), text("HostPort"));
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
