//! `volume create`.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::run::pairs;

/// `proa volume create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Who keeps it
    #[arg(short, long, default_value = "local", value_name = "NAME")]
    driver: String,
    /// Set a label
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Docker's other place for the name
    #[arg(long, hide = true, conflicts_with = "volume")]
    name: Option<String>,
    /// Its name; one that nobody has otherwise
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

pub(super) fn run(args: CreateArgs, door: &Door) -> anyhow::Result<u8> {
    let body = json!({
        "Name": args.volume.or(args.name).unwrap_or_default(),
        "Driver": args.driver,
        "DriverOpts": pairs::parse(&args.opt, "driver option")?,
        "Labels": pairs::parse(&args.label, "label")?,
    });
    let created: Value = Client::connect(door)?.post_json("/volumes/create", &body)?;
    writeln!(std::io::stdout(), "{}", created["Name"].as_str().unwrap_or_default())?;
    Ok(0)
}
