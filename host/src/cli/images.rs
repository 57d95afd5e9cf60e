//! `images`: what is in the host's store.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::filters::filters;
use super::human::{ago, moment, precise_size, short_id, size};
use super::query::Query;
use super::template::Format;

/// `proa images`.
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Images without a name too
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only those for which NAME=VALUE holds, such as dangling=true
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print `json`, or a template such as {{.Repository}}
    #[arg(long)]
    format: Option<String>,
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Summary {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    created: i64,
    size: i64,
    /// How many containers use it; -1 where that was not counted.
    containers: i64,
}

/// One name of one image.
#[derive(Debug)]
struct Row<'s> {
    image: &'s Summary,
    repository: &'s str,
    tag: &'s str,
    digest: &'s str,
}

pub(crate) fn run(mut args: ImagesArgs, door: &Door) -> anyhow::Result<u8> {
    let columns = match (args.quiet, args.digests) {
        (true, _) => "{{.ID}}",
        (false, false) => "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        (false, true) => "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    };
    let with_digests = args.digests || args.format.as_deref().is_some_and(|format| format.contains(".Digest"));
    let format = Format::parse(args.format.as_deref())?.or(columns)?;
    args.filter.extend(args.name.map(|name| format!("reference={name}")));
    let path = Query::new("/images/json")
        .flag("all", args.all)
        .flag("digests", args.digests)
        .maybe("filters", filters(&args.filter)?.as_deref())
        .into_path();
    let images: Vec<Summary> = Client::connect(door)?.get(&path)?;
    let id = |image: &Summary| if args.no_trunc { image.id.clone() } else { short_id(&image.id).to_owned() };
    let objects: Vec<Value> =
        images.iter().flat_map(rows).map(|row| object(&row, id(row.image), with_digests)).collect();
    let heads = [("ID", "IMAGE ID"), ("CreatedAt", "CREATED AT"), ("CreatedSince", "CREATED")];
    format.print(&mut std::io::stdout().lock(), &heads, &objects)?;
    Ok(0)
}

/// A row for each tag; one for an image without.
fn rows(image: &Summary) -> Vec<Row<'_>> {
    let digest = image.repo_digests.iter().flatten().find_map(|name| name.split_once('@'));
    let digest = digest.map_or("<none>", |(_, digest)| digest);
    let tags: Vec<&str> =
        image.repo_tags.iter().flatten().map(String::as_str).filter(|tag| *tag != "<none>:<none>").collect();
    if tags.is_empty() {
        let repository = image.repo_digests.iter().flatten().find_map(|name| name.split_once('@'));
        let repository = repository.map_or("<none>", |(repository, _)| repository);
        return vec![Row { image, repository, tag: "<none>", digest }];
    }
    tags.into_iter()
        .map(|name| {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
            Row { image, repository, tag, digest }
        })
        .collect()
}

/// A row under the names that Docker's formats use.
fn object(row: &Row<'_>, id: String, with_digests: bool) -> Value {
    let bytes = u64::try_from(row.image.size).unwrap_or_default();
    let containers = row.image.containers;
    json!({
        "Containers": if containers < 0 { "N/A".to_owned() } else { containers.to_string() },
        "CreatedAt": moment(row.image.created),
        "CreatedSince": ago(row.image.created),
        "Digest": if with_digests { row.digest } else { "<none>" },
        "ID": id,
        "Repository": row.repository,
        "SharedSize": "N/A",
        "Size": size(bytes),
        "Tag": row.tag,
        "UniqueSize": "N/A",
        "VirtualSize": precise_size(bytes),
    })
}
