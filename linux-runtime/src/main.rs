//! `proa-linux`: the OCI runtime's verbs on a bundle. Small: no reactor, no images.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use oci_spec::runtime::Spec;
use proa_linux::{Facts, Files, Plan, Request, Streams, zygote};

mod run;

/// Runs OCI bundles as sandboxed Linux processes
#[derive(Debug, Parser)]
#[command(name = "proa-linux", version)]
struct Arguments {
    /// Where the state of containers is kept
    #[arg(long, global = true, default_value = "/run/proa-linux")]
    root: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a container and run it to its end
    Run {
        /// The bundle's folder, with config.json and the root file system
        #[arg(short, long, default_value = ".")]
        bundle: PathBuf,
        /// Where to write the process's id
        #[arg(long)]
        pid_file: Option<PathBuf>,
        id: String,
    },
    /// Print the steps of a bundle and run nothing
    Plan {
        #[arg(short, long, default_value = ".")]
        bundle: PathBuf,
    },
    /// Write an example config.json
    Spec {
        #[arg(short, long, default_value = ".")]
        bundle: PathBuf,
    },
    /// Not there yet: create, start, state, kill, delete, list, features
    #[command(external_subcommand)]
    Other(Vec<String>),
}

fn main() -> ExitCode {
    // The zygote is this program again, before anything else is touched.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "zygote") {
        return zygote::main(&[]);
    }
    match execute(&Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("proa-linux: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments) -> Result<u8> {
    match &arguments.verb {
        Verb::Run { bundle, pid_file, id } => run::run(&arguments.root, bundle, pid_file.as_deref(), id),
        Verb::Plan { bundle } => {
            let spec = load(bundle)?;
            print!("{}", lower(&spec, bundle, "proa-linux/plan", &Facts::probe())?);
            Ok(0)
        }
        Verb::Spec { bundle } => {
            let path = bundle.join("config.json");
            if path.exists() {
                bail!("write `{}`: it exists", path.display());
            }
            Spec::default().save(&path).with_context(|| format!("write `{}`", path.display()))?;
            Ok(0)
        }
        Verb::Other(words) => {
            bail!("`{}` is not there yet: run, plan and spec are", words.first().map_or("", String::as_str))
        }
    }
}

fn load(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    Spec::load(&path).with_context(|| format!("read `{}`", path.display()))
}

/// The plan of a bundle: its root as it is, the caller's own streams.
fn lower(spec: &Spec, bundle: &Path, group: &str, facts: &Facts) -> Result<Plan> {
    let root = spec.root().as_ref().context("the specification has no root")?;
    let root = bundle.join(root.path());
    if spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false) {
        bail!("terminals are not there yet: set `process.terminal` to false");
    }
    let request = Request {
        group,
        files: Files::Root(&root),
        streams: Streams::Inherited,
        user_namespace: None,
        default_filter: false,
        init: false,
    };
    Ok(Plan::new(spec, &request, facts)?)
}
