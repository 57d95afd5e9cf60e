//! `volume ls`.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::filters::filters;
use crate::cli::query::Query;
use crate::cli::template::Format;

/// `proa volume ls`.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only those for which NAME=VALUE holds, such as dangling=true
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print `json`, or a template such as {{.Name}}
    #[arg(long)]
    format: Option<String>,
    /// Names only
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: LsArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    let format = format.or(if args.quiet { "{{.Name}}" } else { "table {{.Driver}}\t{{.Name}}" })?;
    let path = Query::new("/volumes").maybe("filters", filters(&args.filter)?.as_deref()).into_path();
    let answer: Value = Client::connect(door)?.get(&path)?;
    let mut objects: Vec<Value> = answer["Volumes"].as_array().into_iter().flatten().map(object).collect();
    objects.sort_by(|a, b| a["Name"].as_str().cmp(&b["Name"].as_str()));
    format.print(&mut std::io::stdout().lock(), &[("Name", "VOLUME NAME")], &objects)?;
    Ok(0)
}

/// A volume under the names that Docker's formats use.
pub(crate) fn object(volume: &Value) -> Value {
    let labels = volume["Labels"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let size = volume.pointer("/UsageData/Size").and_then(Value::as_u64);
    let links = volume.pointer("/UsageData/RefCount").and_then(Value::as_i64).filter(|count| *count >= 0);
    let text = |field: &str| volume[field].as_str().unwrap_or_default();
    json!({
        "Availability": "N/A",
        "Driver": text("Driver"),
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": links.map_or_else(|| "N/A".to_owned(), |count| count.to_string()),
        "Mountpoint": text("Mountpoint"),
        "Name": text("Name"),
        "Scope": text("Scope"),
        "Size": size.map_or_else(|| "N/A".to_owned(), crate::cli::human::size),
        "Status": "N/A",
    })
}
