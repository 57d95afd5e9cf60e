//! `search`: images in a registry by a word, which the host answers as far as it can.

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::filters::filters;
use super::human::shorten;
use super::query::Query;
use super::template::Format;

/// `proa search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Only those for which NAME=VALUE holds, such as stars=3
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print `json`, or a template such as {{.Name}}
    #[arg(long)]
    format: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Whole descriptions
    #[arg(long)]
    no_trunc: bool,
    term: String,
}

pub(crate) fn run(args: SearchArgs, door: &Door) -> anyhow::Result<u8> {
    let columns = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
    let format = Format::parse(args.format.as_deref())?.or(columns)?;
    let path = Query::new("/images/search")
        .with("term", &args.term)
        .maybe("limit", args.limit.map(|limit| limit.to_string()).as_deref())
        .maybe("filters", filters(&args.filter)?.as_deref())
        .into_path();
    let found: Vec<Value> = Client::connect(door)?.get(&path)?;
    let objects: Vec<Value> = found.iter().map(|image| object(image, args.no_trunc)).collect();
    let heads = [("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")];
    format.print(&mut std::io::stdout().lock(), &heads, &objects)?;
    Ok(0)
}

fn object(image: &Value, whole: bool) -> Value {
    let description = image["description"].as_str().unwrap_or_default().replace(['\n', '\r'], " ");
    json!({
        "Name": image["name"],
        "Description": if whole { description } else { shorten(&description, 45) },
        "StarCount": image["star_count"],
        "IsOfficial": if image["is_official"] == true { "[OK]" } else { "" },
    })
}
