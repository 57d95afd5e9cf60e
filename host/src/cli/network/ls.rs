//! `network ls`.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::filters::filters;
use crate::cli::human::short_id;
use crate::cli::query::Query;
use crate::cli::template::Format;

/// `proa network ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only those for which NAME=VALUE holds, such as driver=bridge
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print `json`, or a template such as {{.Name}}
    #[arg(long)]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: LsArgs, door: &Door) -> anyhow::Result<u8> {
    let columns = match args.quiet {
        true => "{{.ID}}",
        false => "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    };
    let format = Format::parse(args.format.as_deref())?.or(columns)?;
    let path = Query::new("/networks").maybe("filters", filters(&args.filter)?.as_deref()).into_path();
    let mut networks: Vec<Value> = Client::connect(door)?.get(&path)?;
    networks.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    let objects: Vec<Value> = networks.iter().map(|network| object(network, args.no_trunc)).collect();
    let heads = [("ID", "NETWORK ID"), ("CreatedAt", "CREATED AT")];
    format.print(&mut std::io::stdout().lock(), &heads, &objects)?;
    Ok(0)
}

/// A network under the names that Docker's formats use.
fn object(network: &Value, whole: bool) -> Value {
    let labels = network["Labels"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let text = |field: &str| network[field].as_str().unwrap_or_default();
    // As Go prints a time.
    let created = text("Created").replacen('T', " ", 1).replace('Z', " +0000 UTC");
    json!({
        "CreatedAt": created,
        "Driver": text("Driver"),
        "ID": if whole { text("Id") } else { short_id(text("Id")) },
        "IPv4": network["EnableIPv4"].as_bool().unwrap_or(true).to_string(),
        "IPv6": network["EnableIPv6"].as_bool().unwrap_or_default().to_string(),
        "Internal": network["Internal"].as_bool().unwrap_or_default().to_string(),
        "Labels": labels.join(","),
        "Name": text("Name"),
        "Scope": text("Scope"),
    })
}
