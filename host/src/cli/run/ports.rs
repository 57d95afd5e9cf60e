//! `-p [[IP:]PORT:]PORT[/PROTOCOL]`, by Docker's rules without its ranges.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, bail};
use serde::Serialize;

/// Where on the node one port of the container is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding {
    /// Empty for every address.
    host_ip: String,
    /// Empty for a free port.
    host_port: String,
}

/// The bindings of each container port, written `80/tcp`.
pub(crate) fn parse(typed: &[String]) -> anyhow::Result<BTreeMap<String, Vec<Binding>>> {
    let mut all: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for publish in typed {
        let (port, binding) = parse_one(publish)
            .with_context(|| format!("read the port `{publish}`\nhint: write -p [[IP:]PORT:]PORT[/tcp]"))?;
        all.entry(port).or_default().push(binding);
    }
    Ok(all)
}

fn parse_one(publish: &str) -> anyhow::Result<(String, Binding)> {
    let (ports, protocol) = publish.split_once('/').unwrap_or((publish, "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        bail!("`{protocol}` is no protocol");
    }
    let (host, container) = match ports.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, ports),
    };
    number(container)?;
    let (ip, port) = match host {
        None => ("", ""),
        Some(host) => host.rsplit_once(':').unwrap_or(("", host)),
    };
    if !port.is_empty() {
        number(port)?;
    }
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !ip.is_empty() {
        ip.parse::<IpAddr>().with_context(|| format!("`{ip}` is no address"))?;
    }
    Ok((format!("{container}/{protocol}"), Binding { host_ip: ip.to_owned(), host_port: port.to_owned() }))
}

fn number(port: &str) -> anyhow::Result<u16> {
    if port.contains('-') {
        bail!("ranges of ports are not supported yet");
    }
    port.parse().with_context(|| format!("`{port}` is no port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: Option<(&str, &str, &str)>) {
        let found = parse_one(typed).ok();
        let found = found.as_ref().map(|(port, at)| (port.as_str(), at.host_ip.as_str(), at.host_port.as_str()));
        assert_eq!(found, expected, "-p {typed}");
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        check("80", Some(("80/tcp", "", "")));
        check("8080:80", Some(("80/tcp", "", "8080")));
        check("8080:53/udp", Some(("53/udp", "", "8080")));
        check("127.0.0.1:8080:80", Some(("80/tcp", "127.0.0.1", "8080")));
        check("127.0.0.1::80", Some(("80/tcp", "127.0.0.1", "")));
        check("[::1]:8080:80", Some(("80/tcp", "::1", "8080")));
        for wrong in ["", "x", "80:", "70000:80", "1.2.3:80:80", "80/icmp", "1-2:1-2"] {
            check(wrong, None);
        }
    }
}
