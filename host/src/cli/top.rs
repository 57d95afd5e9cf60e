//! `top`: the processes of a container.

use clap::Args;
use serde::Deserialize;

use super::client::Client;
use super::door::Door;
use super::query::{Query, encode};
use super::table;

/// `proa top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The container; then options of ps(1)
    #[arg(required = true, trailing_var_arg = true, value_names = ["CONTAINER", "PS OPTIONS"])]
    words: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Processes {
    titles: Vec<String>,
    processes: Option<Vec<Vec<String>>>,
}

pub(crate) fn run(args: TopArgs, door: &Door) -> anyhow::Result<u8> {
    let (container, options) = args.words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let options = options.join(" ");
    let path = Query::new(format!("/containers/{}/top", encode(container)))
        .maybe("ps_args", Some(options.as_str()).filter(|options| !options.is_empty()));
    let all: Processes = Client::connect(door)?.get(&path.into_path())?;
    let rows = all.processes.unwrap_or_default();
    let lines: Vec<String> = std::iter::once(all.titles).chain(rows).map(|cells| cells.join("\t")).collect();
    table::align_at_least(&mut std::io::stdout().lock(), 20, &lines)?;
    Ok(0)
}
