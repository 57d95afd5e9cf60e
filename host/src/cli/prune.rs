//! `prune` in all forms: asks first, removes what nobody uses, tells how much room that gave.

use std::io::{self, BufRead, Write};

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::door::Door;
use super::filters::filters;
use super::human::precise_size;
use super::query::Query;

/// `prune` of containers and networks.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only those for which NAME=VALUE holds, such as until=24h or label=x
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// `prune` of images, volumes and build caches, of which some are kept unless all are meant.
#[derive(Debug, Args)]
pub(crate) struct PruneAllArgs {
    /// All unused ones: images with a name, volumes with a name
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
    /// Accepted for Docker's sake: nothing is built here yet, so no cache is kept
    #[arg(long, hide = true, value_name = "BYTES")]
    keep_storage: Option<String>,
}

/// `proa system prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneSystemArgs {
    /// All unused images, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

/// What was removed, as it is told, and the bytes that were freed.
#[derive(Debug, Default)]
struct Removed {
    lines: Vec<String>,
    bytes: u64,
}

pub(crate) fn containers(args: PruneArgs, door: &Door) -> anyhow::Result<u8> {
    let warning = "This will remove all stopped containers.";
    told(args.force, warning, || removed_containers(&mut Client::connect(door)?, &args.filter))
}

pub(crate) fn images(args: PruneAllArgs, door: &Door) -> anyhow::Result<u8> {
    let warning = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    told(args.prune.force, warning, || removed_images(&mut Client::connect(door)?, args.all, &args.prune.filter))
}

pub(crate) fn volumes(args: PruneAllArgs, door: &Door) -> anyhow::Result<u8> {
    let warning = match args.all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    told(args.prune.force, warning, || removed_volumes(&mut Client::connect(door)?, args.all, &args.prune.filter))
}

pub(crate) fn networks(args: PruneArgs, door: &Door) -> anyhow::Result<u8> {
    let warning = "This will remove all custom networks not used by at least one container.";
    if !args.force && !asked(warning)? {
        return Ok(0);
    }
    let removed = removed_networks(&mut Client::connect(door)?, &args.filter)?;
    print(&removed.lines)?;
    Ok(0)
}

pub(crate) fn build_cache(args: PruneAllArgs, door: &Door) -> anyhow::Result<u8> {
    let warning = match args.all {
        true => "This will remove all build cache.",
        false => "This will remove all dangling build cache.",
    };
    told(args.prune.force, warning, || removed_build_cache(&mut Client::connect(door)?, args.all, &args.prune.filter))
}

pub(crate) fn system(args: PruneSystemArgs, door: &Door) -> anyhow::Result<u8> {
    if args.volumes && args.prune.filter.iter().any(|filter| filter.starts_with("until")) {
        anyhow::bail!("ERROR: The \"until\" filter is not supported with \"--volumes\"");
    }
    let mut warning =
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container".to_owned();
    if args.volumes {
        warning.push_str("\n  - all anonymous volumes not used by at least one container");
    }
    warning.push_str(match args.all {
        true => "\n  - all images without at least one container associated to them\n  - all build cache\n",
        false => "\n  - all dangling images\n  - unused build cache\n",
    });
    told(args.prune.force, &warning, || {
        let (mut client, filter) = (Client::connect(door)?, &args.prune.filter);
        let mut all = vec![removed_containers(&mut client, filter)?, removed_networks(&mut client, filter)?];
        if args.volumes {
            all.push(removed_volumes(&mut client, false, filter)?);
        }
        all.push(removed_images(&mut client, args.all, filter)?);
        all.push(removed_build_cache(&mut client, args.all, filter)?);
        let mut whole = Removed::default();
        for part in all {
            whole.lines.extend(part.lines);
            whole.bytes += part.bytes;
        }
        Ok(whole)
    })
}

/// Asks, removes and tells.
fn told(force: bool, warning: &str, remove: impl FnOnce() -> anyhow::Result<Removed>) -> anyhow::Result<u8> {
    if !force && !asked(warning)? {
        return Ok(0);
    }
    let removed = remove()?;
    print(&removed.lines)?;
    writeln!(io::stdout(), "Total reclaimed space: {}", precise_size(removed.bytes))?;
    Ok(0)
}

/// Whether the caller agrees; an end of the input does not.
fn asked(warning: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    write!(out, "WARNING! {warning}\nAre you sure you want to continue? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "YES" | "Yes"))
}

fn print(lines: &[String]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(())
}

fn prune(client: &mut Client, what: &str, filter: &[String]) -> anyhow::Result<Value> {
    let path = Query::new(format!("/{what}/prune")).maybe("filters", filters(filter)?.as_deref());
    Ok(client.send("POST", &path.into_path(), &[], super::client::Payload::None)?.json()?)
}

fn with(filter: &[String], more: Option<&str>) -> Vec<String> {
    filter.iter().cloned().chain(more.map(str::to_owned)).collect()
}

/// The names in `field` under `head`, with an empty line behind them.
fn names(answer: &Value, field: &str, head: &str) -> Removed {
    let found = answer[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    headed(found.collect(), head, answer)
}

fn headed(found: Vec<String>, head: &str, answer: &Value) -> Removed {
    let bytes = answer["SpaceReclaimed"].as_u64().unwrap_or_default();
    if found.is_empty() {
        return Removed { lines: Vec::new(), bytes };
    }
    Removed { lines: [vec![head.to_owned()], found, vec![String::new()]].concat(), bytes }
}

fn removed_containers(client: &mut Client, filter: &[String]) -> anyhow::Result<Removed> {
    Ok(names(&prune(client, "containers", filter)?, "ContainersDeleted", "Deleted Containers:"))
}

fn removed_networks(client: &mut Client, filter: &[String]) -> anyhow::Result<Removed> {
    Ok(names(&prune(client, "networks", filter)?, "NetworksDeleted", "Deleted Networks:"))
}

fn removed_volumes(client: &mut Client, all: bool, filter: &[String]) -> anyhow::Result<Removed> {
    let filter = with(filter, all.then_some("all=true"));
    Ok(names(&prune(client, "volumes", &filter)?, "VolumesDeleted", "Deleted Volumes:"))
}

fn removed_images(client: &mut Client, all: bool, filter: &[String]) -> anyhow::Result<Removed> {
    let filter = with(filter, Some(if all { "dangling=false" } else { "dangling=true" }));
    let answer = prune(client, "images", &filter)?;
    let line = |image: &Value| match (image["Untagged"].as_str(), image["Deleted"].as_str()) {
        (Some(name), _) if !name.is_empty() => format!("untagged: {name}"),
        (_, deleted) => format!("deleted: {}", deleted.unwrap_or_default()),
    };
    let found = answer["ImagesDeleted"].as_array().into_iter().flatten().map(line).collect();
    Ok(headed(found, "Deleted Images:", &answer))
}

fn removed_build_cache(client: &mut Client, all: bool, filter: &[String]) -> anyhow::Result<Removed> {
    let path = Query::new("/build/prune").flag("all", all).maybe("filters", filters(filter)?.as_deref()).into_path();
    let answer: Value = client.send("POST", &path, &[], super::client::Payload::None)?.json()?;
    Ok(names(&answer, "CachesDeleted", "Deleted build cache objects:"))
}
