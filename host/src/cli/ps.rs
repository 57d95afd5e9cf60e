//! `ps`: the containers.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::filters::filters;
use super::human::{ago, moment, quoted, short_id, shorten, size};
use super::query::Query;
use super::template::Format;

/// `proa ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Those that do not run too
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Only those for which NAME=VALUE holds, such as status=exited or name=web
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Only the newest
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,
    /// Only the newest N
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<i64>,
    /// Count the sizes of their files too
    #[arg(short, long)]
    size: bool,
    /// Print `json`, or a template such as {{.Names}}
    #[arg(long)]
    format: Option<String>,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    id: String,
    names: Vec<String>,
    image: String,
    command: String,
    created: i64,
    state: String,
    status: String,
    ports: Vec<Port>,
    labels: Option<BTreeMap<String, String>>,
    mounts: Option<Vec<Mount>>,
    host_config: Option<HostPart>,
    network_settings: Option<Networks>,
    #[serde(rename = "SizeRw")]
    size_own: Option<u64>,
    #[serde(rename = "SizeRootFs")]
    size_all: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    name: Option<String>,
    source: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostPart {
    network_mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Networks {
    networks: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    #[serde(rename = "IP")]
    ip: Option<String>,
    private_port: u16,
    public_port: Option<u16>,
    #[serde(rename = "Type")]
    protocol: String,
}

pub(crate) fn run(args: PsArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    // Sizes are dear: asked for when they were, and where a template mentions them.
    let size = args.size || (format != Format::Json && format.mentions(&["Size"]));
    let format = format.or(columns(&args))?;
    let last = if args.latest { Some(1) } else { args.last.filter(|last| *last > 0) };
    let path = Query::new("/containers/json")
        .flag("all", args.all || last.is_some())
        .flag("size", size)
        .maybe("limit", last.map(|last| last.to_string()).as_deref())
        .maybe("filters", filters(&args.filter)?.as_deref())
        .into_path();
    let rows: Vec<Row> = Client::connect(door)?.get(&path)?;
    let objects: Vec<Value> = rows.iter().map(|row| object(row, args.no_trunc)).collect();
    let heads = [
        ("ID", "CONTAINER ID"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("LocalVolumes", "LOCAL VOLUMES"),
    ];
    format.print(&mut std::io::stdout().lock(), &heads, &objects)?;
    Ok(0)
}

fn columns(args: &PsArgs) -> &'static str {
    match (args.quiet, args.size) {
        (true, _) => "{{.ID}}",
        (false, false) => {
            "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
        }
        (false, true) => {
            "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
        }
    }
}

fn id(row: &Row, whole: bool) -> &str {
    if whole { &row.id } else { short_id(&row.id) }
}

fn image(row: &Row, whole: bool) -> &str {
    if !whole && row.image.starts_with("sha256:") { short_id(&row.image) } else { &row.image }
}

fn command(row: &Row, whole: bool) -> String {
    let command = if whole { row.command.clone() } else { shorten(&row.command, 20) };
    // As Go quotes it, and so Docker: an image's command steers nobody's terminal.
    quoted(&command)
}

fn names(row: &Row) -> String {
    row.names.iter().map(|name| name.trim_start_matches('/')).collect::<Vec<_>>().join(",")
}

/// As Docker has them: published ports with their addresses; exposed ones bare, neighbours as a range.
fn ports(row: &Row) -> String {
    let mut all: Vec<&Port> = row.ports.iter().collect();
    all.sort_by_key(|port| (port.private_port, port.public_port, port.protocol.clone(), port.ip.clone()));
    let mut told: Vec<(String, u16, Option<u16>, u16, &str)> = Vec::new();
    for port in all {
        let address = match (port.public_port, port.ip.as_deref()) {
            (Some(_), Some(ip)) if ip.contains(':') => format!("[{ip}]"),
            (Some(_), Some(ip)) => ip.to_owned(),
            _ => String::new(),
        };
        let next = |(known, first, public, last, protocol): &(String, u16, Option<u16>, u16, &str)| {
            *known == address
                && *protocol == port.protocol
                && last.checked_add(1) == Some(port.private_port)
                && public.map(|public| u32::from(public) + u32::from(port.private_port - first))
                    == port.public_port.map(u32::from)
        };
        match told.iter_mut().find(|known| next(known)) {
            Some(known) => known.3 = port.private_port,
            None => told.push((address, port.private_port, port.public_port, port.private_port, &port.protocol)),
        }
    }
    told.iter()
        .map(|(address, first, public, last, protocol)| {
            let range = |from: u16| match last - first {
                0 => from.to_string(),
                more => format!("{from}-{}", u32::from(from) + u32::from(more)),
            };
            match public {
                Some(public) => format!("{address}:{}->{}/{protocol}", range(*public), range(*first)),
                None => format!("{}/{protocol}", range(*first)),
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// A row under the names that Docker's formats use.
fn object(row: &Row, whole: bool) -> Value {
    let labels = row.labels.iter().flatten().map(|(name, value)| format!("{name}={value}"));
    let mounts: Vec<&str> = row
        .mounts
        .iter()
        .flatten()
        .filter_map(|mount| mount.name.as_deref().filter(|name| !name.is_empty()).or(mount.source.as_deref()))
        .collect();
    let volumes =
        row.mounts.iter().flatten().filter(|mount| mount.name.as_deref().is_some_and(|name| !name.is_empty()));
    let networks =
        row.network_settings.iter().filter_map(|settings| settings.networks.as_ref()).flat_map(BTreeMap::keys);
    let mut networks: Vec<&str> = networks.map(String::as_str).collect();
    if networks.is_empty() {
        networks.extend(row.host_config.as_ref().and_then(|host| host.network_mode.as_deref()));
    }
    let size = match (row.size_own, row.size_all) {
        (own, Some(all)) if all > 0 => format!("{} (virtual {})", size(own.unwrap_or(0)), size(all)),
        (own, _) => size(own.unwrap_or(0)),
    };
    let shortened = |name: &&str| if whole { (*name).to_owned() } else { shorten(name, 15) };
    json!({
        "Command": command(row, whole),
        "CreatedAt": moment(row.created),
        "ID": id(row, whole),
        "Image": image(row, whole),
        "Labels": labels.collect::<Vec<_>>().join(","),
        "LocalVolumes": volumes.count().to_string(),
        "Mounts": mounts.iter().map(shortened).collect::<Vec<_>>().join(","),
        "Names": names(row),
        "Networks": networks.join(","),
        "Platform": null,
        "Ports": ports(row),
        "RunningFor": ago(row.created),
        "Size": size,
        "State": row.state,
        "Status": row.status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_are_one_range() {
        let port = |private_port, public: Option<u16>| Port {
            ip: public.map(|_| "0.0.0.0".to_owned()),
            private_port,
            public_port: public,
            protocol: "tcp".to_owned(),
        };
        let row = Row {
            ports: vec![port(81, None), port(80, None), port(90, Some(8090)), port(91, Some(8091)), port(93, Some(1))],
            ..Row::default()
        };
        assert_eq!(ports(&row), "80-81/tcp, 0.0.0.0:8090-8091->90-91/tcp, 0.0.0.0:1->93/tcp");
    }
}
