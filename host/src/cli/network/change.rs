//! `network create`, `rm`, `connect` and `disconnect`.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::{Client, Error, Payload, json as payload};
use crate::cli::door::Door;
use crate::cli::each::each_found;
use crate::cli::query::encode;
use crate::cli::run::pairs;

/// `proa network create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Let containers be attached by hand
    #[arg(long)]
    attachable: bool,
    /// Who makes it
    #[arg(short, long, default_value = "bridge", value_name = "NAME")]
    driver: String,
    /// The gateway of the subnet before it
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Keep it from the world
    #[arg(long)]
    internal: bool,
    /// The part of the subnet that addresses are taken from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<String>,
    /// Give addresses of IPv6 too
    #[arg(long)]
    ipv6: bool,
    /// Set a label
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// A subnet, such as 10.1.0.0/16
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<String>,
    network: String,
}

/// `proa network rm`.
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// One that is not there is fine
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

/// `proa network connect`.
#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// One more name in the network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// The IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    network: String,
    container: String,
}

/// `proa network disconnect`.
#[derive(Debug, Args)]
pub(super) struct DisconnectArgs {
    /// Also when the container does not run
    #[arg(short, long)]
    force: bool,
    network: String,
    container: String,
}

pub(super) fn create(args: CreateArgs, door: &Door) -> anyhow::Result<u8> {
    let subnets = args.subnet.iter().enumerate().map(
        |(at, subnet)| json!({ "Subnet": subnet, "Gateway": args.gateway.get(at), "IPRange": args.ip_range.get(at) }),
    );
    let body = json!({
        "Name": args.network,
        "Driver": args.driver,
        "Internal": args.internal,
        "Attachable": args.attachable,
        "EnableIPv6": args.ipv6,
        "IPAM": { "Driver": "default", "Config": subnets.collect::<Vec<Value>>() },
        "Options": pairs::parse(&args.opt, "driver option")?,
        "Labels": pairs::parse(&args.label, "label")?,
    });
    let created: Value = Client::connect(door)?.post_json("/networks/create", &body)?;
    writeln!(std::io::stdout(), "{}", created["Id"].as_str().unwrap_or_default())?;
    Ok(0)
}

pub(super) fn remove(args: RmArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    each_found(&args.networks, |name| match client.delete(&format!("/networks/{}", encode(name))) {
        Err(Error::Refused { status: 404, .. }) if args.force => Ok(None),
        other => other.map(|_| Some(name.to_owned())).map_err(Into::into),
    })
}

pub(super) fn connect(args: ConnectArgs, door: &Door) -> anyhow::Result<u8> {
    let body = json!({
        "Container": args.container,
        "EndpointConfig": {
            "IPAMConfig": { "IPv4Address": args.ip, "IPv6Address": args.ip6 },
            "Aliases": args.alias,
        },
    });
    post(door, &format!("/networks/{}/connect", encode(&args.network)), &body)
}

pub(super) fn disconnect(args: DisconnectArgs, door: &Door) -> anyhow::Result<u8> {
    let body = json!({ "Container": args.container, "Force": args.force });
    post(door, &format!("/networks/{}/disconnect", encode(&args.network)), &body)
}

fn post(door: &Door, path: &str, body: &Value) -> anyhow::Result<u8> {
    let body: Payload<'_> = payload(path, body)?;
    Client::connect(door)?.send("POST", path, &[], body)?.finish()?;
    Ok(0)
}
