//! `-p [[IP:]PORT:]PORT[/PROTOCOL]` and `--expose PORT[/PROTOCOL]` by Docker's rules, ranges included.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, bail};
use bollard_stubs::models::PortBinding;

/// The bindings of each container port, written `80/tcp`.
pub(crate) fn parse(typed: &[String]) -> anyhow::Result<BTreeMap<String, Vec<PortBinding>>> {
    let mut all: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for publish in typed {
        let bindings = parse_one(publish)
            .with_context(|| format!("read the port `{publish}`\nhint: write -p [[IP:]PORT:]PORT[/tcp]"))?;
        for (port, binding) in bindings {
            all.entry(port).or_default().push(binding);
        }
    }
    Ok(all)
}

/// The ports that are only said to be listened on.
pub(crate) fn exposed(typed: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for expose in typed {
        if expose.contains(':') {
            bail!("invalid port format for --expose: {expose}");
        }
        let (ports, protocol) = protocol(expose)?;
        let (first, last) = range(ports).with_context(|| format!("invalid range format for --expose: {expose}"))?;
        all.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(all)
}

fn protocol(typed: &str) -> anyhow::Result<(&str, String)> {
    let (ports, protocol) = typed.split_once('/').unwrap_or((typed, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match protocol.as_str() {
        "tcp" | "udp" | "sctp" => Ok((ports, protocol)),
        _ => bail!("`{protocol}` is no protocol"),
    }
}

fn parse_one(publish: &str) -> anyhow::Result<Vec<(String, PortBinding)>> {
    let (ports, protocol) = protocol(publish)?;
    let (host, container) = match ports.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, ports),
    };
    let (first, last) = range(container)?;
    let (ip, port) = match host {
        None => ("", ""),
        Some(host) => host.rsplit_once(':').unwrap_or(("", host)),
    };
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !ip.is_empty() {
        ip.parse::<IpAddr>().with_context(|| format!("`{ip}` is no address"))?;
    }
    let on_host = if port.is_empty() { None } else { Some(range(port)?) };
    // A range for a single port lets the host choose among them.
    if let Some((from, to)) = on_host
        && to - from != last - first
        && first != last
    {
        bail!("the ranges {port} and {container} are not of one length");
    }
    let binding = |at: u16| {
        let host_port = match on_host {
            None => String::new(),
            Some(_) if first == last => port.to_owned(),
            Some((from, _)) => (from + at).to_string(),
        };
        PortBinding { host_ip: Some(ip.to_owned()), host_port: Some(host_port) }
    };
    Ok((0..=last - first).map(|at| (format!("{}/{protocol}", first + at), binding(at))).collect())
}

/// `80` or `80-90`.
fn range(ports: &str) -> anyhow::Result<(u16, u16)> {
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        bail!("the range {ports} is upside down");
    }
    Ok((first, last))
}

fn number(port: &str) -> anyhow::Result<u16> {
    port.parse().with_context(|| format!("`{port}` is no port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &[(&str, &str, &str)]) {
        let found = parse_one(typed).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let found: Vec<(String, String, String)> =
            found.iter().map(|(port, at)| (port.clone(), text(&at.host_ip), text(&at.host_port))).collect();
        let expected: Vec<(String, String, String)> =
            expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
        assert_eq!(found, expected, "-p {typed}");
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        check("80", &[("80/tcp", "", "")]);
        check("8080:80", &[("80/tcp", "", "8080")]);
        check("8080:53/UDP", &[("53/udp", "", "8080")]);
        check("127.0.0.1:8080:80", &[("80/tcp", "127.0.0.1", "8080")]);
        check("127.0.0.1::80", &[("80/tcp", "127.0.0.1", "")]);
        check("[::1]:8080:80", &[("80/tcp", "::1", "8080")]);
        check("8000-8001:90-91", &[("90/tcp", "", "8000"), ("91/tcp", "", "8001")]);
        check("8000-8010:90", &[("90/tcp", "", "8000-8010")]);
        for wrong in ["", "x", "80:", "70000:80", "1.2.3:80:80", "80/icmp", "1-2:1-3", "2-1:2-1", "80:90-91"] {
            check(wrong, &[]);
        }
    }

    #[test]
    fn exposed_ports_may_be_ranges() {
        let typed = ["80-81", "90/udp"].map(str::to_owned);
        assert_eq!(exposed(&typed).expect("ports"), ["80/tcp", "81/tcp", "90/udp"]);
        assert!(exposed(&["x".to_owned()]).is_err());
    }
}
