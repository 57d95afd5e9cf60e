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
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            text.push_str(&format!("{bare}\t{host}\n"));
        }
    }
    match record.config.domainname.as_deref().filter(|domain| !domain.is_empty()) {
        Some(domain) => text.push_str(&format!("127.0.0.1\t{name}.{domain} {name}\n")),
        None => text.push_str(&format!("127.0.0.1\t{name}\n")),
    }
    text
}

fn resolv_conf(record: &Record) -> String {
    let host = &record.host_config;
    let listed = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (servers, search, options) = (listed(&host.dns), listed(&host.dns_search), listed(&host.dns_options));
    let node_s = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    resolver(&node_s, &servers, &search, &options)
}

/// The node's own lines, each kind replaced where the request names some; `.` alone is no search domain at all.
fn resolver(node_s: &str, servers: &[String], search: &[String], options: &[String]) -> String {
    if servers.is_empty() && search.is_empty() && options.is_empty() {
        return node_s.to_owned();
    }
    let kept = |kinds: &[&str], replaced: bool| -> String {
        let of_kind = |line: &&str| line.split_whitespace().next().is_some_and(|word| kinds.contains(&word));
        node_s.lines().filter(|line| !replaced && of_kind(line)).map(|line| format!("{line}\n")).collect()
    };
    let mut text = kept(&["nameserver"], !servers.is_empty());
    servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    text.push_str(&kept(&["search", "domain"], !search.is_empty()));
    if !search.is_empty() && search != ["."] {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    text.push_str(&kept(&["options"], !options.is_empty()));
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_names_of_the_resolver_replaces_the_node_s() {
        let node_s = "# comment\nnameserver 10.0.0.1\nsearch home\noptions edns0\n";
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let check = |servers: &[&str], search: &[&str], options: &[&str], expected: &str| {
            assert_eq!(resolver(node_s, &list(servers), &list(search), &list(options)), expected);
        };
        check(&[], &[], &[], node_s);
        check(&["1.1.1.1"], &[], &[], "nameserver 1.1.1.1\nsearch home\noptions edns0\n");
        check(&[], &["a", "b"], &["ndots:2"], "nameserver 10.0.0.1\nsearch a b\noptions ndots:2\n");
        check(&[], &["."], &[], "nameserver 10.0.0.1\noptions edns0\n");
    }
}
