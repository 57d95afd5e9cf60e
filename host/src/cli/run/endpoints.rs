//! `--network` and what belongs to it: a container's place in each network, name servers, and lines of /etc/hosts.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Context, bail};
use bollard_stubs::models::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::args::NetworkArgs;
use super::mount::fields;

/// The first network's name, and the settings of all that have any.
pub(crate) fn parse(args: &NetworkArgs) -> anyhow::Result<(String, Option<NetworkingConfig>)> {
    let mut networks = args.network.iter().map(|network| network_of(network)).collect::<anyhow::Result<Vec<_>>>()?;
    if networks.is_empty() {
        networks.push(("default".to_owned(), EndpointSettings::default()));
    }
    own(&mut networks[0], args)?;
    let first = networks[0].0.clone();
    let only = networks.len() == 1;
    let mut endpoints = HashMap::new();
    for (name, endpoint) in networks {
        if only && endpoint == EndpointSettings::default() {
            continue;
        }
        if endpoints.contains_key(&name) {
            bail!("network \"{name}\" is specified multiple times");
        }
        endpoints.insert(name, endpoint);
    }
    let config = (!endpoints.is_empty()).then_some(NetworkingConfig { endpoints_config: Some(endpoints) });
    Ok((first, config))
}

/// `NAME`, or `name=NAME,alias=...,ip=...`.
fn network_of(typed: &str) -> anyhow::Result<(String, EndpointSettings)> {
    if !typed.contains('=') {
        return Ok((typed.to_owned(), EndpointSettings::default()));
    }
    let (mut name, mut endpoint) = (String::new(), EndpointSettings::default());
    for field in fields(typed)? {
        let Some((key, value)) = field.split_once('=') else { bail!("invalid field {field} in `{typed}`") };
        let text = || value.to_owned();
        match key {
            "name" => name = text(),
            "alias" => endpoint.aliases.get_or_insert_default().push(text()),
            "ip" => endpoint.ipam_config.get_or_insert_default().ipv4_address = Some(text()),
            "ip6" => endpoint.ipam_config.get_or_insert_default().ipv6_address = Some(text()),
            "link-local-ip" => {
                endpoint.ipam_config.get_or_insert_default().link_local_ips.get_or_insert_default().push(text());
            }
            "mac-address" => endpoint.mac_address = Some(mac(value)?),
            "gw-priority" => {
                let priority = value.parse().with_context(|| format!("`{value}` is no priority"))?;
                endpoint.gw_priority = Some(priority);
            }
            "driver-opt" => {
                let Some((name, value)) = value.split_once('=') else {
                    bail!("invalid key value pair format in driver options")
                };
                endpoint.driver_opts.get_or_insert_default().insert(name.to_owned(), value.to_owned());
            }
            _ => bail!("invalid field key {key}"),
        }
    }
    if name.is_empty() {
        bail!("network name/id is not specified in `{typed}`");
    }
    Ok((name, endpoint))
}

/// The flags without a network's name are about the first.
fn own((name, endpoint): &mut (String, EndpointSettings), args: &NetworkArgs) -> anyhow::Result<()> {
    let is_own = !matches!(name.as_str(), "default" | "bridge" | "host" | "none") && !name.starts_with("container:");
    if !args.network_alias.is_empty() {
        if !is_own {
            bail!("network-scoped aliases are only supported for user-defined networks");
        }
        endpoint.aliases.get_or_insert_default().extend(args.network_alias.iter().cloned());
    }
    if is_own && !args.link.is_empty() {
        endpoint.links = Some(args.link.clone());
    }
    if args.ip.is_some() || args.ip6.is_some() || !args.link_local_ip.is_empty() {
        endpoint.ipam_config = Some(EndpointIpamConfig {
            ipv4_address: args.ip.clone(),
            ipv6_address: args.ip6.clone(),
            link_local_ips: (!args.link_local_ip.is_empty()).then(|| args.link_local_ip.clone()),
        });
    }
    if let Some(address) = &args.mac_address {
        endpoint.mac_address = Some(mac(address)?);
    }
    Ok(())
}

fn mac(address: &str) -> anyhow::Result<String> {
    let parts: Vec<&str> = address.split([':', '-']).collect();
    let is_byte = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    if parts.len() == 6 && parts.iter().all(is_byte) {
        Ok(address.trim().to_owned())
    } else {
        bail!("{address} is not a valid mac address")
    }
}

/// Name servers are addresses.
pub(crate) fn name_servers(typed: &[String]) -> anyhow::Result<Vec<String>> {
    match typed.iter().find(|server| server.trim().parse::<IpAddr>().is_err()) {
        Some(server) => bail!("IP address is not correctly formatted: {server}"),
        None => Ok(typed.to_vec()),
    }
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; `host-gateway` is the node's own.
pub(crate) fn hosts(typed: &[String]) -> anyhow::Result<Vec<String>> {
    let one = |typed: &String| {
        let Some((name, address)) = typed.split_once('=').or_else(|| typed.split_once(':')) else {
            bail!("bad format for add-host: \"{typed}\"");
        };
        let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        if name.is_empty() {
            bail!("bad format for add-host: \"{typed}\"");
        }
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            bail!("invalid IP address in add-host: \"{address}\"");
        }
        Ok(format!("{name}:{address}"))
    };
    typed.iter().map(one).collect()
}
