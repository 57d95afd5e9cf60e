//! What the list of containers is narrowed by. Docker's filters.

use regex_lite::Regex;

use crate::api::filters::Filters;
use crate::api::inspect::mount_points;
use crate::api::list::Seen;
use crate::api::reply::Failure;
use crate::host::Host;
use crate::state::{Record, Status};

/// Every filter there is.
pub(super) const NAMES: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// Filters that were understood.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    filters: &'a Filters,
    names: Vec<Regex>,
    ids: Vec<Regex>,
    /// Creation times, in nanoseconds since 1970.
    before: Option<u64>,
    since: Option<u64>,
    published: Vec<Ports>,
    exposed: Vec<Ports>,
}

/// A range of ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl<'a> Wanted<'a> {
    /// Understands `filters`.
    ///
    /// # Errors
    /// 400 for values that mean nothing, 404 for `before` and `since` that name no container.
    pub(super) fn new(host: &Host, filters: &'a Filters) -> Result<Wanted<'a>, Failure> {
        let known =
            |name: &str, all: &[&str]| match filters.values(name).iter().find(|value| !all.contains(&value.as_str())) {
                Some(value) => Err(invalid(name, value)),
                None => Ok(()),
            };
        known("health", &HEALTHS)?;
        known("status", &Status::ALL.map(Status::as_str))?;
        known("is-task", &["1", "t", "true", "True", "TRUE", "0", "f", "false", "False", "FALSE"])?;
        if let Some(code) = filters.values("exited").iter().find(|code| code.parse::<i64>().is_err()) {
            return Err(invalid("exited", code));
        }
        let bound = |name: &str| -> Result<Option<u64>, crate::Error> {
            let key = filters.values(name).first();
            key.map(|key| host.containers.find(key).map(|found| found.with(|record| record.created))).transpose()
        };
        let patterns = |name: &str| {
            let pattern = |text: &String| Regex::new(text).map_err(|_| invalid(name, text));
            filters.values(name).iter().map(pattern).collect::<Result<Vec<_>, _>>()
        };
        let ports = |name: &str| {
            let parse = |text: &String| Ports::parse(text).ok_or_else(|| invalid(name, text));
            filters.values(name).iter().map(parse).collect::<Result<Vec<_>, _>>()
        };
        Ok(Wanted {
            filters,
            names: patterns("name")?,
            ids: patterns("id")?,
            before: bound("before")?,
            since: bound("since")?,
            published: ports("publish")?,
            exposed: ports("expose")?,
        })
    }

    /// Whether a container is among those asked for.
    pub(super) fn fits(&self, seen: &Seen) -> bool {
        let (filters, record) = (self.filters, &seen.record);
        let matches = |patterns: &[Regex], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(text))
        };
        let named = matches(&self.names, &record.name) || matches(&self.names, &format!("/{}", record.name));
        let health = seen.feeling.map_or("none", |feeling| feeling.as_str());
        named
            && matches(&self.ids, &record.id)
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && filters.any("status", |status| record.status.as_str() == status)
            && filters.any("exited", |code| {
                record.status == Status::Exited && record.exit_code.is_some_and(|exit| code.parse() == Ok(exit))
            })
            && filters.any("ancestor", |image| is_ancestor(record, image))
            && filters.any("health", |wanted| wanted == health)
            && filters.any("is-task", |task| !matches!(task.as_str(), "1" | "t" | "true" | "True" | "TRUE"))
            && filters.any("isolation", |isolation| record.isolation.as_str().eq_ignore_ascii_case(isolation))
            && filters.any("network", |network| in_network(record, network))
            && filters.any("volume", |volume| has_mount(record, volume))
            && self.has_port(record)
            && filters.labels(record.config.labels.as_ref())
    }

    fn has_port(&self, record: &Record) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        let published = |port: u16| self.published.iter().any(|ports| ports.hold(port, "tcp"));
        let exposed = |port: u16, protocol: &str| self.exposed.iter().any(|ports| ports.hold(port, protocol));
        record.ports.iter().any(|port| published(port.port) || exposed(port.container_port, "tcp"))
            || record.config.exposed_ports.iter().flatten().any(|text| {
                let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
                port.parse().is_ok_and(|port| exposed(port, protocol))
            })
    }
}

impl Ports {
    /// `80`, `80/udp`, `8000-8010/tcp`.
    fn parse(text: &str) -> Option<Ports> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let known = matches!(protocol, "tcp" | "udp" | "sctp");
        (known && first <= last).then(|| Ports { first, last, protocol: protocol.to_owned() })
    }

    fn hold(&self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol == protocol
    }
}

/// Whether `image`, a name or the beginning of an id, is the container's.
fn is_ancestor(record: &Record, image: &str) -> bool {
    let tagged = |name: &str| {
        let has_tag = name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let short = name.strip_prefix("docker.io/").unwrap_or(name);
        let short = short.strip_prefix("library/").unwrap_or(short);
        if has_tag { short.to_owned() } else { format!("{short}:latest") }
    };
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    let of_id = |id: &String| id.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(digits));
    tagged(&record.image) == tagged(image) || !digits.is_empty() && (of_id(&record.image_id) || of_id(&record.manifest))
}

fn in_network(record: &Record, wanted: &str) -> bool {
    let mode = crate::network::Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default());
    mode.is_ok_and(|mode| mode.network() == wanted)
}

fn has_mount(record: &Record, wanted: &str) -> bool {
    let is = |text: &Option<String>| text.as_deref() == Some(wanted);
    mount_points(record).iter().any(|mount| is(&mount.name) || is(&mount.source) || is(&mount.destination))
}

fn invalid(name: &str, value: &str) -> Failure {
    Failure::bad_request(format!("invalid filter '{name}={value}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_single_or_ranges() {
        let ports = Ports::parse("8000-8010/udp").unwrap();
        assert!(ports.hold(8005, "udp") && !ports.hold(8005, "tcp") && !ports.hold(8011, "udp"));
        assert!(Ports::parse("80").unwrap().hold(80, "tcp"));
        for text in ["", "x", "80/x", "90-80", "80-"] {
            assert_eq!(Ports::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_ancestor_is_named_in_any_form() {
        let mut record = crate::spec::tests::record(proa_sandbox::Isolation::Linux);
        record.image = "busybox".to_owned();
        record.image_id = format!("sha256:{}", "ab".repeat(32));
        for image in ["busybox", "busybox:latest", "docker.io/library/busybox", "abab", "sha256:abab"] {
            assert!(is_ancestor(&record, image), "{image}");
        }
        for image in ["busybox:1", "busy", "cd", "", "sha256:"] {
            assert!(!is_ancestor(&record, image), "{image}");
        }
    }
}
