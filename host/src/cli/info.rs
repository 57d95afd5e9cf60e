//! `info`: what the host can do here, and how much it has.

use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::door::Door;
use super::human::memory;
use super::template::Format;

/// `proa info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Print `json`, or a template such as {{.NCPU}}
    #[arg(short, long)]
    format: Option<String>,
}

pub(crate) fn run(args: InfoArgs, door: &Door) -> anyhow::Result<u8> {
    let format = Format::parse(args.format.as_deref())?;
    let info: Value = Client::connect(door)?.get("/info")?;
    let mut out = std::io::stdout().lock();
    if format != Format::Table {
        writeln!(out, "{}", format.line(&info)?)?;
        return Ok(0);
    }
    let number = |field: &str| info[field].as_u64().unwrap_or_default();
    let text = |field: &str| info[field].as_str().unwrap_or("unknown").to_owned();
    writeln!(out, "Containers: {}", number("Containers"))?;
    writeln!(out, " Running: {}", number("ContainersRunning"))?;
    writeln!(out, " Stopped: {}", number("ContainersStopped"))?;
    writeln!(out, "Images: {}", number("Images"))?;
    writeln!(out, "Server Version: {}", text("ServerVersion"))?;
    writeln!(out, "Isolation:")?;
    for model in isolations(&info) {
        writeln!(out, " {}: {}", model.name, model.lacks.as_deref().unwrap_or("available"))?;
    }
    writeln!(out, "Cgroup Version: {}", text("CgroupVersion"))?;
    writeln!(out, "Kernel Version: {}", text("KernelVersion"))?;
    writeln!(out, "Operating System: {}", text("OperatingSystem"))?;
    writeln!(out, "Architecture: {}", text("Architecture"))?;
    writeln!(out, "CPUs: {}", number("NCPU"))?;
    writeln!(out, "Total Memory: {}", memory(number("MemTotal")))?;
    writeln!(out, "Proa Root Dir: {}", text("DockerRootDir"))?;
    Ok(0)
}

/// A model and what it lacks here.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) lacks: Option<String>,
}

/// proa's own part of the answer.
pub(crate) fn isolations(info: &Value) -> Vec<Model> {
    let all = info.pointer("/Proa/Isolation").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|model| {
            let lacks = model["Lacks"].as_str().filter(|lacks| !lacks.is_empty()).map(str::to_owned);
            Some(Model { name: model["Isolation"].as_str()?.to_owned(), lacks })
        })
        .collect()
}
