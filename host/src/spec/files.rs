//! The three files of /etc that name a native container and its network, made in the container's own folder.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::spec::hostname;
use crate::state::record::Record;

/// Their names, in the container's folder and below its /etc.
pub const NAMES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Writes them.
pub fn write(record: &Record, folder: &Path) -> Result<()> {
    let name = hostname(record);
    let contents = [format!("{name}\n"), hosts(record, &name), resolv_conf(record)];
    for (file, content) in NAMES.iter().zip(contents) {
        let path = folder.join(file);
        fs::write(&path, content).map_err(Error::file("write", &path))?;
    }
    Ok(())
}

fn hosts(record: &Record, name: &str) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for entry in record.host_config.extra_hosts.iter().flatten() {
        if let Some((host, address)) = entry.split_once(':') {
            text.push_str(&format!("{address}\t{host}\n"));
        }
    }
    text.push_str(&format!("127.0.0.1\t{name}\n"));
    text
}

fn resolv_conf(record: &Record) -> String {
    let host = &record.host_config;
    let listed = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (servers, search, options) = (listed(&host.dns), listed(&host.dns_search), listed(&host.dns_options));
    if servers.is_empty() && search.is_empty() && options.is_empty() {
        return fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}
