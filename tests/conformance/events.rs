//! `GET /events`: what happens to containers, in Docker's names.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, encoded};
use proa_tests::node::fresh_name;
use proa_tests::{Need, Suite, Under, cases, guest};
use serde_json::Value;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            a_container_s_life_is_told_in_order,
            the_end_says_code_and_duration,
            kill_says_its_signal,
            a_restart_by_policy_is_a_start,
            networks_are_joined_and_left,
            too_much_memory_is_told_before_the_end,
            filters_narrow_the_events,
            times_are_taken_in_every_form,
        ],
    );
    suite.under(super::NATIVE, &[Need::Peer("busybox")], cases![execs_are_told_with_their_command]);
}

/// A GET whose target may hold what a filter holds.
fn get(under: &Under, target: &str) -> Result<Answer> {
    under.node.get(&encoded(target))
}

/// All that is remembered of one container.
fn events(under: &Under, container: &str, more: &str) -> Result<Vec<Value>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let target = format!("/events?since=1&until={until}&filters={{\"container\":[\"{container}\"]{more}}}");
    let text = get(under, &target)?.success()?.text();
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["Action"].as_str()).collect()
}

fn a_container_s_life_is_told_in_order(under: &Under) -> Result<()> {
    let name = fresh_name("told");
    let container = under.node.detached(under.isolation, &["--name", &name, "--label", "tier=web"], &["exit", "1"])?;
    ensure!(container.wait()? == 1);
    container.proa(&["rm"])?.success()?;
    let all = events(under, container.id(), "")?;
    let of_container: Vec<Value> = all.into_iter().filter(|event| event["Type"] == "container").collect();
    ensure!(actions(&of_container) == ["create", "start", "die", "destroy"], "{:?}", actions(&of_container));
    for event in &of_container {
        let attributes = &event["Actor"]["Attributes"];
        ensure!(event["Actor"]["ID"] == container.id() && event["scope"] == "local", "{event}");
        ensure!(attributes["name"] == name.as_str() && attributes["tier"] == "web", "{event}");
        ensure!(event["status"] == event["Action"] && event["id"] == container.id(), "{event}");
        ensure!(event["timeNano"].as_i64() > event["time"].as_i64(), "{event}");
    }
    Ok(())
}

fn the_end_says_code_and_duration(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["exit", "1"])?;
    ensure!(container.wait()? == 1);
    let all = events(under, container.id(), ",\"event\":[\"die\"]")?;
    let attributes = &all.first().context("it died")?["Actor"]["Attributes"];
    ensure!(attributes["exitCode"] == "1" && attributes["execDuration"] == "0", "{attributes}");
    Ok(())
}

fn kill_says_its_signal(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    container.shows("a tick", |logs| logs.contains("tick 1"))?;
    container.proa(&["kill"])?.success()?;
    container.wait()?;
    let all = events(under, container.id(), ",\"event\":[\"kill\"]")?;
    ensure!(all.first().context("it was killed")?["Actor"]["Attributes"]["signal"] == "9", "{all:?}");
    Ok(())
}

fn a_restart_by_policy_is_a_start(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["--restart", "on-failure:1"], &["exit", "1"])?;
    proa_tests::wait::until("it was restarted", || {
        let inspect = container.inspect()?;
        Ok(inspect["RestartCount"] == 1 && inspect["State"]["Status"] == "exited")
    })?;
    let all = events(under, container.id(), ",\"type\":[\"container\"]")?;
    ensure!(actions(&all) == ["create", "start", "die", "start", "die"], "{:?}", actions(&all));
    Ok(())
}

fn too_much_memory_is_told_before_the_end(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "32m"], &["hold", "200"])?;
    container.wait()?;
    let killed = container.inspect()?["State"]["OOMKilled"] == true;
    let all = events(under, container.id(), ",\"event\":[\"oom\",\"die\"]")?;
    let expected: &[&str] = if killed { &["oom", "die"] } else { &["die"] };
    ensure!(actions(&all) == expected, "{:?}, killed: {killed}", actions(&all));
    Ok(())
}

fn networks_are_joined_and_left(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["--network", "none"], &["exit", "0"])?;
    container.wait()?;
    let of_container = |event: &Value| event["Actor"]["Attributes"]["container"] == container.id();
    proa_tests::wait::until("it was connected and disconnected", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
        let target = format!("/events?since=1&until={now}&filters={{\"type\":[\"network\"],\"network\":[\"none\"]}}");
        let text = get(under, &target)?.success()?.text();
        let all: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let own: Vec<Value> = all.into_iter().filter(of_container).collect();
        Ok(actions(&own) == ["connect", "disconnect"])
    })
}

fn filters_narrow_the_events(under: &Under) -> Result<()> {
    let label = fresh_name("label");
    let container = under.node.detached(under.isolation, &["--label", &label], &["exit", "0"])?;
    container.wait()?;
    let narrowed = events(under, container.id(), &format!(",\"label\":[\"{label}\"],\"event\":[\"start\",\"die\"]"))?;
    ensure!(actions(&narrowed) == ["start", "die"], "{narrowed:?}");
    let none = events(under, container.id(), ",\"type\":[\"volume\"],\"label\":[\"nobody\"]")?;
    ensure!(none.is_empty(), "{none:?}");
    let refused = get(under, "/events?until=1&filters={\"colour\":[\"red\"]}")?;
    ensure!(refused.status == 400, "{}", refused.status);
    Ok(())
}

fn times_are_taken_in_every_form(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["exit", "0"])?;
    container.wait()?;
    for (since, until) in [("1", "4"), ("1.5", "4.25"), ("1970-01-01T00:00:01Z", "1970-01-01T00:00:04.5Z")] {
        let text = get(under, &format!("/events?since={since}&until={until}"))?.success()?.text();
        ensure!(text.is_empty(), "{since} to {until}: {text}");
    }
    for target in ["/events?since=yesterday&until=1", "/events?since=1&until=x", "/events?since=5&until=4"] {
        ensure!(get(under, target)?.status == 400, "{target}");
    }
    Ok(())
}

fn execs_are_told_with_their_command(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags = ["--isolation", under.isolation.name()];
    let container = under.node.detached_image(&flags, &busybox, &["sleep", "1000"])?;
    under.node.proa(&["exec", container.id(), "sh", "-c", "exit 4"])?.exits(4)?;
    let all = events(under, container.id(), ",\"event\":[\"exec_create\",\"exec_start\",\"exec_die\"]")?;
    let expected = ["exec_create: sh -c exit 4", "exec_start: sh -c exit 4", "exec_die"];
    ensure!(actions(&all) == expected, "{:?}", actions(&all));
    let attributes = &all[2]["Actor"]["Attributes"];
    ensure!(
        attributes["exitCode"] == "4" && attributes["execID"].as_str().is_some_and(|id| id.len() == 64),
        "{attributes}"
    );
    Ok(())
}
