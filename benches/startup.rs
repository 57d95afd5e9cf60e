//! Whole-process times of `run --rm`: proa and its peers, interleaved, for both kinds of workload.
//!
//! Measures the files `.ci/dist` made. `cargo run --release -p proa-benches --bin startup -- --rounds 50`
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use proa_benches::peers::{crun, docker, floor, podman, proa, wasmtime};
use proa_benches::{Contender, Found, interleave, print};

#[derive(Debug, Parser)]
struct Args {
    /// Rounds that count; one more warms up.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Quiet before every run, in milliseconds: a start after quiet is what users see.
    #[arg(long, default_value_t = 60)]
    pause: u64,
    /// The program to measure.
    #[arg(long)]
    proa: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let program = args.proa.unwrap_or_else(dist_program);
    let node = proa::Node::start(&program)?;
    let pause = Duration::from_millis(args.pause);

    let wasm = ready(vec![
        proa::run(&node, "wasm")?,
        proa::run(&node, "wasm-process")?,
        wasmtime::run_precompiled()?,
        proa::client_floor(&node),
    ]);
    print("Wasm: hello component, whole process", &interleave(&wasm, args.rounds, pause)?);

    let linux = ready(vec![
        proa::run(&node, "linux")?,
        proa::run(&node, "linux-userns")?,
        crun::run("crun")?,
        crun::run("runc")?,
        podman::run()?,
        docker::run()?,
        floor::native_hello()?,
    ]);
    print("Linux: static hello, whole process", &interleave(&linux, args.rounds, pause)?);
    Ok(())
}

fn ready(found: Vec<Found>) -> Vec<Contender> {
    found
        .into_iter()
        .filter_map(|found| match found {
            Found::Ready(contender) => Some(contender),
            Found::Missing { name, reason } => {
                println!("left out: {name}: {reason}");
                None
            }
        })
        .collect()
}

fn dist_program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("dist/proa")
}
