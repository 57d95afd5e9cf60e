//! What is there when nothing happens: the zygote's own memory, and what each idle container adds to host and zygote.
//!
//! Measures the file `.ci/dist` made. `cargo run --release -p proa-benches --bin idle`
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use proa_benches::peers::proa::Node;
use proa_benches::{bar, idle};

#[derive(Debug, Parser)]
struct Args {
    /// Idle containers; their cost is divided by their number.
    #[arg(long, default_value_t = 50)]
    containers: usize,
    /// The program to measure.
    #[arg(long)]
    proa: Option<PathBuf>,
}

/// What host and zygote hold together.
struct Held {
    processes: usize,
    memory: u64,
    zygote: u64,
    descriptors: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let program = args.proa.unwrap_or_else(dist_program);
    let node = Node::start(&program)?;
    node.load_busybox()?;
    // The first container makes what all share.
    node.idle("idle-first")?;
    let before = held(node.root())?;
    for number in 0..args.containers {
        node.idle(&format!("idle-{number}"))?;
    }
    let after = held(node.root())?;
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / args.containers as f64;
    println!("{} idle containers of busybox sleep, under one host and one zygote", args.containers);
    bar::at_most("zygote's private memory, MiB", after.zygote as f64 / f64::from(1 << 20), 2.0);
    bar::at_most("processes of ours for each", each(after.processes as u64, before.processes as u64), 0.0);
    bar::at_most("memory of ours for each, KiB", each(after.memory, before.memory) / 1024.0, 64.0);
    let descriptors = each(after.descriptors as u64, before.descriptors as u64);
    bar::at_most("descriptors in host and zygote for each", descriptors, 5.0);
    Ok(())
}

fn held(root: &Path) -> Result<Held> {
    let all = idle::processes(root)?;
    let zygote = all.iter().find(|(_, name)| name.contains("zygote")).map(|(pid, _)| *pid);
    let zygote = zygote.context("a host that runs containers has a zygote")?;
    ensure!(all.len() > 1, "a host and a zygote: {all:?}");
    let mut held = Held { processes: all.len(), memory: 0, zygote: idle::private(zygote)?, descriptors: 0 };
    for (pid, _) in all {
        held.memory += idle::private(pid)?;
        held.descriptors += idle::descriptors(pid)?;
    }
    Ok(held)
}

fn dist_program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("dist/proa")
}
