//! `proa demo`: the first thing a new user sees.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use proa_tests::{Isolation, Need, Node, cases, command, harness, leftovers};
use rustix::process::Signal;

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        suite.add(
            &[],
            cases![
                the_demo_shows_every_isolation_it_can_and_cleans_up,
                what_a_killed_demo_left_the_next_one_cleans_up,
                the_program_tells_its_version_and_help,
            ],
        );
    })
}

fn the_demo_shows_every_isolation_it_can_and_cleans_up() -> Result<()> {
    let node = Node::asleep()?;
    let temporary = node.scratch().join("tmp");
    std::fs::create_dir_all(&temporary)?;
    let mut demo = node.command(&["demo"]);
    demo.env_remove("PROA_HOST").env("TMPDIR", &temporary).stdin(std::process::Stdio::null());
    let output = command::run(&mut demo, Duration::from_secs(300))?.success()?.keeps_its_composure()?;
    let said = format!("{}\n{}", output.text(), output.complaint());
    for isolation in Isolation::ALL {
        let shown = match Need::Isolation(isolation).lacking() {
            None => said.lines().any(|line| line.starts_with(&format!("{isolation} "))),
            Some(lacks) => said.lines().any(|line| line.contains(&format!("{isolation}: ")) && line.contains(&lacks)),
        };
        ensure!(shown, "`{isolation}` has neither a row nor a reason: {output}");
    }
    for word in ["Hello", "HTTP"] {
        ensure!(said.contains(word), "`{word}` is not in it: {output}");
    }
    let files: Vec<_> = std::fs::read_dir(&temporary)?.flatten().map(|entry| entry.path()).collect();
    ensure!(files.is_empty(), "it left {files:?}");
    let left = leftovers::processes(&temporary);
    ensure!(left.is_empty(), "it left the processes {left:?}");
    ensure!(leftovers::mounts(&temporary)?.is_empty());
    node.close()
}

fn what_a_killed_demo_left_the_next_one_cleans_up() -> Result<()> {
    let node = Node::asleep()?;
    let temporary = node.scratch().join("tmp");
    std::fs::create_dir_all(&temporary)?;
    let demo = || {
        let mut demo = node.command(&["demo", "--runs", "1"]);
        demo.env_remove("PROA_HOST").env("TMPDIR", &temporary).stdin(std::process::Stdio::null());
        demo
    };
    let killed = command::start(&mut demo())?;
    killed.shows("its host is up", |said| said.contains("packing"))?;
    killed.signal(Signal::KILL)?;
    killed.finish(Duration::from_secs(60))?;
    ensure!(std::fs::read_dir(&temporary)?.count() > 0, "a killed demo leaves its folder");
    command::run(&mut demo(), Duration::from_secs(300))?.success()?;
    let files: Vec<_> = std::fs::read_dir(&temporary)?.flatten().map(|entry| entry.path()).collect();
    ensure!(files.is_empty(), "two demos left {files:?}");
    let left = leftovers::processes(&temporary);
    ensure!(left.is_empty(), "they left the processes {left:?}");
    node.close()
}

fn the_program_tells_its_version_and_help() -> Result<()> {
    let node = Node::asleep()?;
    let version = node.proa(&["--version"])?.success()?;
    ensure!(version.text().starts_with("proa "), "{version}");
    let help = node.proa(&["--help"])?.success()?;
    for verb in
        ["run", "ps", "logs", "attach", "exec", "wait", "stop", "kill", "rm", "inspect", "pull", "push", "images"]
    {
        ensure!(help.text().contains(verb), "`{verb}` is not in the help: {help}");
    }
    for verb in ["rmi", "tag", "info", "version", "system", "plan", "package", "host", "demo"] {
        ensure!(help.text().contains(verb), "`{verb}` is not in the help: {help}");
    }
    for verb in ["run", "system", "plan", "package"] {
        node.proa(&[verb, "--help"])?.success()?;
    }
    node.close()
}
