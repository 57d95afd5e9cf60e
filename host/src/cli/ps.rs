//! `ps`: the containers.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::human::{ago, moment, short_id, shorten};
use super::query::Query;
use super::table;
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
    last: Option<u32>,
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
    labels: BTreeMap<String, String>,
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
    let filters = filters(&args.filter)?;
    let last = if args.latest { Some(1) } else { args.last };
    let path = Query::new("/containers/json")
        .flag("all", args.all || last.is_some())
        .maybe("limit", last.map(|last| last.to_string()).as_deref())
        .maybe("filters", filters.as_deref())
        .into_path();
    let rows: Vec<Row> = Client::connect(door)?.get(&path)?;
    let mut out = std::io::stdout().lock();
    if args.quiet {
        rows.iter().try_for_each(|row| writeln!(out, "{}", id(row, args.no_trunc)))?;
    } else if format == Format::Table {
        let cells: Vec<[String; 7]> = rows.iter().map(|row| cells(row, args.no_trunc)).collect();
        table::print(&mut out, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"], &cells)?;
    } else {
        let objects: Vec<Value> = rows.iter().map(|row| object(row, args.no_trunc)).collect();
        let heads = [("ID", "CONTAINER ID"), ("CreatedAt", "CREATED AT"), ("RunningFor", "CREATED")];
        format.print(&mut out, &heads, &objects)?;
    }
    Ok(0)
}

/// Docker's filters: a JSON map from a name to its wanted values.
pub(crate) fn filters(typed: &[String]) -> anyhow::Result<Option<String>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for filter in typed {
        let Some((name, value)) = filter.split_once('=') else {
            anyhow::bail!("`{filter}` filters nothing\nhint: write --filter NAME=VALUE");
        };
        all.entry(name).or_default().push(value);
    }
    Ok(if all.is_empty() { None } else { Some(serde_json::to_string(&all)?) })
}

fn id(row: &Row, whole: bool) -> &str {
    if whole { &row.id } else { short_id(&row.id) }
}

fn image(row: &Row, whole: bool) -> &str {
    if !whole && row.image.starts_with("sha256:") { short_id(&row.image) } else { &row.image }
}

fn command(row: &Row, whole: bool) -> String {
    let command = if whole { row.command.clone() } else { shorten(&row.command, 20) };
    // Quoted as Go does, and so Docker.
    format!("\"{}\"", command.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n").replace('\t', r"\t"))
}

fn cells(row: &Row, whole: bool) -> [String; 7] {
    [
        id(row, whole).to_owned(),
        image(row, whole).to_owned(),
        command(row, whole),
        ago(row.created),
        row.status.clone(),
        ports(row),
        names(row),
    ]
}

fn names(row: &Row) -> String {
    row.names.iter().map(|name| name.trim_start_matches('/')).collect::<Vec<_>>().join(",")
}

fn ports(row: &Row) -> String {
    let one = |port: &Port| match (port.public_port, port.ip.as_deref()) {
        (Some(public), Some(ip)) if ip.contains(':') => {
            format!("[{ip}]:{public}->{}/{}", port.private_port, port.protocol)
        }
        (Some(public), Some(ip)) => format!("{ip}:{public}->{}/{}", port.private_port, port.protocol),
        _ => format!("{}/{}", port.private_port, port.protocol),
    };
    row.ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A row under the names that Docker's formats use.
fn object(row: &Row, whole: bool) -> Value {
    let labels: Vec<String> = row.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "Command": command(row, whole),
        "CreatedAt": moment(row.created),
        "ID": id(row, whole),
        "Image": image(row, whole),
        "Labels": labels.join(","),
        "Names": names(row),
        "Ports": ports(row),
        "RunningFor": ago(row.created),
        "State": row.state,
        "Status": row.status,
    })
}
