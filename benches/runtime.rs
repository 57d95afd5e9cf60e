//! OCI runtimes alone: `proa-linux run` beside crun and runc, many at once, and the warm zygote beside a bare program.
//!
//! Measures the file `.ci/dist` made. `cargo run --release -p proa-benches --bin runtime -- --peer /opt/crun`
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use proa_benches::peers::oci_bundle;
use proa_benches::peers::runtime::Runtime;
use proa_benches::{Contender, Found, Samples, bar, interleave, many, print, warm};

#[derive(Debug, Parser)]
struct Args {
    /// Rounds that count; one more warms up.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Quiet before every sparse run, in milliseconds: a start after quiet is what users see.
    #[arg(long, default_value_t = 60)]
    pause: u64,
    /// Containers of the parallel part.
    #[arg(long, default_value_t = 500)]
    runs: usize,
    /// How many of them at a time.
    #[arg(long, default_value_t = 8)]
    parallel: usize,
    /// The program to measure.
    #[arg(long)]
    proa_linux: Option<PathBuf>,
    /// More runtimes to measure beside the `crun` and `runc` on the PATH: the bars hold against the fastest.
    #[arg(long)]
    peer: Vec<PathBuf>,
}

fn main() -> ExitCode {
    // The zygote is this program again, before anything else is touched.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "zygote") {
        return proa_linux::zygote::main(&[]);
    }
    match measure(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtime: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    let pause = Duration::from_millis(args.pause);
    let bundle = oci_bundle::busybox_true(|_| ())?;
    let program = args.proa_linux.clone().unwrap_or_else(dist_program);
    let ours = Runtime::find(&program, true)?;
    let ours = ours.with_context(|| format!("no `{}`: has `.ci/dist` been run?", program.display()))?;
    let mut runtimes = vec![ours];
    for peer in [PathBuf::from("crun"), PathBuf::from("runc")].iter().chain(&args.peer) {
        match Runtime::find(peer, false)? {
            Some(runtime) => runtimes.push(runtime),
            None => println!("left out: {}: it is not there", peer.display()),
        }
    }
    let (mut able, mut contenders) = (Vec::new(), Vec::<Contender>::new());
    for runtime in runtimes {
        match runtime.contender(bundle.path())? {
            Found::Ready(contender) => {
                contenders.push(contender);
                able.push(runtime);
            }
            Found::Missing { name, reason } => println!("left out: {name}: {reason}"),
        }
    }

    let sparse = interleave(&contenders, args.rounds, pause)?;
    print("`run` of busybox true, runc's default specification, after quiet", &sparse);
    bars(&sparse, &[("crun", 1.0 / 3.0), ("runc", 1.0 / 8.0)]);
    let hot = interleave(&contenders, args.rounds, Duration::ZERO)?;
    print("the same, back to back", &hot);
    bars(&hot, &[("crun", 1.0 / 2.0), ("runc", 1.0 / 6.0)]);

    println!("\n{} runs, {} at a time; none lost, nothing left", args.runs, args.parallel);
    let took = many::together(&able, bundle.path(), args.runs, args.parallel)?;
    for (runtime, took) in able.iter().zip(&took) {
        let each = took.as_secs_f64() / args.runs as f64;
        println!("{:<44} {:>10.2} ms each {:>8.0} a second", runtime.version, each * 1e3, 1.0 / each);
    }
    let crun = able.iter().zip(&took).filter(|(runtime, _)| runtime.version.starts_with("crun")).map(|(_, took)| *took);
    if let (Some(ours), Some(crun)) = (took.first(), crun.min()) {
        bar::at_least("times crun's rate", crun.as_secs_f64() / ours.as_secs_f64(), 2.0);
    }

    for (title, pause) in [("after quiet", pause), ("back to back", Duration::ZERO)] {
        let warm = warm::measure(args.rounds, pause)?;
        print(&format!("through a warm zygote, a network namespace joined, {title}"), &warm);
        bar::at_most("times the bare program", share(&warm[0], &warm[1]), 1.5);
    }
    Ok(())
}

/// Our median as a share of the fastest peer's of each name.
fn bars(all: &[Samples], bars: &[(&str, f64)]) {
    let Some(ours) = all.iter().find(|samples| samples.ours) else { return };
    for (name, bar) in bars {
        let peers = all.iter().filter(|samples| samples.name.starts_with(name));
        if let Some(fastest) = peers.min_by_key(|samples| samples.median()) {
            bar::at_most(&format!("share of {}", fastest.name), share(ours, fastest), *bar);
        }
    }
}

fn share(ours: &Samples, theirs: &Samples) -> f64 {
    ours.median().as_secs_f64() / theirs.median().as_secs_f64()
}

fn dist_program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("dist/proa-linux")
}
