//! One HTTP request to a component behind a published port of loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::samples::Samples;
use super::scene::Scene;
use crate::cli::client::Client;

/// What came back.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) url: String,
    pub(super) body: String,
    pub(super) took: Duration,
    pub(super) image: u64,
}

/// Starts the component, asks it once, removes it.
pub(super) fn serve_one(scene: &Scene, samples: &Samples) -> anyhow::Result<Served> {
    let mut client = scene.client()?;
    let body = json!({
        "Image": samples.http.name,
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {
            "NetworkMode": "default",
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        },
    });
    let created: Value = client.post_json("/containers/create", &body)?;
    let id = created["Id"].as_str().context("the host gave no id")?.to_owned();
    let asked = started(&mut client, &id).and_then(ask);
    client.delete(&format!("/containers/{id}?force=1"))?;
    let (address, body, took) = asked?;
    Ok(Served { url: format!("http://{address}/"), body, took, image: samples.http.wasm_size })
}

/// The address at which it is published.
fn started(client: &mut Client, id: &str) -> anyhow::Result<SocketAddr> {
    client.post(&format!("/containers/{id}/start"))?;
    let facts: Value = client.get(&format!("/containers/{id}/json"))?;
    let published = facts.pointer("/NetworkSettings/Ports/80~1tcp/0/HostPort").and_then(Value::as_str);
    let port: u16 = published.context("the host published no port")?.parse().context("read the published port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn ask(address: SocketAddr) -> anyhow::Result<(SocketAddr, String, Duration)> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("read the answer of {address}"))?;
    let took = begun.elapsed();
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{address} answered `{}`", head.lines().next().unwrap_or_default());
    }
    Ok((address, first_text(body), took))
}

/// The body's text, without the sizes of its chunks.
fn first_text(body: &str) -> String {
    let is_text = |line: &&str| u64::from_str_radix(line.trim(), 16).is_err();
    body.lines().filter(|line| !line.trim().is_empty()).filter(is_text).collect::<Vec<_>>().join(" ")
}
