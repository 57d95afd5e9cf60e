//! `commit`: makes an image of a container's files.

use std::io::Write;

use anyhow::Context;
use clap::{ArgAction, Args};
use proa_registry::Reference;
use serde::Deserialize;

use super::client::{Client, Payload};
use super::door::Door;
use super::query::Query;

/// `proa commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// Who made it
    #[arg(short, long)]
    author: Option<String>,
    /// Apply an instruction of a Dockerfile, such as 'CMD ["sh"]'
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What was done
    #[arg(short, long)]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short, long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::boolean, value_name = "BOOL")]
    pause: bool,
    container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Committed {
    id: String,
}

pub(crate) fn run(args: CommitArgs, door: &Door) -> anyhow::Result<u8> {
    let name = args.name.as_deref().filter(|name| !name.is_empty());
    let reference = name
        .map(|name| Reference::parse(name).with_context(|| format!("read the image's name `{name}`")))
        .transpose()?;
    let mut query = Query::new("/commit")
        .with("container", &args.container)
        .maybe("repo", reference.as_ref().map(Reference::name).as_deref())
        .maybe("tag", reference.as_ref().and_then(Reference::tag))
        .maybe("author", args.author.as_deref())
        .maybe("comment", args.message.as_deref())
        .with("pause", if args.pause { "1" } else { "0" });
    for change in &args.change {
        query = query.with("changes", change);
    }
    let path = query.into_path();
    let mut client = Client::connect(door)?;
    let committed: Committed = client.send("POST", &path, &[], Payload::Json(b"{}".to_vec()))?.json()?;
    writeln!(std::io::stdout(), "{}", committed.id)?;
    Ok(0)
}
