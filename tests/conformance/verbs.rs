//! What can be asked of a container that is there: pause, update, top, stats, rename, restart, judged through the API.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, Conversation};
use proa_tests::node::fresh_name;
use proa_tests::{Container, Isolation, Need, Node, Suite, Under, cases, guest, wait};
use serde_json::{Value, json};

use crate::{NATIVE, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[Need::Cgroups],
        cases![
            a_paused_guest_stands_still_and_goes_on,
            a_paused_guest_is_killed_and_stopped,
            a_paused_guest_takes_no_program_and_no_second_pause,
            a_paused_guest_survives_its_host,
            stats_count_the_guest_and_carry_the_sample_before,
            a_stream_of_stats_ends_with_its_container,
            memory_is_updated_while_it_runs_and_while_it_does_not,
        ],
    );
    suite.under_all(
        &[],
        cases![
            an_update_that_makes_no_sense_changes_nothing,
            a_restart_policy_is_updated,
            a_renamed_container_goes_by_its_new_name_only,
            restart_tells_its_story_in_docker_s_order,
            a_container_that_would_be_removed_is_restarted,
        ],
    );
    suite.under(
        NATIVE,
        &[Need::Cgroups, Need::Peer("busybox")],
        cases![limits_are_files_of_its_cgroup, top_shows_all_of_it],
    );
    suite.under(NATIVE, &[Need::Peer("busybox")], cases![a_terminal_is_left_by_keys]);
    suite.under(WASM, &[], cases![top_shows_a_guest_as_itself, what_a_wasm_guest_cannot_have_is_said]);
    suite.add(&[], cases![detach_keys_that_do_not_exist_are_refused]);
}

fn post(node: &Node, target: &str, body: &Value) -> Result<Answer> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    node.post(target, "application/json", text.as_bytes())
}

/// `POST /containers/ID/VERB`.
fn ask(under: &Under, container: &Container<'_>, verb: &str) -> Result<Answer> {
    post(under.node, &format!("/containers/{}/{verb}", container.id()), &Value::Null)
}

fn refused(answer: Answer, status: u16, words: &str) -> Result<()> {
    ensure!(answer.status == status, "{} {}", answer.status, answer.text());
    let message = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
    ensure!(message.contains(words) && !message.contains('\n'), "`{words}` is not in `{message}`");
    Ok(())
}

fn ticks(container: &Container<'_>) -> Result<usize> {
    Ok(container.logs()?.lines().len())
}

/// How many lines it prints while three of a neighbour's are seen.
fn ticks_meanwhile(under: &Under, container: &Container<'_>) -> Result<usize> {
    let neighbour = under.node.detached(under.isolation, &[], &["tick", "0.05"])?;
    let before = ticks(container)?;
    neighbour.shows("that time goes on", |seen| seen.contains("tick 8"))?;
    Ok(ticks(container)? - before)
}

fn a_paused_guest_stands_still_and_goes_on(under: &Under) -> Result<()> {
    for args in [&["tick", "0.02"][..], &["spin"]] {
        let container = under.node.detached(under.isolation, &[], args)?;
        if args[0] == "tick" {
            container.shows("ticks", |seen| seen.contains("tick 3"))?;
        }
        ask(under, &container, "pause")?.success()?;
        let seen = container.inspect()?["State"].clone();
        ensure!(seen["Status"] == "paused" && seen["Paused"] == true && seen["Running"] == true, "{seen}");
        let listed =
            under.node.proa(&["ps", "--filter", &format!("id={}", container.id()), "--format", "{{.Status}}"])?;
        ensure!(listed.text().starts_with("Up ") && listed.text().ends_with("(Paused)"), "{listed}");
        refused(ask(under, &container, "pause")?, 409, "already paused")?;
        if args[0] == "tick" {
            // What it had printed before may still be on its way.
            ticks_meanwhile(under, &container)?;
            ensure!(ticks_meanwhile(under, &container)? == 0, "a paused guest prints");
        } else {
            let before = used(under, &container)?;
            ticks_meanwhile(under, &container)?;
            let spent = used(under, &container)?.saturating_sub(before);
            ensure!(spent < 50_000_000, "a paused guest computed for {spent} ns");
        }
        ask(under, &container, "unpause")?.success()?;
        let seen = container.inspect()?["State"].clone();
        ensure!(seen["Status"] == "running" && seen["Paused"] == false, "{seen}");
        if args[0] == "tick" {
            let count = ticks(&container)?;
            wait::until("it ticks again", || Ok(ticks(&container)? > count))?;
        } else {
            let before = used(under, &container)?;
            wait::until("it computes again", || Ok(used(under, &container)? > before + 10_000_000))?;
        }
        refused(ask(under, &container, "unpause")?, 500, "is not paused")?;
        container.proa(&["kill"])?.success()?;
        container.ended()?;
        refused(ask(under, &container, "unpause")?, 500, "is not paused")?;
        refused(ask(under, &container, "pause")?, 409, "is not running")?;
    }
    Ok(())
}

/// Processor time in nanoseconds.
fn used(under: &Under, container: &Container<'_>) -> Result<u64> {
    let stats = stats(under, container, "stream=0&one-shot=1")?;
    stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().with_context(|| stats.to_string())
}

fn stats(under: &Under, container: &Container<'_>, query: &str) -> Result<Value> {
    under.node.get(&format!("/containers/{}/stats?{query}", container.id()))?.success()?.json()
}

fn a_paused_guest_is_killed_and_stopped(under: &Under) -> Result<()> {
    let paused = || -> Result<Container<'_>> {
        let container = under.node.detached(under.isolation, &[], &["tick", "0.05"])?;
        ask(under, &container, "pause")?.success()?;
        Ok(container)
    };
    let killed = paused()?;
    killed.proa(&["kill"])?.success()?;
    ensure!(killed.wait()? == 137);
    let stopped = paused()?;
    stopped.proa(&["stop", "-t", "1"])?.success()?;
    let state = stopped.inspect()?["State"].clone();
    ensure!(state["Running"] == false && state["Paused"] == false, "{state}");
    ensure!(state["ExitCode"] == 143 || state["ExitCode"] == 137, "{state}");
    let removed = paused()?;
    refused(request(under.node, "DELETE", &format!("/containers/{}", removed.id()))?, 409, "unpause")?;
    removed.proa(&["rm", "-f"])?.success()?;
    Ok(())
}

fn request(node: &Node, method: &str, target: &str) -> Result<Answer> {
    proa_tests::api::request(node.socket(), method, target, "application/json", b"")
}

fn a_paused_guest_takes_no_program_and_no_second_pause(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.05"])?;
    ask(under, &container, "pause")?.success()?;
    let exec = format!("/containers/{}/exec", container.id());
    refused(
        post(under.node, &exec, &json!({ "Cmd": ["out", "x"] }))?,
        409,
        "is paused, unpause the container before exec",
    )?;
    refused(ask(under, &container, "pause")?, 409, "is already paused")?;
    refused(ask(under, &container, "start")?, 409, "cannot start a paused container, try unpause instead")?;
    refused(ask(under, &container, "attach?stream=1&stdout=1")?, 409, "before attach")?;
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    refused(ask(under, &container, "pause")?, 409, "is not running")
}

fn a_paused_guest_survives_its_host(under: &Under) -> Result<()> {
    let node = Node::start()?;
    {
        let container = node.detached(under.isolation, &[], &["tick", "0.02"])?;
        container.shows("ticks", |seen| seen.contains("tick 3"))?;
        post(&node, &format!("/containers/{}/pause", container.id()), &Value::Null)?.success()?;
        node.restart()?;
        let state = container.inspect()?["State"].clone();
        ensure!(state["Status"] == "paused", "{state}");
        post(&node, &format!("/containers/{}/unpause", container.id()), &Value::Null)?.success()?;
        let count = ticks(&container)?;
        wait::until("it ticks again", || Ok(ticks(&container)? > count))?;
    }
    node.close()
}

fn stats_count_the_guest_and_carry_the_sample_before(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "64m"], &["spin"])?;
    wait::until("it computes", || Ok(used(under, &container)? > 0))?;
    let sample = stats(under, &container, "stream=0")?;
    let (now, before) = (&sample["cpu_stats"], &sample["precpu_stats"]);
    let total = |of: &Value| of["cpu_usage"]["total_usage"].as_f64().unwrap_or(0.0);
    let node = |of: &Value| of["system_cpu_usage"].as_f64().unwrap_or(0.0);
    ensure!(total(now) > total(before) && total(before) > 0.0 && node(now) > node(before), "{sample}");
    let cpus = now["online_cpus"].as_f64().unwrap_or(0.0);
    // As `docker stats` reckons it: a guest that spins uses some part of one processor, and no more.
    let percent = (total(now) - total(before)) / (node(now) - node(before)) * cpus * 100.0;
    ensure!(percent > 0.5 && percent < 115.0, "{percent} % of a processor: {sample}");
    let memory = &sample["memory_stats"];
    ensure!(memory["limit"] == 64 << 20 && memory["usage"].as_u64() > Some(0), "{memory}");
    ensure!(memory["stats"].is_object() && sample["pids_stats"].is_object(), "{sample}");
    ensure!(sample["name"].as_str().is_some_and(|name| name.starts_with('/')), "{sample}");
    ensure!(sample["read"].as_str() > sample["preread"].as_str(), "{sample}");
    if !under.isolation.is_wasm() {
        ensure!(sample["pids_stats"]["current"] == 1, "{sample}");
    }
    let first = stats(under, &container, "stream=0&one-shot=1")?;
    ensure!(first["precpu_stats"]["cpu_usage"]["total_usage"] == 0, "{first}");
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    let over = stats(under, &container, "stream=0")?;
    ensure!(over["id"] == container.id() && over["memory_stats"] == json!({}), "{over}");
    Ok(())
}

fn a_stream_of_stats_ends_with_its_container(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.05"])?;
    let target = format!("/containers/{}/stats", container.id());
    let mut stream = Conversation::begin(under.node.socket(), "GET", &target, &[("Connection", "close")], "")?;
    let (status, _) = stream.head()?;
    ensure!(status == 200, "{status}");
    stream.shows("system_cpu_usage")?;
    container.proa(&["rm", "-f"])?.success()?;
    stream.rest().map(drop)
}

fn memory_is_updated_while_it_runs_and_while_it_does_not(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "128m", "-i"], &["cat"])?;
    let update = format!("/containers/{}/update", container.id());
    let answer = post(under.node, &update, &json!({ "Memory": 96 << 20 }))?.success()?.json()?;
    ensure!(answer["Warnings"].as_array().is_some_and(Vec::is_empty), "{answer}");
    ensure!(container.inspect()?["HostConfig"]["Memory"] == 96 << 20);
    ensure!(stats(under, &container, "stream=0&one-shot=1")?["memory_stats"]["limit"] == 96 << 20);
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    post(under.node, &update, &json!({ "Memory": 64 << 20 }))?.success()?;
    container.proa(&["start"])?.success()?;
    let limit = stats(under, &container, "stream=0&one-shot=1")?["memory_stats"]["limit"].clone();
    ensure!(limit == 64 << 20, "the next run has the new limit, not {limit}");
    Ok(())
}

fn an_update_that_makes_no_sense_changes_nothing(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "64m"], &["tick", "0.1"])?;
    let update = format!("/containers/{}/update", container.id());
    let before = container.inspect()?["HostConfig"].clone();
    let table = [
        (json!({ "Memory": 1 << 20 }), 400, "Minimum memory limit"),
        (json!({ "Memory": 1 << 30 }), 409, "update the memoryswap at the same time"),
        (json!({ "Memory": -5 }), 400, "negative"),
        (json!({ "Memory": "much" }), 400, ""),
        (json!({ "RestartPolicy": { "Name": "always", "MaximumRetryCount": 3 } }), 400, "maximum retry count"),
    ];
    // Where no cgroup can be made there is no swap to be bounded, and such an update is an honest one.
    let swap_is_bounded = Need::Cgroups.lacking().is_none();
    for (body, status, words) in table.into_iter().filter(|(_, status, _)| swap_is_bounded || *status != 409) {
        refused(post(under.node, &update, &body)?, status, words).with_context(|| body.to_string())?;
    }
    ensure!(container.inspect()?["HostConfig"] == before);
    refused(post(under.node, "/containers/nobody/update", &json!({}))?, 404, "No such container")
}

fn a_restart_policy_is_updated(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    let update = format!("/containers/{}/update", container.id());
    let policy = json!({ "Name": "on-failure", "MaximumRetryCount": 4 });
    post(under.node, &update, &json!({ "RestartPolicy": policy }))?.success()?;
    ensure!(container.inspect()?["HostConfig"]["RestartPolicy"] == policy);
    post(under.node, &update, &json!({ "RestartPolicy": { "Name": "no" } }))?.success()?;
    ensure!(container.inspect()?["HostConfig"]["RestartPolicy"]["Name"] == "no");
    Ok(())
}

fn a_renamed_container_goes_by_its_new_name_only(under: &Under) -> Result<()> {
    let (old, new, other) = (fresh_name("old"), fresh_name("new"), fresh_name("other"));
    let container = under.node.detached(under.isolation, &["--name", &old], &["tick", "0.1"])?;
    let _neighbour = under.node.detached(under.isolation, &["--name", &other], &["tick", "0.1"])?;
    let rename = |name: &str| ask(under, &container, &format!("rename?name={name}"));
    rename(&new)?.success()?;
    ensure!(container.inspect()?["Name"] == format!("/{new}"));
    ensure!(under.node.get(&format!("/containers/{old}/json"))?.status == 404);
    ensure!(under.node.get(&format!("/containers/{new}/json"))?.json()?["Id"] == container.id());
    refused(rename(&other)?, 409, "is already in use by container")?;
    refused(rename(&new)?, 400, "same name as its current name")?;
    refused(rename("")?, 400, "Neither old nor new names may be empty")?;
    refused(rename("a%20b")?, 400, "Invalid container name")?;
    // The old name is free for somebody else.
    under.node.run(under.isolation, &["--name", &old], &["out", "x"])?.success()?;
    Ok(())
}

/// What happened to a container, in order.
fn story(under: &Under, container: &Container<'_>, since: u64) -> Result<Vec<String>> {
    let until = wait_seconds()?;
    let filters = format!("%7B%22container%22%3A%5B%22{}%22%5D%7D", container.id());
    let text = under.node.get(&format!("/events?since={since}&until={until}&filters={filters}"))?.success()?.text();
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.iter().map(|line| line["Action"].as_str().unwrap_or_default().to_owned()).collect())
}

fn wait_seconds() -> Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1)
}

fn restart_tells_its_story_in_docker_s_order(under: &Under) -> Result<()> {
    let since = wait_seconds()? - 2;
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    let began = container.inspect()?["State"]["StartedAt"].clone();
    ask(under, &container, "restart?t=1")?.success()?;
    let state = container.inspect()?["State"].clone();
    ensure!(state["Running"] == true && state["StartedAt"] != began, "{state}");
    ask(under, &container, "pause")?;
    let told = story(under, &container, since)?;
    let wanted = ["start", "kill", "die", "stop", "start", "restart"];
    let mut left = wanted.iter();
    let mut next = left.next();
    for action in &told {
        if next.is_some_and(|next| action == next) {
            next = left.next();
        }
    }
    ensure!(next.is_none(), "{told:?} does not hold {wanted:?} in this order");
    Ok(())
}

fn a_container_that_would_be_removed_is_restarted(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["--rm"], &["tick", "0.1"])?;
    ask(under, &container, "restart?t=1")?.success()?;
    ensure!(container.inspect()?["State"]["Running"] == true);
    container.proa(&["kill"])?.success()?;
    wait::until("it is removed", || Ok(under.node.get(&format!("/containers/{}/json", container.id()))?.status == 404))
}

fn limits_are_files_of_its_cgroup(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags = ["--isolation", under.isolation.name(), "-m", "128m"];
    let container = under.node.detached_image(&flags, &busybox, &["sleep", "1000"])?;
    let update = format!("/containers/{}/update", container.id());
    let wanted = json!({ "Memory": 64 << 20, "MemorySwap": 96 << 20, "PidsLimit": 33, "CpuShares": 512,
        "CpuPeriod": 50_000, "CpuQuota": 20_000, "CpusetCpus": "0" });
    post(under.node, &update, &wanted)?.success()?;
    let inside = |paths: &[&str]| -> Result<String> {
        let reads: Vec<String> = paths.iter().map(|path| format!("cat /sys/fs/cgroup/{path} 2>/dev/null")).collect();
        let script = format!("{}; true", reads.join(" || "));
        Ok(under.node.proa(&["exec", container.id(), "sh", "-c", &script])?.success()?.text())
    };
    let table: [(&[&str], &[&str]); 4] = [
        (&["memory/memory.limit_in_bytes", "memory.max"], &["67108864"]),
        (&["pids/pids.max", "pids.max"], &["33"]),
        (&["cpu/cpu.cfs_quota_us", "cpu.max"], &["20000", "20000 50000"]),
        (&["cpu/cpu.shares", "cpu.weight"], &["512", "59"]),
    ];
    for (paths, values) in table {
        let found = inside(paths)?;
        ensure!(values.contains(&found.as_str()), "{paths:?}: {found}, not {values:?}");
    }
    let allowed =
        under.node.proa(&["exec", container.id(), "grep", "Cpus_allowed_list", "/proc/self/status"])?.success()?;
    ensure!(allowed.text().ends_with("\t0"), "{allowed}");
    // Grows again: memory and swap in the order that the kernel takes.
    post(under.node, &update, &json!({ "Memory": 256 << 20, "MemorySwap": 512 << 20, "PidsLimit": 0 }))?.success()?;
    ensure!(inside(&["memory/memory.limit_in_bytes", "memory.max"])? == "268435456");
    ensure!(inside(&["pids/pids.max", "pids.max"])? == "max");
    Ok(())
}

fn top_shows_all_of_it(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags = ["--isolation", under.isolation.name()];
    let container = under.node.detached_image(&flags, &busybox, &["sh", "-c", "sleep 999 & sleep 1000; true"])?;
    let top = |query: &str| -> Result<Value> {
        under.node.get(&format!("/containers/{}/top{query}", container.id()))?.success()?.json()
    };
    wait::until("all three are there", || Ok(top("")?["Processes"].as_array().is_some_and(|all| all.len() == 3)))?;
    let table = top("")?;
    ensure!(table["Titles"] == json!(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]), "{table}");
    let rows = table["Processes"].as_array().context("rows")?;
    ensure!(rows.iter().any(|row| row[7] == "sleep 1000"), "{table}");
    let pid = container.inspect()?["State"]["Pid"].to_string();
    ensure!(rows.iter().any(|row| row[1] == pid.as_str()), "{table}");
    let own = top("?ps_args=-eo%20pid,comm")?;
    ensure!(own["Titles"] == json!(["PID", "COMMAND"]), "{own}");
    let bad = under.node.get(&format!("/containers/{}/top?ps_args=-o%20nonsense", container.id()))?;
    refused(bad, 400, "nonsense")?;
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    refused(under.node.get(&format!("/containers/{}/top", container.id()))?, 409, "is not running")
}

fn top_shows_a_guest_as_itself(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    let table = under.node.get(&format!("/containers/{}/top", container.id()))?.success()?.json()?;
    let rows = table["Processes"].as_array().context("rows")?;
    ensure!(rows.len() == 1 && rows[0][7].as_str().is_some_and(|line| line.ends_with("tick 0.1")), "{table}");
    Ok(())
}

fn what_a_wasm_guest_cannot_have_is_said(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    let update = format!("/containers/{}/update", container.id());
    refused(post(under.node, &update, &json!({ "PidsLimit": 5 }))?, 400, "no processes")?;
    refused(post(under.node, &update, &json!({ "CpusetCpus": "0" }))?, 400, "processors")?;
    if under.isolation == Isolation::Wasm {
        refused(post(under.node, &update, &json!({ "NanoCpus": 500_000_000 }))?, 400, "`wasm-process` holds it")?;
    }
    let held = under.node.detached(under.isolation, &["-m", "64m", "-i"], &["hold", "20"])?;
    held.shows("that it holds memory", |seen| seen.contains("allocated"))?;
    let update = format!("/containers/{}/update", held.id());
    refused(post(under.node, &update, &json!({ "Memory": 8 << 20 }))?, 409, "holds")
}

fn a_terminal_is_left_by_keys(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags = ["-i", "-t", "--isolation", under.isolation.name()];
    let container = under.node.detached_image(&flags, &busybox, &["cat"])?;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "tcp")];
    for (query, keys) in [("", &b"\x10\x11"[..]), ("&detachKeys=ctrl-a,x", b"\x01x")] {
        let target = format!("/containers/{}/attach?stream=1&stdin=1&stdout=1{query}", container.id());
        let mut attached = Conversation::begin(under.node.socket(), "POST", &target, &upgrade, "")?;
        ensure!(attached.head()?.0 == 101);
        attached.write(b"heard\n")?;
        attached.shows("heard")?;
        attached.write(keys)?;
        attached.rest()?;
        ensure!(container.inspect()?["State"]["Running"] == true, "it goes on without its client");
    }
    Ok(())
}

fn detach_keys_that_do_not_exist_are_refused() -> Result<()> {
    let node = Node::shared()?;
    let isolation = Isolation::ALL.into_iter().find(|model| Need::Isolation(*model).lacking().is_none());
    let container = node.detached(isolation.context("no isolation is available")?, &[], &["tick", "1"])?;
    let attach = format!("/containers/{}/attach?stream=1&stdout=1&detachKeys=shift-x", container.id());
    refused(post(node, &attach, &Value::Null)?, 400, "Invalid detach keys (shift-x) provided")?;
    let exec = json!({ "Cmd": ["out", "x"], "DetachKeys": "ctrl-1" });
    refused(
        post(node, &format!("/containers/{}/exec", container.id()), &exec)?,
        400,
        "Invalid escape keys (ctrl-1) provided",
    )
}
