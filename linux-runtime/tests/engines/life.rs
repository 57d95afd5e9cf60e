//! A container's life: run, output, status, detach, pause, stop, kill, removal.

use std::thread;

use anyhow::{Result, ensure};

use crate::Case;
use crate::engine::Engine;
use crate::{left, wait};

pub(crate) const CASES: [Case<Engine>; 10] = [
    ("output and exit status come back", output_and_status),
    ("a missing program is told apart from one that cannot be executed", missing_program),
    ("a detached container's output and status are kept", detached),
    ("a created container starts later, and again", created),
    ("a paused container stands still until it is resumed", paused),
    ("stop asks first, and kills what does not listen", stopped),
    ("signals arrive", signalled),
    ("the first process can be an init", init),
    ("removal by force leaves nothing", removed),
    ("eight at once", at_once),
];

fn output_and_status(engine: &Engine) -> Result<()> {
    let output = engine.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    ensure!(output.code == Some(7) && output.out == "out\n" && output.err == "err\n", "{output}");
    engine.run(&[], &["true"])?.text()?;
    let output = engine.run(&["--env", "SHIP=proa", "--hostname", "harbour"], &["sh", "-c", "hostname; echo $SHIP"])?;
    ensure!(output.text()? == "harbour\nproa");
    Ok(())
}

fn missing_program(engine: &Engine) -> Result<()> {
    for (program, code) in [("/no/such/program", 127), ("nosuch", 127), ("/etc/plain", 126)] {
        let output = engine.run(&[], &[program])?;
        ensure!(output.code == Some(code) && output.err.contains(program), "expected {code}: {output}");
    }
    Ok(())
}

fn detached(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&[], &["sh", "-c", "echo first; echo second >&2; exit 3"])?;
    ensure!(guest.status()? == "3");
    let logs = guest.ask("logs", &[])?;
    ensure!(logs.out == "first\n" && logs.err == "second\n", "{logs}");
    ensure!(guest.field("{{.State.Status}} {{.State.ExitCode}}")? == "exited 3");
    Ok(())
}

fn created(engine: &Engine) -> Result<()> {
    let never = engine.created(&[], &["true"])?;
    let id = never.id.clone();
    drop(never);
    left::nothing(&id, &engine.state())?;
    let guest = engine.created(&[], &["sh", "-c", "echo up; exit 5"])?;
    for _ in 0..2 {
        let output = guest.ask("start", &["--attach"])?;
        ensure!(output.code == Some(5) && output.out == "up\n", "{output}");
    }
    Ok(())
}

fn paused(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&[], &["sh", "-c", "while :; do echo tick; sleep 0.02; done"])?;
    guest.says("tick")?;
    guest.ask("pause", &[])?.text()?;
    ensure!(guest.field("{{.State.Status}}")? == "paused");
    let frozen = guest.limit("freezer.state", "cgroup.freeze")?;
    ensure!(frozen == "FROZEN" || frozen == "1", "its freezer: {frozen}");
    let refused = guest.exec(&[], &["true"])?;
    ensure!(refused.code != Some(0), "exec in a paused container: {refused}");
    let before = guest.ask("logs", &[])?.text()?.lines().count();
    guest.ask("unpause", &[])?.text()?;
    wait::until("it goes on", || Ok(guest.ask("logs", &[])?.text()?.lines().count() > before + 1))?;
    ensure!(guest.field("{{.State.Status}}")? == "running");
    Ok(())
}

fn stopped(engine: &Engine) -> Result<()> {
    let polite = engine.detached(&[], &["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done"])?;
    polite.says("up")?;
    polite.ask("stop", &["--time", "60"])?.text()?;
    ensure!(polite.field("{{.State.ExitCode}}")? == "3");
    let deaf = engine.detached(&[], &["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done"])?;
    deaf.says("up")?;
    deaf.ask("stop", &["--time", "1"])?.text()?;
    ensure!(deaf.field("{{.State.ExitCode}}")? == "137");
    Ok(())
}

fn signalled(engine: &Engine) -> Result<()> {
    let script = "trap 'echo caught' USR1; echo up; while :; do sleep 0.02; done";
    let guest = engine.detached(&[], &["sh", "-c", script])?;
    guest.says("up")?;
    guest.ask("kill", &["--signal", "USR1"])?.text()?;
    guest.says("caught")?;
    guest.ask("kill", &["--signal", "KILL"])?.text()?;
    ensure!(guest.status()? == "137");
    Ok(())
}

fn init(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&["--init"], &["sh", "-c", "(sleep 0.01 &); echo $$; sleep 1000"])?;
    guest.says("\n")?;
    let first = guest.exec(&[], &["cat", "/proc/1/comm"])?.text()?;
    ensure!(["catatonit", "docker-init", "tini", "podman-init"].contains(&first.as_str()), "process 1: {first}");
    let zombies = || Ok(guest.exec(&[], &["sh", "-c", "grep -l '^State:.*Z' /proc/[0-9]*/status"])?.out.is_empty());
    wait::until("orphans are reaped", zombies)?;
    guest.ask("stop", &["--time", "60"])?.text()?;
    // What was asked to end did so by the signal, or as its init tells it.
    ensure!(guest.field("{{.State.ExitCode}}")? == "143");
    Ok(())
}

fn removed(engine: &Engine) -> Result<()> {
    let guest = engine.detached(&["--memory", "64m"], &["sh", "-c", "sleep 1000 & sleep 1001"])?;
    guest.exec(&["--detach"], &["sleep", "1002"])?.text()?;
    ensure!(!left::cgroups(&guest.id).is_empty(), "a running container has cgroups");
    let state = std::fs::read_dir(engine.state())?.count();
    ensure!(state > 0, "a running container has state in `{}`", engine.state().display());
    guest.ask("rm", &["--force"])?.text()?;
    left::nothing(&guest.id, &engine.state())
}

fn at_once(engine: &Engine) -> Result<()> {
    thread::scope(|scope| {
        let one = |number: usize| {
            let code = (number + 10).to_string();
            let output = engine.run(&[], &["sh", "-c", &format!("echo {code}; exit {code}")])?;
            ensure!(output.out.trim() == code && output.code == Some(number as i32 + 10), "{output}");
            Ok(())
        };
        let all: Vec<_> = (0..8).map(|number| scope.spawn(move || one(number))).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("a case returns its failure"))
    })
}
