//! `images`: what is in the host's store.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::human::{ago, moment, short_id, size};
use super::ps::filters;
use super::query::Query;
use super::table;
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
    let format = Format::parse(args.format.as_deref())?;
    args.filter.extend(args.name.map(|name| format!("reference={name}")));
    let path = Query::new("/images/json")
        .flag("all", args.all)
        .flag("digests", args.digests)
        .maybe("filters", filters(&args.filter)?.as_deref())
        .into_path();
    let images: Vec<Summary> = Client::connect(door)?.get(&path)?;
    let mut out = std::io::stdout().lock();
    let id = |image: &Summary| if args.no_trunc { image.id.clone() } else { short_id(&image.id).to_owned() };
    if args.quiet {
        images.iter().try_for_each(|image| writeln!(out, "{}", id(image)))?;
        return Ok(0);
    }
    let rows: Vec<Row<'_>> = images.iter().flat_map(rows).collect();
    if format != Format::Table {
        let objects: Vec<Value> = rows.iter().map(|row| object(row, id(row.image))).collect();
        let heads = [("ID", "IMAGE ID"), ("CreatedAt", "CREATED AT"), ("CreatedSince", "CREATED")];
        format.print(&mut out, &heads, &objects)?;
    } else if args.digests {
        let cells = rows.iter().map(|row| {
            let [repository, tag, rest @ ..] = cells(row, id(row.image));
            let [id, created, size] = rest;
            [repository, tag, row.digest.to_owned(), id, created, size]
        });
        let cells: Vec<[String; 6]> = cells.collect();
        table::print(&mut out, ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"], &cells)?;
    } else {
        let cells: Vec<[String; 5]> = rows.iter().map(|row| cells(row, id(row.image))).collect();
        table::print(&mut out, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], &cells)?;
    }
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

fn bytes(image: &Summary) -> u64 {
    u64::try_from(image.size).unwrap_or_default()
}

fn cells(row: &Row<'_>, id: String) -> [String; 5] {
    [row.repository.to_owned(), row.tag.to_owned(), id, ago(row.image.created), size(bytes(row.image))]
}

/// A row under the names that Docker's formats use.
fn object(row: &Row<'_>, id: String) -> Value {
    json!({
        "CreatedAt": moment(row.image.created),
        "CreatedSince": ago(row.image.created),
        "Digest": row.digest,
        "ID": id,
        "Repository": row.repository,
        "Size": size(bytes(row.image)),
        "Tag": row.tag,
    })
}
