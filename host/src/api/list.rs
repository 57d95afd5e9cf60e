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
use crate::api::reply::{Answer, Failure, ok};
use crate::healing::health::Feeling;
use crate::host::Host;
use crate::request::arguments;
use crate::state::{Container, Record, Status};
use crate::timestamp::unix_nanos;

mod fits;
mod words;

/// One container as the list looks at it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub container: Arc<Container>,
    pub record: Record,
    pub feeling: Option<Feeling>,
}

/// The containers, newest first.
pub(crate) async fn list(host: &Arc<Host>, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &fits::NAMES)?;
    let wanted = fits::Wanted::new(host, &filters)?;
    let limit = call.query.number::<i64>("limit")?.filter(|limit| *limit > 0);
    // As dockerd: a limit, or a filter on what only ended containers have, shows them all.
    let all = call.query.truth("all") || limit.is_some() || filters.has("status") || filters.has("exited");
    let mut found = seen(host);
    found.retain(|seen| (all || seen.record.status.is_active()) && wanted.fits(seen));
    found.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    ok(&summaries(host, found, call.query.truth("size")).await?)
}

/// Every container, newest first.
pub(crate) fn seen(host: &Host) -> Vec<Seen> {
    let look = |container: Arc<Container>| {
        let (record, feeling) = (container.record(), container.health().map(|health| health.feeling));
        Seen { container, record, feeling }
    };
    let mut all: Vec<Seen> = host.containers.all().into_iter().map(look).collect();
    all.sort_by_key(|seen| std::cmp::Reverse(seen.record.created));
    all
}

/// What the list says of each, with what it takes on the disk where that was asked for.
pub(crate) async fn summaries(host: &Host, all: Vec<Seen>, sizes: bool) -> Result<Vec<ContainerSummary>, Failure> {
    let now = unix_nanos(SystemTime::now());
    let mut summaries = Vec::with_capacity(all.len());
    for seen in all {
        let mut summary = summary(&seen, now);
        if sizes {
            let size = host.size_of(&seen.container).await?;
            summary.size_rw = Some(size.written.cast_signed());
            summary.size_root_fs = Some(size.whole().cast_signed());
        }
        summaries.push(summary);
    }
    Ok(summaries)
}

fn summary(seen: &Seen, now: u64) -> ContainerSummary {
    let record = &seen.record;
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
            Status::Paused => ContainerSummaryStateEnum::PAUSED,
            Status::Restarting => ContainerSummaryStateEnum::RESTARTING,
            Status::Exited => ContainerSummaryStateEnum::EXITED,
            Status::Removing => ContainerSummaryStateEnum::REMOVING,
            Status::Dead => ContainerSummaryStateEnum::DEAD,
        }),
        status: Some(words::status(record, seen.feeling, now)),
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

/// What is published, and what a running container only exposes.
fn ports(record: &Record) -> Vec<PortSummary> {
    if !record.status.is_running() {
        return Vec::new();
    }
    let published = record.ports.iter().map(|port| PortSummary {
        ip: Some(port.address.to_string()),
        private_port: port.container_port,
        public_port: Some(port.port),
        typ: Some(PortSummaryTypeEnum::TCP),
    });
    let is_published =
        |port: u16, tcp: bool| tcp && record.ports.iter().any(|published| published.container_port == port);
    let exposed = record.config.exposed_ports.iter().flatten().filter_map(|exposed| {
        let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let typ = match protocol {
            "udp" => PortSummaryTypeEnum::UDP,
            "sctp" => PortSummaryTypeEnum::SCTP,
            _ => PortSummaryTypeEnum::TCP,
        };
        let private_port = port.parse().ok().filter(|port| !is_published(*port, protocol == "tcp"))?;
        Some(PortSummary { ip: None, private_port, public_port: None, typ: Some(typ) })
    });
    published.chain(exposed).collect()
}

fn seconds(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX)
}
