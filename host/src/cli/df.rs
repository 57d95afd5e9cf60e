//! `system df`: what takes room on the host, and how much of it nobody uses.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::door::Door;
use super::human::{ago, precise_size, quoted, short_id, shorten, size};
use super::template::Format;
use super::volume;

/// `proa system df`.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// Print `json`, or a template such as {{.Size}}
    #[arg(long)]
    format: Option<String>,
    /// Each image, container and volume
    #[arg(short, long)]
    verbose: bool,
}

pub(crate) fn run(args: DfArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    let usage: Value = Client::connect(door)?.get("/system/df")?;
    let mut out = std::io::stdout().lock();
    if args.verbose {
        return verbose(&mut out, &format, &usage);
    }
    let columns = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
    let rows = [images(&usage), containers(&usage), volumes(&usage), build_cache(&usage)];
    format.or(columns)?.print(&mut out, &[("TotalCount", "TOTAL")], &rows.map(Part::row))?;
    Ok(0)
}

/// One kind of thing.
#[derive(Debug)]
struct Part {
    name: &'static str,
    count: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
    /// The share is told where some can be in use.
    has_share: bool,
}

impl Part {
    fn row(self) -> Value {
        let reclaimable = match self.bytes {
            bytes if bytes > 0 && self.has_share => {
                format!("{} ({}%)", precise_size(self.reclaimable), self.reclaimable * 100 / bytes)
            }
            _ => precise_size(self.reclaimable),
        };
        json!({
            "Type": self.name,
            "TotalCount": self.count.to_string(),
            "Active": self.active.to_string(),
            "Size": precise_size(self.bytes),
            "Reclaimable": reclaimable,
        })
    }
}

fn list<'v>(usage: &'v Value, field: &str) -> &'v [Value] {
    usage[field].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_default()
}

fn images(usage: &Value) -> Part {
    let images = list(usage, "Images");
    let is_active = |image: &&Value| image["Containers"].as_i64().is_some_and(|count| count > 0);
    let bytes = number(usage, "LayersSize");
    // What an image in use holds alone or shares with another stays.
    let used: u64 = images
        .iter()
        .filter(is_active)
        .filter(|image| image["Size"].as_i64().is_some_and(|size| size >= 0))
        .map(|image| number(image, "Size").saturating_sub(number(image, "SharedSize")))
        .sum();
    Part {
        name: "Images",
        count: images.len(),
        active: images.iter().filter(is_active).count(),
        bytes,
        reclaimable: bytes.saturating_sub(used),
        has_share: true,
    }
}

fn containers(usage: &Value) -> Part {
    let containers = list(usage, "Containers");
    let is_active = |container: &Value| {
        let state = container["State"].as_str().unwrap_or_default();
        matches!(state, "running" | "paused" | "restarting")
    };
    let idle = containers.iter().filter(|container| !is_active(container));
    Part {
        name: "Containers",
        count: containers.len(),
        active: containers.iter().filter(|container| is_active(container)).count(),
        bytes: containers.iter().map(|container| number(container, "SizeRw")).sum(),
        reclaimable: idle.map(|container| number(container, "SizeRw")).sum(),
        has_share: true,
    }
}

fn volumes(usage: &Value) -> Part {
    let volumes = list(usage, "Volumes");
    let links = |volume: &Value| volume.pointer("/UsageData/RefCount").and_then(Value::as_i64).unwrap_or_default();
    let bytes = |volume: &Value| volume.pointer("/UsageData/Size").and_then(Value::as_u64).unwrap_or_default();
    Part {
        name: "Local Volumes",
        count: volumes.len(),
        active: volumes.iter().filter(|volume| links(volume) > 0).count(),
        bytes: volumes.iter().map(bytes).sum(),
        reclaimable: volumes.iter().filter(|volume| links(volume) == 0).map(bytes).sum(),
        has_share: true,
    }
}

fn build_cache(usage: &Value) -> Part {
    let caches = list(usage, "BuildCache");
    let idle = caches.iter().filter(|cache| cache["InUse"] != true && cache["Shared"] != true);
    Part {
        name: "Build Cache",
        count: caches.len(),
        active: caches.iter().filter(|cache| cache["InUse"] == true).count(),
        bytes: caches.iter().filter(|cache| cache["Shared"] != true).map(|cache| number(cache, "Size")).sum(),
        reclaimable: idle.map(|cache| number(cache, "Size")).sum(),
        has_share: false,
    }
}

fn verbose(out: &mut impl Write, format: &Format, usage: &Value) -> anyhow::Result<u8> {
    if *format != Format::Table {
        writeln!(out, "{}", format.line(usage)?)?;
        return Ok(0);
    }
    writeln!(out, "Images space usage:\n")?;
    let rows: Vec<Value> = list(usage, "Images").iter().map(image).collect();
    let columns = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
    let heads =
        [("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("SharedSize", "SHARED SIZE"), ("UniqueSize", "UNIQUE SIZE")];
    Format::parse(Some(columns))?.print(out, &heads, &rows)?;
    writeln!(out, "\nContainers space usage:\n")?;
    let rows: Vec<Value> = list(usage, "Containers").iter().map(container).collect();
    let columns = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
    let heads = [("ID", "CONTAINER ID"), ("LocalVolumes", "LOCAL VOLUMES"), ("RunningFor", "CREATED")];
    Format::parse(Some(columns))?.print(out, &heads, &rows)?;
    writeln!(out, "\nLocal Volumes space usage:\n")?;
    let rows: Vec<Value> = list(usage, "Volumes").iter().map(volume::object).collect();
    Format::parse(Some("table {{.Name}}\t{{.Links}}\t{{.Size}}"))?.print(out, &[("Name", "VOLUME NAME")], &rows)?;
    writeln!(out, "\nBuild cache usage: {}\n", precise_size(build_cache(usage).bytes))?;
    writeln!(out, "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED")?;
    Ok(0)
}

fn image(image: &Value) -> Value {
    let name = image.pointer("/RepoTags/0").and_then(Value::as_str).unwrap_or("<none>:<none>");
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
    let (all, shared) = (number(image, "Size"), number(image, "SharedSize"));
    json!({
        "Repository": repository,
        "Tag": tag,
        "ID": short_id(image["Id"].as_str().unwrap_or_default()),
        "CreatedSince": ago(image["Created"].as_i64().unwrap_or_default()),
        "Size": size(all),
        "SharedSize": precise_size(shared),
        "UniqueSize": precise_size(all.saturating_sub(shared)),
        "Containers": image["Containers"].as_i64().unwrap_or_default().to_string(),
    })
}

fn container(container: &Value) -> Value {
    let text = |field: &str| container[field].as_str().unwrap_or_default();
    let names = container["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.map(|name| name.trim_start_matches('/')).collect();
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    json!({
        "ID": short_id(text("Id")),
        "Image": text("Image"),
        "Command": quoted(&shorten(text("Command"), 20)),
        "LocalVolumes": mounts.filter(|mount| mount["Type"] == "volume").count().to_string(),
        "Size": size(number(container, "SizeRw")),
        "RunningFor": ago(container["Created"].as_i64().unwrap_or_default()),
        "Status": text("Status"),
        "Names": names.join(","),
    })
}
