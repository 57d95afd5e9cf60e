//! `ps` narrowed and measured, prune, disk usage, and what the node says of itself.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, encoded};
use proa_tests::node::fresh_name;
use proa_tests::{Need, Suite, Under, cases, guest};
use serde_json::Value;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            filters_find_what_they_name,
            before_and_since_stand_between,
            limits_count_the_newest,
            wrong_filters_are_refused,
            sizes_are_shown_when_asked_for,
            prune_takes_what_its_labels_name,
            the_disk_is_accounted_for,
            the_node_says_all_that_clients_read,
        ],
    );
    suite.under(super::NATIVE, &[Need::Peer("busybox")], cases![what_a_container_wrote_is_its_size]);
}

/// A GET whose target may hold what a filter holds.
fn get(under: &Under, target: &str) -> Result<Answer> {
    under.node.get(&encoded(target))
}

fn list(under: &Under, query: &str) -> Result<Vec<Value>> {
    let answer = get(under, &format!("/containers/json?{query}"))?.success()?.json()?;
    answer.as_array().cloned().context("a list")
}

fn names(all: &[Value]) -> Vec<String> {
    all.iter().filter_map(|one| one["Names"][0].as_str()).map(|name| name.trim_start_matches('/').to_owned()).collect()
}

fn filters_find_what_they_name(under: &Under) -> Result<()> {
    let (name, label) = (fresh_name("found"), fresh_name("label"));
    let flags = ["--name", &name, "--label", &format!("{label}=1")];
    let container = under.node.detached(under.isolation, &flags, &["tick", "0.1"])?;
    let with = |filter: &str| list(under, &format!("filters={{\"label\":[\"{label}\"],{filter}}}"));
    for filter in [
        format!("\"name\":[\"^/{name}$\"]"),
        "\"name\":[\"ound-\"]".to_owned(),
        format!("\"id\":[\"{}\"]", &container.id()[..12]),
        "\"status\":[\"exited\",\"running\"]".to_owned(),
        "\"health\":[\"none\"]".to_owned(),
        "\"is-task\":[\"false\"]".to_owned(),
        "\"network\":[\"bridge\"]".to_owned(),
        format!("\"isolation\":[\"{}\"]", under.isolation.name()),
        format!("\"ancestor\":[\"{}\"]", under.node.probe()?),
    ] {
        ensure!(names(&with(&filter)?) == [name.clone()], "{filter}");
    }
    for filter in [
        format!("\"name\":[\"^{name}x$\"]"),
        "\"status\":[\"exited\"]".to_owned(),
        "\"exited\":[\"0\"]".to_owned(),
        "\"health\":[\"healthy\"]".to_owned(),
        "\"is-task\":[\"true\"]".to_owned(),
        "\"network\":[\"host\"]".to_owned(),
        "\"volume\":[\"/nowhere\"]".to_owned(),
        "\"publish\":[\"1-79/tcp\"]".to_owned(),
        "\"ancestor\":[\"nobody\"]".to_owned(),
    ] {
        ensure!(with(&filter)?.is_empty(), "{filter}");
    }
    container.proa(&["kill"])?.success()?;
    container.wait()?;
    ensure!(with("\"status\":[\"exited\"]")?.len() == 1 && with("\"exited\":[\"137\"]")?.len() == 1);
    ensure!(with("\"health\":[\"none\"]")?.is_empty(), "without `all` only what runs is listed");
    Ok(())
}

fn before_and_since_stand_between(under: &Under) -> Result<()> {
    let label = fresh_name("row");
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(under.node.detached(under.isolation, &["--label", &label], &["exit", "0"])?);
    }
    let ids = |filter: &str| -> Result<Vec<String>> {
        let found = list(under, &format!("all=1&filters={{\"label\":[\"{label}\"],{filter}}}"))?;
        Ok(found.iter().filter_map(|one| one["Id"].as_str()).map(str::to_owned).collect())
    };
    let (first, second, third) = (all[0].id(), all[1].id(), all[2].id());
    ensure!(ids(&format!("\"before\":[\"{second}\"]"))? == [first]);
    ensure!(ids(&format!("\"since\":[\"{second}\"]"))? == [third]);
    ensure!(ids(&format!("\"since\":[\"{first}\"],\"before\":[\"{third}\"]"))? == [second]);
    let missing = get(under, "/containers/json?filters={\"before\":[\"nosuchcontainer\"]}")?;
    ensure!(missing.status == 404, "{}", missing.status);
    Ok(())
}

fn limits_count_the_newest(under: &Under) -> Result<()> {
    let label = fresh_name("limit");
    let old = under.node.detached(under.isolation, &["--label", &label], &["exit", "0"])?;
    let new = under.node.detached(under.isolation, &["--label", &label], &["exit", "0"])?;
    let found = list(under, &format!("limit=1&filters={{\"label\":[\"{label}\"]}}"))?;
    ensure!(found.len() == 1 && found[0]["Id"] == new.id(), "{found:?}, not {}", old.id());
    Ok(())
}

fn wrong_filters_are_refused(under: &Under) -> Result<()> {
    for filters in [
        "{\"colour\":[\"red\"]}",
        "{\"status\":[\"sleepy\"]}",
        "{\"health\":[\"so-so\"]}",
        "{\"exited\":[\"soon\"]}",
        "{\"publish\":[\"many\"]}",
        "{\"name\":[\"[\"]}",
        "[]",
    ] {
        let answer = get(under, &format!("/containers/json?filters={filters}"))?;
        ensure!(answer.status == 400, "{filters}: {}", answer.status);
    }
    Ok(())
}

fn sizes_are_shown_when_asked_for(under: &Under) -> Result<()> {
    let label = fresh_name("size");
    let container = under.node.detached(under.isolation, &["--label", &label], &["exit", "0"])?;
    container.wait()?;
    let plain = list(under, &format!("all=1&filters={{\"label\":[\"{label}\"]}}"))?;
    ensure!(plain[0].get("SizeRw").is_none(), "{plain:?}");
    let sized = list(under, &format!("all=1&size=1&filters={{\"label\":[\"{label}\"]}}"))?;
    ensure!(sized[0]["SizeRw"].is_u64() && sized[0]["SizeRootFs"].as_u64() > Some(10_000), "{sized:?}");
    Ok(())
}

fn what_a_container_wrote_is_its_size(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let label = fresh_name("wrote");
    let flags = ["--isolation", under.isolation.name(), "--label", &label];
    let container =
        under.node.detached_image(&flags, &busybox, &["dd", "if=/dev/zero", "of=/x", "bs=1M", "count=3"])?;
    ensure!(container.wait()? == 0);
    let sized = list(under, &format!("all=1&size=1&filters={{\"label\":[\"{label}\"]}}"))?;
    let size = sized[0]["SizeRw"].as_u64().context("a number")?;
    ensure!((3 << 20..4 << 20).contains(&size), "{size}");
    Ok(())
}

fn prune_takes_what_its_labels_name(under: &Under) -> Result<()> {
    let label = fresh_name("prune");
    let stays = format!("{label}.stays");
    let flag = |value: &str| format!("{label}={value}");
    let runs = under.node.detached(under.isolation, &["--label", &flag("1")], &["tick", "0.1"])?;
    let ended = under.node.detached(under.isolation, &["--label", &flag("1")], &["exit", "0"])?;
    let other = under.node.detached(under.isolation, &["--label", &flag("1"), "--label", &stays], &["exit", "0"])?;
    ended.wait()?;
    other.wait()?;
    let prune = |filters: &str| -> Result<Value> {
        under
            .node
            .post(&encoded(&format!("/containers/prune?filters={{{filters}}}")), "application/json", b"")?
            .success()?
            .json()
    };
    let label_filter = format!("\"label\":[\"{label}=1\"]");
    let none = prune(&format!("{label_filter},\"until\":[\"24h\"]"))?;
    ensure!(none["ContainersDeleted"].is_null(), "{none}");
    let some = prune(&format!("{label_filter},\"label!\":[\"{stays}\"],\"until\":[\"0s\"]"))?;
    ensure!(some["ContainersDeleted"] == serde_json::json!([ended.id()]) && some["SpaceReclaimed"].is_u64(), "{some}");
    let rest = prune(&label_filter)?;
    ensure!(rest["ContainersDeleted"] == serde_json::json!([other.id()]), "{rest}");
    ensure!(runs.inspect()?["State"]["Running"] == true);
    let bad = under.node.post(&encoded("/containers/prune?filters={\"until\":[\"soon\"]}"), "application/json", b"")?;
    ensure!(bad.status == 400, "{}", bad.status);
    Ok(())
}

fn the_disk_is_accounted_for(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["exit", "0"])?;
    container.wait()?;
    let all = get(under, "/system/df")?.success()?.json()?;
    ensure!(all["LayersSize"].as_u64() > Some(10_000), "{all}");
    for name in ["Images", "Containers", "Volumes", "BuildCache"] {
        ensure!(all[name].is_array(), "{name}: {all}");
    }
    let own = all["Containers"].as_array().into_iter().flatten().find(|one| one["Id"] == container.id());
    ensure!(own.is_some_and(|own| own["SizeRootFs"].is_u64()), "{own:?}");
    let one = get(under, "/system/df?type=container")?.success()?.json()?;
    ensure!(one.get("Images").is_none() && one["Containers"].is_array(), "{one}");
    ensure!(get(under, "/system/df?type=clouds")?.status == 400);
    Ok(())
}

fn the_node_says_all_that_clients_read(under: &Under) -> Result<()> {
    let info = get(under, "/info")?.success()?.json()?;
    ensure!(info["LiveRestoreEnabled"] == true && info["Warnings"].is_array(), "{info}");
    ensure!(info["Swarm"]["LocalNodeState"] == "inactive" && info["Plugins"]["Volume"][0] == "local", "{info}");
    let running = info["ContainersRunning"].as_u64().context("a number")?;
    let sum =
        running + info["ContainersPaused"].as_u64().unwrap_or(0) + info["ContainersStopped"].as_u64().unwrap_or(0);
    ensure!(info["Containers"].as_u64() == Some(sum), "{info}");
    for name in ["ID", "Name", "KernelVersion", "OperatingSystem", "SystemTime", "DockerRootDir", "ServerVersion"] {
        ensure!(info[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {info}");
    }
    let networks = get(under, "/networks")?.success()?.json()?;
    let known = names_of(&networks);
    ensure!(known == ["bridge", "host", "none"], "{known:?}");
    for name in &known {
        let one = get(under, &format!("/networks/{name}"))?.success()?.json()?;
        ensure!(one["Name"] == name.as_str() && one["Id"].as_str().is_some_and(|id| id.len() == 64), "{one}");
    }
    Ok(())
}

fn names_of(networks: &Value) -> Vec<String> {
    let all = networks.as_array().into_iter().flatten();
    let mut names: Vec<String> = all.filter_map(|one| one["Name"].as_str()).map(str::to_owned).collect();
    names.sort();
    names
}
