//! `system check`: whether everything at rest is what was written.

use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::client::{Client, Payload};
use super::door::Door;
use super::query::Query;

/// `proa system check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Put right what can be: unpack and compile anew
    #[arg(long)]
    repair: bool,
}

pub(crate) fn run(args: CheckArgs, door: &Door) -> anyhow::Result<u8> {
    let path = Query::new("/proa/check").flag("repair", args.repair).into_path();
    let report: Value = Client::connect(door)?.send("POST", &path, &[], Payload::None)?.json()?;
    let damages = report["Damages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out = std::io::stdout().lock();
    for damage in damages {
        let text = |field: &str| damage[field].as_str().unwrap_or_default();
        writeln!(out, "{}: {}; {}", text("What"), text("Problem"), text("Remedy"))?;
    }
    let left = damages.iter().filter(|damage| damage["Repaired"] != true).count();
    let number = |field: &str| report[field].as_u64().unwrap_or_default();
    let verdict = match (left, damages.len() - left) {
        (0, 0) => "nothing is damaged".to_owned(),
        (left, 0) => format!("{left} damaged"),
        (left, repaired) => format!("{repaired} put right, {left} damaged"),
    };
    writeln!(
        out,
        "checked blobs: {}, unpacked layers: {}, records: {}, compiled modules: {}; {verdict}",
        number("Blobs"),
        number("Layers"),
        number("Records"),
        number("Modules")
    )?;
    Ok(u8::from(left > 0))
}
