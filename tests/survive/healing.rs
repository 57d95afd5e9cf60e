//! Healing, logs and records over the deaths of hosts.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::container::Container;
use proa_tests::{Isolation, Need, Node, Suite, Under, cases, guest, wait};
use serde_json::Value;

use crate::{whole, with_node};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            restarts_go_on_under_the_next_host,
            an_end_while_the_host_was_away_is_answered_by_the_policy,
            a_host_that_starts_starts_what_is_wanted_always,
            a_rotating_log_loses_nothing_while_hosts_are_killed,
            a_record_that_cannot_be_read_is_named_and_costs_nothing_else,
            a_host_told_to_go_under_load_goes_in_peace,
        ],
    );
    suite.under(
        &[Isolation::Linux, Isolation::LinuxUserns],
        &[Need::Peer("busybox")],
        cases![health_is_looked_after_by_the_next_host],
    );
}

fn count(container: &Container<'_>) -> Result<u64> {
    container.inspect()?["RestartCount"].as_u64().context("`RestartCount` is a number")
}

fn started(container: &Container<'_>) -> Result<Value> {
    Ok(container.inspect()?["State"]["StartedAt"].clone())
}

fn is(container: &Container<'_>, status: &str) -> Result<bool> {
    Ok(container.inspect()?["State"]["Status"] == status)
}

fn restarts_go_on_under_the_next_host(under: &Under) -> Result<()> {
    with_node(|node| {
        let container = node.detached(under.isolation, &["--restart", "always"], &["exit", "1"])?;
        for _ in 0..3 {
            let before = count(&container)?;
            wait::until("it is restarted", || Ok(count(&container)? > before))?;
            node.restart()?;
        }
        let before = count(&container)?;
        wait::until("it is restarted once more", || Ok(count(&container)? > before))?;
        container.proa(&["stop"])?.success()?;
        ensure!(is(&container, "exited")?);
        Ok(())
    })
}

fn an_end_while_the_host_was_away_is_answered_by_the_policy(under: &Under) -> Result<()> {
    with_node(|node| {
        let again = node.detached(under.isolation, &["--restart", "unless-stopped"], &["sleep", "0.2"])?;
        let over = node.detached(under.isolation, &["--restart", "on-failure"], &["sleep", "0.2"])?;
        let before = started(&again)?;
        node.restart()?;
        wait::until("it runs again", || Ok(started(&again)? != before))?;
        ensure!(over.ended()?["ExitCode"] == 0 && count(&over)? == 0);
        Ok(())
    })
}

fn a_host_that_starts_starts_what_is_wanted_always(under: &Under) -> Result<()> {
    with_node(|node| {
        let run = |policy: &str| node.detached(under.isolation, &["--restart", policy], &["tick", "0.05"]);
        let (no, failing, always, unless) = (run("no")?, run("on-failure")?, run("always")?, run("unless-stopped")?);
        let (stopped, stopped_always) = (run("unless-stopped")?, run("always")?);
        let created = node.proa(&[
            "create",
            "--restart",
            "always",
            "--isolation",
            under.isolation.name(),
            node.probe()?,
            "tick",
            "1",
        ])?;
        let created = created.success()?.text();
        for container in [&stopped, &stopped_always] {
            container.proa(&["stop", "-t", "1"])?.success()?;
        }
        node.proa(&["system", "stop"])?.success()?;
        node.forget()?;
        node.wake()?;
        for container in [&always, &unless, &stopped_always] {
            wait::until("it is started with its host", || is(container, "running"))?;
        }
        for container in [&no, &failing, &stopped] {
            ensure!(is(container, "exited")?, "{}", container.inspect()?["State"]);
        }
        let never = node.get(&format!("/containers/{created}/json"))?.json()?;
        ensure!(never["State"]["Status"] == "created", "what was never started is not: {}", never["State"]);
        Ok(())
    })
}

/// What is kept of the log follows line by line; each kill may repeat one buffer.
fn a_rotating_log_loses_nothing_while_hosts_are_killed(under: &Under) -> Result<()> {
    const LINES: usize = 3_000_000;
    with_node(|node| {
        let flags = ["--log-opt", "max-size=1m", "--log-opt", "max-file=4"];
        let container = node.detached(under.isolation, &flags, &["lines", &LINES.to_string()])?;
        for _ in 0..3 {
            let before = newest(&container)?;
            wait::until("the log is rotated", || Ok(newest(&container)? != before || is(&container, "exited")?))?;
            node.restart()?;
        }
        ensure!(container.wait()? == 0);
        let lines = container.logs()?.lines();
        let first = lines.iter().position(|line| line.starts_with("line ")).context("whole lines")?;
        let begin: usize = lines[first].trim_start_matches("line ").parse()?;
        ensure!(lines.len() > 100_000, "{} lines are kept", lines.len());
        // What is kept counts from its own beginning.
        let shifted: Vec<String> = lines[first..]
            .iter()
            .map(|line| match line.strip_prefix("line ").and_then(|rest| rest.parse::<usize>().ok()) {
                Some(number) if number >= begin => format!("line {}", number + 1 - begin),
                _ => line.clone(),
            })
            .collect();
        whole(&shifted, "line ", LINES + 1 - begin, 3)
    })
}

/// The name of the log file that is written.
fn newest(container: &Container<'_>) -> Result<String> {
    let path = container.inspect()?["LogPath"].as_str().context("`LogPath` is text")?.to_owned();
    let folder = std::path::Path::new(&path).parent().context("a log lies in a folder")?;
    let names = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.starts_with("log")).max().unwrap_or_default())
}

fn a_record_that_cannot_be_read_is_named_and_costs_nothing_else(under: &Under) -> Result<()> {
    with_node(|node| {
        let hit = node.detached(under.isolation, &[], &["tick", "0.05"])?;
        let other = node.detached(under.isolation, &[], &["tick", "0.05"])?;
        hit.shows("a tick", |logs| logs.contains("tick 1"))?;
        let process = hit.outside()?;
        let path = node.root().join("containers").join(hit.id()).join("container.json");
        node.kill()?;
        let whole = fs::read(&path)?;
        let mut torn = whole.clone();
        torn[whole.len() / 2] ^= 4;
        fs::write(&path, &torn)?;
        node.wake()?;
        let info = node.get("/info")?.success()?.json()?;
        let warnings = info["Warnings"].as_array().cloned().unwrap_or_default();
        ensure!(warnings.iter().any(|one| one.as_str().is_some_and(|text| text.contains(hit.id()))), "{warnings:?}");
        ensure!(node.get(&format!("/containers/{}/json", hit.id()))?.status == 404);
        ensure!(other.inspect()?["State"]["Running"] == true);
        ensure!(process.lives(), "a guest was ended because its record was damaged");
        ensure!(fs::read(&path)? == torn, "the damaged record was touched");
        // What it was made of is not for others to take away.
        other.proa(&["rm", "-f"])?.success()?;
        node.proa(&["rmi", "-f", node.probe()?])?.keeps_its_composure()?;
        node.post("/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D", "application/json", b"")?
            .success()?;
        node.kill()?;
        fs::write(&path, &whole)?;
        node.wake()?;
        ensure!(hit.outside()?.pid() == process.pid(), "with its record it is itself again");
        let seen = hit.logs()?.lines().len();
        hit.shows("new ticks", |logs| logs.lines().count() > seen + 5)?;
        hit.proa(&["restart", "-t", "1"])?.success().map(drop)
    })
}

/// SIGTERM while guests print, end and are restarted, and clients hang on: the host ends with 0, in time, and the next one
/// goes on.
fn a_host_told_to_go_under_load_goes_in_peace(under: &Under) -> Result<()> {
    with_node(|node| {
        let flags = ["--log-opt", "max-size=64k", "--log-opt", "max-file=2"];
        let loud = node.detached(under.isolation, &flags, &["tick", "0"])?;
        let restless = node.detached(under.isolation, &["--restart", "always"], &["exit", "1"])?;
        let follower = loud.start(&["logs", "-f"])?;
        let waiter = loud.start(&["wait"])?;
        follower.shows("ticks", |seen| seen.lines().count() > 1000)?;
        for _ in 0..3 {
            let before = count(&restless)?;
            wait::until("it is restarted", || Ok(count(&restless)? > before))?;
            node.terminate()?;
            node.wake()?;
        }
        follower.finish(wait::PATIENCE)?.keeps_its_composure()?;
        waiter.finish(wait::PATIENCE)?.keeps_its_composure()?;
        let last = |container: &Container<'_>| -> Result<u64> {
            let lines = container.proa(&["logs", "-n", "1"])?.success()?.text();
            Ok(lines.trim_start_matches("tick ").parse().unwrap_or(0))
        };
        let seen = last(&loud)?;
        wait::until("it ticks on", || Ok(last(&loud)? > seen))?;
        loud.proa(&["kill"])?.success()?;
        restless.proa(&["stop"])?.success()?;
        Ok(())
    })
}

fn health_is_looked_after_by_the_next_host(under: &Under) -> Result<()> {
    with_node(|node| {
        let busybox = guest::busybox(node)?;
        let body = serde_json::json!({ "Image": busybox, "Cmd": ["sleep", "1000"],
            "Healthcheck": { "Test": ["CMD", "cat", "/well"], "Interval": 100_000_000, "Retries": 1 },
            "HostConfig": { "Isolation": under.isolation.name() } });
        let container = node.create(&body)?.container;
        container.proa(&["start"])?.success()?;
        let feels = |feeling: &str| {
            wait::until(
                &format!("it is {feeling}"),
                || Ok(container.inspect()?["State"]["Health"]["Status"] == feeling),
            )
        };
        feels("unhealthy")?;
        node.restart()?;
        exec(node, container.id(), &["touch", "/well"])?;
        feels("healthy")?;
        let begins = |at: fn(&[Value]) -> Option<&Value>| -> Result<String> {
            let health = container.inspect()?["State"]["Health"].clone();
            ensure!(health["Status"] == "healthy", "it is not healthy: {health}");
            let answer = health["Log"].as_array().and_then(|log| at(log)).context("there are answers")?;
            Ok(answer["Start"].as_str().context("`Start` is a time")?.to_owned())
        };
        let last = begins(|log| log.last())?;
        node.restart()?;
        ensure!(begins(|log| log.first())? < last, "what was found before is forgotten");
        feels("healthy")
    })
}

fn exec(node: &Node, container: &str, words: &[&str]) -> Result<()> {
    node.proa(&[&["exec", container], words].concat())?.success().map(drop)
}
