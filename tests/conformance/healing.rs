//! Restart policies: who is started again, how often, and what ends it.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, encoded};
use proa_tests::container::Container;
use proa_tests::{Suite, Under, cases, wait};
use serde_json::Value;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            no_policy_restarts_nothing,
            on_failure_tries_as_often_as_it_was_told,
            on_failure_leaves_a_success_alone,
            always_restarts_whatever_the_end_was,
            stop_ends_a_restarting_container,
            kill_by_hand_is_no_failure,
            a_container_that_waits_for_its_next_run_is_shown_so,
            a_waiting_container_is_removed_by_force_only,
            start_by_hand_counts_from_zero,
            wait_ends_with_each_run,
            every_run_is_in_the_log,
            rm_and_restart_exclude_each_other,
            a_wrong_policy_is_refused,
            verbs_at_any_moment_of_a_restarting_container_are_answered,
        ],
    );
}

/// A GET whose target may hold what a filter holds.
fn get(under: &Under, target: &str) -> Result<Answer> {
    under.node.get(&encoded(target))
}

fn policy<'a>(under: &'a Under, policy: &str, guest: &[&str]) -> Result<Container<'a>> {
    under.node.detached(under.isolation, &["--restart", policy], guest)
}

fn status(container: &Container<'_>) -> Result<String> {
    Ok(container.inspect()?["State"]["Status"].as_str().unwrap_or_default().to_owned())
}

fn count(container: &Container<'_>) -> Result<u64> {
    container.inspect()?["RestartCount"].as_u64().context("`RestartCount` is a number")
}

fn restarted(container: &Container<'_>, times: u64) -> Result<()> {
    wait::until(&format!("it was restarted {times} times"), || Ok(count(container)? >= times))
}

fn no_policy_restarts_nothing(under: &Under) -> Result<()> {
    let container = policy(under, "no", &["exit", "1"])?;
    ensure!(container.ended()?["ExitCode"] == 1);
    ensure!(count(&container)? == 0);
    Ok(())
}

fn on_failure_tries_as_often_as_it_was_told(under: &Under) -> Result<()> {
    let container = policy(under, "on-failure:2", &["exit", "1"])?;
    let state = container.ended()?;
    ensure!(state["ExitCode"] == 1 && state["Restarting"] == false, "{state}");
    ensure!(count(&container)? == 2);
    Ok(())
}

fn on_failure_leaves_a_success_alone(under: &Under) -> Result<()> {
    let container = policy(under, "on-failure", &["exit", "0"])?;
    ensure!(container.ended()?["ExitCode"] == 0);
    ensure!(count(&container)? == 0);
    Ok(())
}

fn always_restarts_whatever_the_end_was(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["exit", "0"])?;
    restarted(&container, 3)?;
    container.proa(&["stop"])?.success()?;
    ensure!(status(&container)? == "exited");
    Ok(())
}

fn stop_ends_a_restarting_container(under: &Under) -> Result<()> {
    let container = policy(under, "unless-stopped", &["exit", "1"])?;
    restarted(&container, 2)?;
    container.proa(&["stop"])?.success()?;
    let state = container.inspect()?["State"].clone();
    ensure!(state["Status"] == "exited" && state["Running"] == false && state["Restarting"] == false, "{state}");
    let before = count(&container)?;
    // The next run would have come by now.
    let other = policy(under, "always", &["exit", "1"])?;
    restarted(&other, before.max(3))?;
    ensure!(count(&container)? == before && status(&container)? == "exited");
    Ok(())
}

fn kill_by_hand_is_no_failure(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["tick", "0.1"])?;
    container.shows("a tick", |logs| logs.contains("tick 1"))?;
    container.proa(&["kill"])?.success()?;
    ensure!(container.ended()?["ExitCode"] == 137);
    ensure!(count(&container)? == 0);
    Ok(())
}

fn a_container_that_waits_for_its_next_run_is_shown_so(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["exit", "1"])?;
    let state = wait::found("it waits for its next run", wait::PATIENCE, || {
        let state = container.inspect()?["State"].clone();
        Ok((state["Status"] == "restarting").then_some(state))
    })?;
    ensure!(state["Running"] == true && state["Restarting"] == true && state["ExitCode"] == 1, "{state}");
    wait::until("`ps` shows it", || {
        let listed = get(under, &format!("/containers/json?filters={{\"id\":[\"{}\"]}}", container.id()))?.json()?;
        let one = &listed[0];
        Ok(one["State"] == "restarting"
            && one["Status"].as_str().is_some_and(|words| words.starts_with("Restarting (1) ")))
    })?;
    wait::until("starting it by hand changes nothing", || {
        let answer = under.node.post(&format!("/containers/{}/start", container.id()), "application/json", b"")?;
        Ok(answer.status == 304)
    })
}

fn a_waiting_container_is_removed_by_force_only(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["exit", "1"])?;
    restarted(&container, 3)?;
    container.proa(&["rm"])?.refused(1, &["stop the container before removing or force remove"])?;
    container.proa(&["rm", "-f"])?.success()?;
    container.proa(&["inspect"])?.refused(1, &["no such"])?;
    Ok(())
}

fn start_by_hand_counts_from_zero(under: &Under) -> Result<()> {
    let container = policy(under, "on-failure:1", &["exit", "1"])?;
    container.ended()?;
    wait::until("it was restarted", || Ok(count(&container)? == 1 && status(&container)? == "exited"))?;
    let before = container.inspect()?["State"]["StartedAt"].clone();
    container.proa(&["start"])?.success()?;
    wait::until("it runs again, and was restarted again", || {
        let inspect = container.inspect()?;
        let again = inspect["State"]["StartedAt"] != before && inspect["State"]["Status"] == "exited";
        Ok(again && inspect["RestartCount"] == 1)
    })
}

fn wait_ends_with_each_run(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["exit", "1"])?;
    for _ in 0..2 {
        ensure!(container.wait()? == 1);
    }
    Ok(())
}

fn every_run_is_in_the_log(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["out", "one run"])?;
    restarted(&container, 2)?;
    container.shows("three runs", |logs| logs.lines().filter(|line| *line == "one run").count() >= 3)
}

/// Whoever stops, starts, kills and waits while a policy restarts is answered, and the last word holds.
fn verbs_at_any_moment_of_a_restarting_container_are_answered(under: &Under) -> Result<()> {
    let container = policy(under, "always", &["exit", "0"])?;
    let (node, id) = (under.node, container.id());
    std::thread::scope(|scope| -> Result<()> {
        let all: Vec<_> = ["stop?t=1", "start", "kill", "restart?t=1", "wait", "wait?condition=next-exit"]
            .into_iter()
            .map(|verb| {
                scope.spawn(move || -> Result<()> {
                    for round in 0..6 {
                        let answer = node.post(&format!("/containers/{id}/{verb}"), "application/json", b"")?;
                        let known = matches!(answer.status, 200 | 204 | 304 | 409);
                        ensure!(known, "{verb}, round {round}: {} {}", answer.status, answer.text());
                    }
                    Ok(())
                })
            })
            .collect();
        // Waiters for a next end have one as long as somebody starts it.
        while !all.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            node.post(&format!("/containers/{id}/start"), "application/json", b"")?;
        }
        all.into_iter().try_for_each(|verb| verb.join().map_err(|_| anyhow::anyhow!("a verb panicked"))?)
    })?;
    container.proa(&["stop", "-t", "1"])?.success()?;
    ensure!(container.inspect()?["State"]["Running"] == false);
    let before = count(&container)?;
    container.proa(&["start"])?.success()?;
    wait::until("its policy holds again", || Ok(count(&container)? > 0))?;
    ensure!(before <= 1000);
    container.proa(&["rm", "-f"])?.success()?;
    Ok(())
}

fn rm_and_restart_exclude_each_other(under: &Under) -> Result<()> {
    let image = under.node.probe()?;
    let body = serde_json::json!({ "Image": image, "HostConfig": { "AutoRemove": true,
        "Isolation": under.isolation.name(), "RestartPolicy": { "Name": "always" } } });
    refused(under, &body, "can't create 'AutoRemove' container with restart policy")
}

fn a_wrong_policy_is_refused(under: &Under) -> Result<()> {
    let image = under.node.probe()?;
    for (policy, sentence) in [
        (serde_json::json!({ "Name": "always", "MaximumRetryCount": 2 }), "maximum retry count"),
        (serde_json::json!({ "Name": "on-failure", "MaximumRetryCount": -1 }), "cannot be negative"),
    ] {
        let body = serde_json::json!({ "Image": image,
            "HostConfig": { "Isolation": under.isolation.name(), "RestartPolicy": policy } });
        refused(under, &body, sentence)?;
    }
    Ok(())
}

fn refused(under: &Under, body: &Value, sentence: &str) -> Result<()> {
    let answer = under.node.post("/containers/create", "application/json", &serde_json::to_vec(body)?)?;
    ensure!(answer.status == 400 && answer.text().contains(sentence), "{}: {}", answer.status, answer.text());
    Ok(())
}
