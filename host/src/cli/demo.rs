//! `demo`: the main job in a minute. A host and a registry of its own in a temporary root; the samples pushed, pulled
//! back and run under every isolation; a table; and everything gone again, also after Ctrl-C or a failure.

mod measure;
mod samples;
mod scene;
mod sweep;
mod web;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use proa_sandbox::Isolation;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::measure::Row;
use self::samples::Samples;
use self::scene::Scene;
use super::{Failure, human, info, table};

/// `proa demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How often each isolation is measured; the medians are shown
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    runs: u32,
}

pub(crate) fn run(args: DemoArgs) -> anyhow::Result<u8> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first asks to stop and clean up; a second, while that takes long, ends at once.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .context("listen for Ctrl-C")?;
    }
    say("starting a host and a registry of their own")?;
    let scene = Scene::open()?;
    let shown = show(&scene, args.runs, &interrupted);
    let cleaned = scene.close();
    if interrupted.load(Ordering::Relaxed) {
        return Err(Failure::wrap(130, anyhow::anyhow!("the demo was interrupted; it has cleaned up")));
    }
    shown?;
    cleaned.context("clean up after the demo")?;
    say("cleaned up: no process, mount, cgroup or file is left")?;
    Ok(0)
}

/// The demo itself, a line before anything slow.
fn show(scene: &Scene, runs: u32, interrupted: &AtomicBool) -> anyhow::Result<()> {
    let go_on = || match interrupted.load(Ordering::Relaxed) {
        true => Err(anyhow::anyhow!("interrupted")),
        false => Ok(()),
    };
    let mut client = scene.client()?;
    say(&format!("packing the samples, pushing them to {} and pulling them back", scene.registry()))?;
    let samples = Samples::pack(scene)?;
    samples.push_and_pull_back(&mut client)?;
    go_on()?;
    let facts = client.get("/info").context("ask the host what it can do")?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for model in Isolation::ALL {
        let lacks =
            info::isolations(&facts).into_iter().find(|known| known.name == model.as_str()).and_then(|m| m.lacks);
        if let Some(lacks) = lacks {
            left_out.push((model, lacks));
            continue;
        }
        let compiling = if model == Isolation::Wasm { ", after compiling it once" } else { "" };
        say(&format!("running hello {runs} times as {model}{compiling}"))?;
        match measure::row(scene, &samples, model, runs) {
            Ok(row) => rows.push(row),
            Err(error) => left_out.push((model, format!("{error:#}"))),
        }
        go_on()?;
    }
    say("serving HTTP from a component on a published port")?;
    let served = web::serve_one(scene, &samples);
    print(&rows, &left_out, served)
}

fn print(rows: &[Row], left_out: &[(Isolation, String)], served: anyhow::Result<web::Served>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out)?;
    let cells: Vec<[String; 5]> = rows.iter().map(Row::cells).collect();
    table::print(&mut out, ["ISOLATION", "IMAGE", "START", "WHOLE RUN", "MEMORY"], &cells)?;
    writeln!(out)?;
    writeln!(out, "start: from the start of `proa run --rm` to the guest's first instruction; medians")?;
    match served {
        Ok(served) => writeln!(
            out,
            "http: {} ({}) answered `{}` in {}",
            served.url,
            human::size(served.image),
            served.body,
            measure::milliseconds(served.took)
        )?,
        Err(error) => writeln!(out, "left out: http: {}", one_line(&format!("{error:#}")))?,
    }
    for reason in rows.iter().filter_map(Row::uncounted) {
        writeln!(out, "left out: {}", one_line(&reason))?;
    }
    for (model, reason) in left_out {
        writeln!(out, "left out: {model}: {}", one_line(reason))?;
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "proa demo: {text}")?;
    Ok(())
}
