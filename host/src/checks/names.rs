//! Host names, name servers, further hosts, signals and ports: the texts of a request that go into files or calls.

use std::net::IpAddr;

use crate::error::{Error, Result};
use crate::host::parse_signal;
use crate::spec::namespaces::{self, Whose};
use crate::state::record::Record;

/// sethostname(2) takes 64 bytes; a label of a name has 63 (RFC 1035).
const LONGEST_NAME: usize = 64;

pub(super) fn check(record: &Record) -> Result<()> {
    let config = &record.config;
    host_name(config.hostname.as_deref().unwrap_or_default())?;
    host_name(config.domainname.as_deref().unwrap_or_default())?;
    let named = config.hostname.as_deref().is_some_and(|name| !name.is_empty());
    if named && namespaces::uts(record)? == Whose::Node {
        return Err(Error::Invalid("conflicting options: hostname and the UTS mode".to_owned()));
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|signal| !signal.is_empty()) {
        parse_signal(signal)?;
    }
    for port in config.exposed_ports.iter().flatten() {
        exposed(port)?;
    }
    for (name, _) in config.labels.iter().flatten() {
        if name.contains('\0') {
            return Err(Error::Invalid("a label contains a zero byte".to_owned()));
        }
    }
    resolver(record)
}

/// What could not be a name would be a line of its own in /etc/hosts.
fn host_name(name: &str) -> Result<()> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.len() > LONGEST_NAME || !name.bytes().all(known) {
        return Err(Error::Invalid(format!("invalid hostname format: {name}")));
    }
    Ok(())
}

fn resolver(record: &Record) -> Result<()> {
    let host = &record.host_config;
    for server in host.dns.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return Err(Error::Invalid(format!("bad nameserver address: {server}")));
        }
    }
    for word in host.dns_search.iter().flatten().chain(host.dns_options.iter().flatten()) {
        if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::Invalid(format!("{word:?} is not a valid domain")));
        }
    }
    for entry in host.extra_hosts.iter().flatten() {
        let (name, address) = entry
            .split_once(':')
            .filter(|(name, _)| !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control()))
            .ok_or_else(|| Error::Invalid(format!("bad format for add-host: {entry:?}")))?;
        if address == "host-gateway" {
            return Err(Error::Invalid(
                "unable to derive the IP value for host-gateway: containers have no way to the node yet".to_owned(),
            ));
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if bare.parse::<IpAddr>().is_err() {
            return Err(Error::Invalid(format!("invalid IP address in add-host: {address:?} for {name}")));
        }
    }
    Ok(())
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn exposed(port: &str) -> Result<()> {
    let invalid = || Error::Invalid(format!("invalid port specification: \"{port}\""));
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    let known = ["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str());
    if known && first <= last { Ok(()) } else { Err(invalid()) }
}
