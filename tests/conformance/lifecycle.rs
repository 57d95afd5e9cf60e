//! From `run` to `rm`, with Docker's words and exit codes.

use anyhow::{Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{Suite, Under, cases};
use serde_json::Value;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            run_shows_what_the_guest_prints,
            a_detached_guest_goes_on_by_itself,
            a_name_is_taken_once,
            stop_ends_a_guest_that_computes_for_ever,
            kill_ends_a_guest_at_once,
            rm_wants_force_for_a_running_container,
            rm_option_leaves_no_container,
            an_ended_container_keeps_its_exit_code,
            wait_returns_when_the_guest_ends,
            inspect_shows_what_was_asked_for,
            ps_lists_in_docker_s_forms,
            several_verbs_take_several_containers,
            twenty_guests_run_beside_each_other,
        ],
    );
}

fn run_shows_what_the_guest_prints(under: &Under) -> Result<()> {
    let output = under.node.run(under.isolation, &[], &["out", "hello from inside"])?.success()?;
    ensure!(output.stdout == b"hello from inside\n" && output.stderr.is_empty(), "{output}");
    Ok(())
}

fn a_detached_guest_goes_on_by_itself(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.02"])?;
    container.shows("three ticks", |logs| logs.contains("tick 3"))?;
    let listed = under.node.proa(&["ps", "-q", "--no-trunc"])?.success()?;
    ensure!(listed.lines().iter().any(|line| line == container.id()), "`ps` does not list it: {listed}");
    ensure!(container.inspect()?["State"]["Running"] == true);
    Ok(())
}

fn a_name_is_taken_once(under: &Under) -> Result<()> {
    let name = fresh_name("taken");
    let first = under.node.detached(under.isolation, &["--name", &name], &["tick", "1"])?;
    let second = under.node.run(under.isolation, &["--name", &name], &["out", "x"])?;
    second.refused(125, &[&name, "in use"])?;
    first.proa(&["rm", "-f"])?.success()?;
    under.node.run(under.isolation, &["--name", &name], &["out", "x"])?.success()?;
    Ok(())
}

fn stop_ends_a_guest_that_computes_for_ever(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["spin"])?;
    let stopped = container.proa(&["stop", "-t", "1"])?.success()?;
    ensure!(stopped.text() == container.id(), "`stop` prints what it stopped: {stopped}");
    let state = container.inspect()?["State"].clone();
    ensure!(state["Running"] == false, "{state}");
    // A native guest that is PID 1 and has no handler ignores SIGTERM and is killed after the grace.
    ensure!(state["ExitCode"] == 143 || state["ExitCode"] == 137, "{state}");
    Ok(())
}

fn kill_ends_a_guest_at_once(under: &Under) -> Result<()> {
    for guest in [&["spin"][..], &["sleep", "1000"], &["tick", "1"]] {
        let container = under.node.detached(under.isolation, &[], guest)?;
        container.proa(&["kill"])?.success()?;
        let code = container.wait()?;
        ensure!(code == 137, "`{}` ended with {code} after `kill`", guest.join(" "));
    }
    Ok(())
}

fn rm_wants_force_for_a_running_container(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    container.proa(&["rm"])?.refused(1, &["running"])?;
    ensure!(container.inspect()?["State"]["Running"] == true);
    container.proa(&["rm", "-f"])?.success()?;
    container.proa(&["inspect"])?.refused(1, &["no such", container.id()])?;
    container.proa(&["rm"])?.refused(1, &["no such", container.id()])?;
    Ok(())
}

fn rm_option_leaves_no_container(under: &Under) -> Result<()> {
    let name = fresh_name("gone");
    under.node.run(under.isolation, &["--name", &name], &["exit", "0"])?.success()?;
    let listed = under.node.proa(&["ps", "-a", "--format", "{{.Names}}"])?.success()?;
    ensure!(!listed.lines().contains(&name), "{listed}");
    Ok(())
}

fn an_ended_container_keeps_its_exit_code(under: &Under) -> Result<()> {
    let name = fresh_name("ended");
    let probe = under.node.probe()?;
    let line = ["run", "--name", &name, "--isolation", under.isolation.name(), probe, "exit", "1"];
    under.node.proa(&line)?.exits(1)?;
    let listed = under.node.proa(&["ps", "-a", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?;
    ensure!(listed.text().starts_with("Exited (1) "), "{listed}");
    let removed = under.node.proa(&["rm", &name])?.success()?;
    ensure!(removed.text() == name, "`rm` prints what it removed: {removed}");
    Ok(())
}

fn wait_returns_when_the_guest_ends(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-i"], &["cat"])?;
    let waiting = container.start(&["wait"])?;
    container.proa(&["kill"])?.success()?;
    let output = waiting.finish(proa_tests::wait::PATIENCE)?.success()?;
    ensure!(output.text() == "137", "{output}");
    ensure!(container.wait()? == 137, "a second `wait`, after the end, is told the same");
    Ok(())
}

fn inspect_shows_what_was_asked_for(under: &Under) -> Result<()> {
    let name = fresh_name("inspected");
    let flags = ["--name", &name, "-e", "COLOUR=red", "-l", "crew=two"];
    let container = under.node.detached(under.isolation, &flags, &["tick", "1"])?;
    let seen = container.inspect()?;
    ensure!(seen["Name"] == format!("/{name}"), "{seen}");
    ensure!(seen["HostConfig"]["Isolation"] == under.isolation.name(), "{}", seen["HostConfig"]);
    ensure!(has(&seen["Config"]["Env"], "COLOUR=red"), "{}", seen["Config"]);
    ensure!(seen["Config"]["Labels"]["crew"] == "two", "{}", seen["Config"]);
    ensure!(has(&seen["Config"]["Cmd"], "tick"), "{}", seen["Config"]);
    ensure!(seen["State"]["Status"] == "running" && seen["State"]["Pid"].as_u64() > Some(0), "{}", seen["State"]);
    ensure!(seen["Image"].as_str().is_some_and(|image| image.starts_with("sha256:")), "{}", seen["Image"]);
    let name_by_id = container.proa(&["inspect", "--format", "{{.Name}}"])?.success()?;
    ensure!(name_by_id.text() == format!("/{name}"), "{name_by_id}");
    Ok(())
}

fn has(list: &Value, text: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|item| item == text))
}

fn ps_lists_in_docker_s_forms(under: &Under) -> Result<()> {
    let name = fresh_name("listed");
    let container = under.node.detached(under.isolation, &["--name", &name], &["tick", "1"])?;
    let table = under.node.proa(&["ps"])?.success()?;
    ensure!(table.text().starts_with("CONTAINER ID   IMAGE"), "{table}");
    let row = table.lines().into_iter().find(|line| line.ends_with(&name)).unwrap_or_default();
    ensure!(row.starts_with(&container.id()[..12]) && row.contains("Up "), "{table}");
    let json = under.node.proa(&["ps", "--format", "json"])?.success()?;
    let rows: Vec<Value> = json.lines().iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    ensure!(rows.iter().any(|row| row["Names"] == name && row["State"] == "running"), "{json}");
    Ok(())
}

fn several_verbs_take_several_containers(under: &Under) -> Result<()> {
    let one = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let two = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let both = [one.id(), two.id()];
    let killed = under.node.proa(&[&["kill"][..], &both].concat())?.success()?;
    ensure!(killed.lines() == both, "{killed}");
    let waited = under.node.proa(&[&["wait"][..], &both].concat())?.success()?;
    ensure!(waited.lines() == ["137", "137"], "{waited}");
    let removed = under.node.proa(&[&["rm"][..], &both].concat())?.success()?;
    ensure!(removed.lines() == both, "{removed}");
    Ok(())
}

fn twenty_guests_run_beside_each_other(under: &Under) -> Result<()> {
    let guests: Vec<_> =
        (0..20).map(|_| under.node.detached(under.isolation, &[], &["tick", "0.2"])).collect::<Result<_>>()?;
    for guest in &guests {
        guest.shows("a tick", |logs| logs.contains("tick 1"))?;
    }
    let ids: Vec<&str> = guests.iter().map(|guest| guest.id()).collect();
    under.node.proa(&[&["rm", "-f"][..], &ids].concat())?.success()?;
    Ok(())
}
