//! The life of containers: from `create` to `rm` and `prune`.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{cases, guest, wait};
use serde_json::Value;

use super::{On, Under};

pub(super) const CASES: [Under; 8] = cases![
    docker_creates_starts_and_restarts,
    docker_waits_stops_kills_and_removes,
    docker_inspects_and_lists,
    docker_pauses_and_unpauses,
    docker_renames,
    docker_shows_stats,
    docker_writes_the_id_to_a_file,
    docker_shows_events,
];
pub(super) const NATIVE_CASES: [Under; 3] = cases![docker_shows_processes, docker_updates_limits, docker_tells_health];

fn docker_creates_starts_and_restarts(on: &On<'_>) -> Result<()> {
    let docker = on.docker;
    let code = on.code().to_string();
    let id = docker.text(&on.line("create", &[], &["exit", &code])?)?;
    docker.run(&["start", "-a", &id])?.exits(on.code())?;
    on.remove(&id)?;
    let id = docker.text(&on.line("create", &["--restart", "unless-stopped"], &["tick", "0.02"])?)?;
    ensure!(docker.text(&["start", &id])? == id);
    let started = docker.text(&["inspect", "-f", "{{.State.StartedAt}}", &id])?;
    docker.run(&["restart", "-t", "1", &id])?.success()?;
    let state = docker.text(&["inspect", "-f", "{{.State.Status}} {{.State.StartedAt}}", &id])?;
    ensure!(state.starts_with("running ") && !state.ends_with(&started), "{state}, before {started}");
    docker.run(&["stop", "-t", "1", &id])?.success()?;
    ensure!(
        docker.text(&["ps", "-aq", "--no-trunc", "--filter", "status=exited", "--filter", &format!("id={id}")])? == id
    );
    on.remove(&id)
}

fn docker_waits_stops_kills_and_removes(on: &On<'_>) -> Result<()> {
    let docker = on.docker;
    let id = on.detached(&[], &["spin"])?;
    let waiting = docker.start(&["wait", &id])?;
    docker.run(&["stop", "-t", "1", &id])?.success()?;
    let code = waiting.finish(wait::PATIENCE)?.success()?.text();
    ensure!(code == "137" || code == "143", "{code}");
    docker.run(&["rm", &id])?.success()?;
    let id = on.detached(&[], &["tick", "1"])?;
    docker.run(&["rm", &id])?.exits(1)?;
    docker.run(&["kill", &id])?.success()?;
    ensure!(docker.text(&["wait", &id])? == "137");
    docker.run(&["rm", &id])?.success()?;
    docker.run(&["inspect", &id])?.exits(1)?;
    Ok(())
}

fn docker_inspects_and_lists(on: &On<'_>) -> Result<()> {
    let name = fresh_name("by-docker");
    let label = format!("of={name}");
    let flags =
        ["run", "-d", "--isolation", on.isolation.name(), "--name", &name, "-l", &label, on.docker.node.probe()?];
    let id = on.docker.text(&[&flags[..], &["tick", "1"]].concat())?;
    let output = on.docker.run(&["inspect", &name])?.success()?;
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(seen[0]["Id"] == id.as_str() && seen[0]["State"]["Running"] == true, "{output}");
    ensure!(seen[0]["HostConfig"]["Isolation"] == on.isolation.name(), "{}", seen[0]["HostConfig"]);
    ensure!(seen[0]["State"].get("Health").is_none(), "{}", seen[0]["State"]);
    let created = seen[0]["Created"].as_str().context("a time of creation")?;
    ensure!(created.starts_with("20") && created.contains('T'), "{created}");
    let format = "{{.ID}} {{.Names}} {{.State}} {{.Label \"of\"}}";
    let listed = on.docker.text(&["ps", "--filter", &format!("label={label}"), "--format", format])?;
    ensure!(listed == format!("{} {name} running {name}", &id[..12]), "{listed}");
    let table = on.docker.run(&["ps", "-s"])?.success()?;
    ensure!(table.text().contains(&name) && table.text().contains("(virtual"), "{table}");
    on.docker.run(&["port", &name])?.success()?;
    on.remove(&name)
}

fn docker_pauses_and_unpauses(on: &On<'_>) -> Result<()> {
    let id = on.detached(&[], &["tick", "0.01"])?;
    let ticks = || Ok::<_, anyhow::Error>(on.docker.run(&["logs", &id])?.success()?.lines().len());
    wait::until("it ticks", || Ok(ticks()? > 3))?;
    on.docker.run(&["pause", &id])?.success()?;
    let status = on.docker.text(&["ps", "--filter", &format!("id={id}"), "--format", "{{.Status}}"])?;
    ensure!(status.ends_with("(Paused)"), "{status}");
    let before = ticks()?;
    on.docker.run(&["unpause", &id])?.success()?;
    wait::until("it ticks on", || Ok(ticks()? > before))?;
    on.docker.run(&["unpause", &id])?.exits(1)?.keeps_its_composure()?;
    on.remove(&id)
}

fn docker_renames(on: &On<'_>) -> Result<()> {
    let (old, new) = (fresh_name("old"), fresh_name("new"));
    let flags = ["create", "--isolation", on.isolation.name(), "--name", &old, on.docker.node.probe()?, "out", "x"];
    let id = on.docker.text(&flags)?;
    on.docker.run(&["rename", &old, &new])?.success()?;
    ensure!(on.docker.text(&["inspect", "-f", "{{.Id}} {{.Name}}", &new])? == format!("{id} /{new}"));
    on.docker.run(&["inspect", &old])?.exits(1)?;
    on.remove(&id)
}

fn docker_shows_stats(on: &On<'_>) -> Result<()> {
    let id = on.detached(&[], &["tick", "0.01"])?;
    wait::until("it ticks", || Ok(on.docker.text(&["logs", &id])?.contains("tick 3")))?;
    let format = "{{.ID}}|{{.CPUPerc}}|{{.MemUsage}}|{{.PIDs}}";
    let stats = on.docker.text(&["stats", "--no-stream", "--format", format, &id])?;
    let columns: Vec<&str> = stats.split('|').collect();
    ensure!(columns[0] == &id[..12] && columns[1].ends_with('%') && columns[2].contains(" / "), "{stats}");
    ensure!(!columns[2].starts_with("0B"), "{stats}");
    on.remove(&id)
}

fn docker_writes_the_id_to_a_file(on: &On<'_>) -> Result<()> {
    let file = on.docker.node.scratch().join(fresh_name("cid"));
    let flags = ["run", "--isolation", on.isolation.name(), "--cidfile", guest::path(&file)?, on.docker.node.probe()?];
    on.docker.run(&[&flags[..], &["out", "x"]].concat())?.success()?;
    let id = fs::read_to_string(&file)?;
    ensure!(id.len() == 64, "{id}");
    on.remove(&id)
}

fn docker_shows_events(on: &On<'_>) -> Result<()> {
    let name = fresh_name("eventful");
    let format = "{{.Action}} {{index .Actor.Attributes \"exitCode\"}}";
    // From the beginning: when a reader is heard among others nobody can tell, and what came before it is told as well.
    let filter = format!("container={name}");
    let events = on.docker.start(&["events", "--since", "1", "--filter", &filter, "--format", format])?;
    let (image, code) = (on.docker.node.probe()?, on.code().to_string());
    let flags = ["run", "--rm", "--isolation", on.isolation.name(), "--name", &name, image, "exit", &code];
    on.docker.run(&flags)?.exits(on.code())?;
    events.shows("the end", |seen| seen.contains("destroy"))?;
    // docker 26 does not always end by INT while it waits for more.
    events.signal(rustix::process::Signal::KILL)?;
    let seen = events.finish(wait::PATIENCE)?.lines();
    let die = format!("die {code}");
    let wanted = ["create", "attach", "start", &die, "destroy"];
    let seen: Vec<&str> = seen.iter().map(|line| line.trim_end_matches(" <no value>").trim()).collect();
    ensure!(wanted.iter().all(|wanted| seen.contains(wanted)), "{seen:?}");
    Ok(())
}

fn docker_shows_processes(on: &On<'_>) -> Result<()> {
    let id = on.busybox(&["--init"], &["sleep", "1000"])?;
    let table = on.docker.run(&["top", &id])?.success()?;
    ensure!(table.lines()[0].contains("PID") && table.text().contains("sleep 1000"), "{table}");
    on.remove(&id)
}

fn docker_updates_limits(on: &On<'_>) -> Result<()> {
    let id = on.busybox(&["--init", "-m", "64m"], &["sleep", "1000"])?;
    on.docker.run(&["update", "-m", "128m", "--memory-swap", "256m", "--restart", "on-failure:2", &id])?.success()?;
    let seen = on.docker.text(&["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy}}", &id])?;
    ensure!(seen == format!("{} {{on-failure 2}}", 128 << 20), "{seen}");
    on.remove(&id)
}

fn docker_tells_health(on: &On<'_>) -> Result<()> {
    let check = ["--init", "--health-cmd", "test -e /tmp", "--health-interval", "100ms", "--health-timeout", "5s"];
    let id = on.busybox(&check, &["sleep", "1000"])?;
    wait::until("it is healthy", || {
        Ok(on.docker.text(&["ps", "--filter", &format!("id={id}"), "--format", "{{.Status}}"])?.ends_with("(healthy)"))
    })?;
    on.remove(&id)
}
