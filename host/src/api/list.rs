//! `GET /containers/json`: what `ps` shows.

use std::sync::Arc;
use std::time::SystemTime;

use bollard_stubs::models::{
    ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings, ContainerSummaryStateEnum,
    PortSummary, PortSummaryTypeEnum,
};

use crate::api::call::Call;
use crate::api::filters::Filters;
use crate::api::inspect::{endpoints, mount_points};
use crate::api::reply::{Answer, ok};
use crate::host::Host;
use crate::request::arguments;
use crate::state::{Container, Record, Status};
use crate::timestamp::unix_nanos;

const FILTERS: [&str; 12] = [
    "ancestor", "before", "exited", "health", "id", "is-task", "label", "name", "network", "since", "status", "publish",
];

/// The containers, newest first.
pub(crate) fn list(host: &Arc<Host>, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &FILTERS)?;
    let limit = call.query.number::<i64>("limit")?.filter(|limit| *limit > 0);
    // As dockerd: a limit, or a filter on what only ended containers have, shows them all.
    let all = call.query.truth("all") || limit.is_some() || filters.has("status") || filters.has("exited");
    let bound = |name: &str| -> Result<Option<u64>, crate::Error> {
        let key = filters.values(name).first();
        key.map(|key| host.containers.find(key).map(|found| found.with(|record| record.created))).transpose()
    };
    let (before, since) = (bound("before")?, bound("since")?);
    let mut found: Vec<Record> =
        host.containers.all().iter().map(|container: &Arc<Container>| container.record()).collect();
    found.retain(|record| {
        (all || record.status == Status::Running)
            && before.is_none_or(|before| record.created < before)
            && since.is_none_or(|since| record.created > since)
            && fits(record, &filters)
    });
    found.sort_by_key(|record| std::cmp::Reverse(record.created));
    found.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    let now = unix_nanos(SystemTime::now());
    ok(&found.iter().map(|record| summary(record, now)).collect::<Vec<_>>())
}

fn fits(record: &Record, filters: &Filters) -> bool {
    let name = |wanted: &String| record.name.contains(wanted.trim_start_matches(['/', '^']).trim_end_matches('$'));
    let exact = |wanted: &String| wanted.starts_with('^') && wanted.ends_with('$');
    let named = |wanted: &String| {
        if exact(wanted) {
            record.name == wanted.trim_start_matches(['^', '/']).trim_end_matches('$')
        } else {
            name(wanted)
        }
    };
    let ancestor = |wanted: &String| {
        let tagged = |name: &str| {
            if name.rsplit('/').next().is_some_and(|last| last.contains(':')) {
                name.to_owned()
            } else {
                format!("{name}:latest")
            }
        };
        tagged(&record.image) == tagged(wanted)
            || record
                .image_id
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.starts_with(wanted.trim_start_matches("sha256:")))
    };
    filters.any("name", named)
        && filters.any("id", |id| record.id.starts_with(id.as_str()))
        && filters.any("status", |status| record.status.as_str() == status)
        && filters.any("exited", |code| {
            record.status == Status::Exited && record.exit_code.is_some_and(|exit| code.parse() == Ok(exit))
        })
        && filters.any("ancestor", ancestor)
        && filters.any("health", |health| health == "none")
        && filters.any("is-task", |task| !matches!(task.as_str(), "1" | "true"))
        && filters.any("network", |network| {
            let mode = crate::network::Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default());
            mode.is_ok_and(|mode| mode.network() == network)
        })
        && filters.any("publish", |port| {
            let wanted = port.split('/').next().unwrap_or_default();
            record.ports.iter().any(|published| wanted.parse() == Ok(published.port))
        })
        && filters.labels(record.config.labels.as_ref())
}

fn summary(record: &Record, now: u64) -> ContainerSummary {
    ContainerSummary {
        id: Some(record.id.clone()),
        names: Some(vec![format!("/{}", record.name)]),
        image: Some(record.image.clone()),
        image_id: Some(record.image_id.clone()),
        image_manifest_descriptor: None,
        command: Some(command(record)),
        created: Some(seconds(record.created)),
        ports: Some(ports(record)),
        size_rw: None,
        size_root_fs: None,
        labels: Some(record.config.labels.clone().unwrap_or_default()),
        state: Some(match record.status {
            Status::Created => ContainerSummaryStateEnum::CREATED,
            Status::Running => ContainerSummaryStateEnum::RUNNING,
            Status::Exited => ContainerSummaryStateEnum::EXITED,
            Status::Removing => ContainerSummaryStateEnum::REMOVING,
            Status::Dead => ContainerSummaryStateEnum::DEAD,
        }),
        status: Some(status(record, now)),
        host_config: Some(ContainerSummaryHostConfig {
            network_mode: Some(network_mode(record)),
            annotations: record.host_config.annotations.clone(),
        }),
        network_settings: Some(ContainerSummaryNetworkSettings { networks: Some(endpoints(record)) }),
        mounts: Some(mount_points(record)),
        health: None,
    }
}

/// Docker shows `bridge` for what was asked as `default`.
pub(crate) fn network_mode(record: &Record) -> String {
    match record.host_config.network_mode.as_deref().unwrap_or_default() {
        "" | "default" => "bridge".to_owned(),
        mode => mode.to_owned(),
    }
}

fn command(record: &Record) -> String {
    let quote = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    arguments(&record.config).iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn ports(record: &Record) -> Vec<PortSummary> {
    let published = record.ports.iter().map(|port| PortSummary {
        ip: Some(port.address.to_string()),
        private_port: port.container_port,
        public_port: Some(port.port),
        typ: Some(PortSummaryTypeEnum::TCP),
    });
    published.collect()
}

fn status(record: &Record, now: u64) -> String {
    let ago = |time: Option<u64>| human(now.saturating_sub(time.unwrap_or(now)) / 1_000_000_000);
    match record.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", ago(record.started)),
        Status::Exited => match record.exit_code {
            Some(code) => format!("Exited ({code}) {} ago", ago(record.finished)),
            None => format!("Exited (unknown) {} ago", ago(record.finished)),
        },
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

fn seconds(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX)
}

/// Docker's words for a length of time.
fn human(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn lengths_of_time_are_docker_s_words() {
        let table = [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (20 * 86_400, "2 weeks"),
        ];
        for (seconds, words) in table {
            assert_eq!(human(seconds), words);
        }
    }
}
