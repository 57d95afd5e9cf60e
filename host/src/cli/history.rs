//! `history`: how an image came to be.

use clap::{ArgAction, Args};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::human::{ago, rfc3339, short_id, shorten, size};
use super::platform;
use super::query::{Query, encode_image};
use super::template::Format;

/// `proa history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Print `json`, or a template such as {{.CreatedBy}}
    #[arg(long)]
    format: Option<String>,
    /// Sizes and dates for people (Docker's -H stands for --host here)
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::boolean, value_name = "BOOL")]
    human: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// The platform whose history is meant
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Step {
    id: String,
    created: i64,
    created_by: String,
    size: i64,
    comment: String,
}

pub(crate) fn run(args: HistoryArgs, door: &Door) -> anyhow::Result<u8> {
    let columns = match args.quiet {
        true => "{{.ID}}",
        false => "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    };
    let format = Format::parse(args.format.as_deref())?.or(columns)?;
    let platform = args.platform.as_deref().map(platform::json).transpose()?;
    let path = Query::new(format!("/images/{}/history", encode_image(&args.image)))
        .maybe("platform", platform.as_deref())
        .into_path();
    let steps: Vec<Step> = Client::connect(door)?.get(&path)?;
    let objects: Vec<Value> = steps.iter().map(|step| object(step, &args)).collect();
    let heads = [
        ("ID", "IMAGE"),
        ("CreatedSince", if args.human { "CREATED" } else { "CREATED AT" }),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
    ];
    format.print(&mut std::io::stdout().lock(), &heads, &objects)?;
    Ok(0)
}

fn object(step: &Step, args: &HistoryArgs) -> Value {
    let command = step.created_by.replace('\t', " ");
    // A step without a moment, as builders of repeatable images make them.
    let since = if step.created > 0 { ago(step.created) } else { "N/A".to_owned() };
    let bytes = u64::try_from(step.size).unwrap_or_default();
    json!({
        "ID": if args.no_trunc { &step.id } else { short_id(&step.id) },
        "CreatedAt": rfc3339(step.created),
        "CreatedSince": if args.human { since } else { rfc3339(step.created) },
        "CreatedBy": if args.no_trunc { command } else { shorten(&command, 45) },
        "Size": if args.human { size(bytes) } else { bytes.to_string() },
        "Comment": step.comment,
    })
}
