//! Health checks: by a program in the container, and by a request through a Wasm HTTP handler.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, encoded};
use proa_tests::container::Container;
use proa_tests::image::{Image, descriptor, digest};
use proa_tests::{Isolation, Need, Suite, Under, cases, guest, peer, wait};
use serde_json::{Value, json};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![a_container_without_a_check_has_no_health, a_check_of_no_known_kind_is_refused, none_is_no_check],
    );
    suite.under(
        super::NATIVE,
        &[Need::Peer("busybox")],
        cases![
            a_check_makes_healthy_and_unhealthy_and_healthy_again,
            what_a_check_prints_is_bounded_and_the_last_five_are_kept,
            a_check_that_takes_too_long_is_ended,
            failures_within_the_start_period_do_not_count,
            an_ill_container_is_restarted_by_its_label,
            an_image_s_check_is_the_container_s,
        ],
    );
    suite.under(
        super::WASM,
        &[],
        cases![an_http_guest_is_asked_through_its_handler, a_wasm_guest_is_asked_by_an_instance_of_its_own],
    );
    suite.under(&Isolation::ALL, &[], cases![an_http_check_wants_an_http_guest]);
}

/// A GET whose target may hold what a filter holds.
fn get(under: &Under, target: &str) -> Result<Answer> {
    under.node.get(&encoded(target))
}

const MILLISECOND: i64 = 1_000_000;

/// A container made through the API: the command line has its own tests.
fn create<'a>(under: &'a Under, image: &str, command: &[&str], more: &Value) -> Result<Container<'a>> {
    let mut body = json!({ "Image": image, "HostConfig": { "Isolation": under.isolation.name() } });
    if !command.is_empty() {
        body["Cmd"] = json!(command);
    }
    for (name, value) in more.as_object().into_iter().flatten() {
        if name == "HostConfig" {
            for (name, value) in value.as_object().into_iter().flatten() {
                body["HostConfig"][name] = value.clone();
            }
        } else {
            body[name] = value.clone();
        }
    }
    let container = under.node.create(&body)?.container;
    container.proa(&["start"])?.success()?;
    Ok(container)
}

fn check(test: &[&str]) -> Value {
    json!({ "Test": test, "Interval": 100 * MILLISECOND, "Timeout": 5000 * MILLISECOND, "Retries": 2 })
}

fn feels(container: &Container<'_>, feeling: &str) -> Result<Value> {
    wait::found(&format!("it is {feeling}"), wait::PATIENCE, || {
        let health = container.inspect()?["State"]["Health"].clone();
        Ok((health["Status"] == feeling).then_some(health))
    })
}

fn listed(under: &Under, container: &Container<'_>) -> Result<String> {
    let all = get(under, &format!("/containers/json?filters={{\"id\":[\"{}\"]}}", container.id()))?.json()?;
    Ok(all[0]["Status"].as_str().unwrap_or_default().to_owned())
}

fn a_container_without_a_check_has_no_health(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    ensure!(container.inspect()?["State"].get("Health").is_none());
    Ok(())
}

fn none_is_no_check(under: &Under) -> Result<()> {
    let more = json!({ "Healthcheck": { "Test": ["NONE"] } });
    let container = create(under, under.node.probe()?, &["tick", "0.1"], &more)?;
    ensure!(container.inspect()?["State"].get("Health").is_none());
    Ok(())
}

fn a_check_of_no_known_kind_is_refused(under: &Under) -> Result<()> {
    for (check, sentence) in [
        (json!({ "Test": ["PING", "x"] }), "PING"),
        (json!({ "Test": ["CMD", "x"], "Interval": 5 }), "Interval in Healthcheck cannot be less than 1ms"),
        (json!({ "Test": ["CMD", "x"], "Retries": -1 }), "Retries in Healthcheck cannot be negative"),
    ] {
        let body = json!({ "Image": under.node.probe()?, "Cmd": ["out", "x"], "Healthcheck": check,
            "HostConfig": { "Isolation": under.isolation.name() } });
        let answer = under.node.post("/containers/create", "application/json", &serde_json::to_vec(&body)?)?;
        ensure!(answer.status == 400 && answer.text().contains(sentence), "{}: {}", answer.status, answer.text());
    }
    Ok(())
}

fn a_check_makes_healthy_and_unhealthy_and_healthy_again(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let more = json!({ "Healthcheck": check(&["CMD-SHELL", "cat /well"]) });
    let container = create(under, &busybox, &["sleep", "1000"], &more)?;
    let ill = feels(&container, "unhealthy")?;
    ensure!(ill["FailingStreak"].as_u64() >= Some(2) && ill["Log"][0]["ExitCode"] == 1, "{ill}");
    ensure!(ill["Log"][0]["Output"].as_str().is_some_and(|text| text.contains("/well")), "{ill}");
    wait::until("`ps` says so", || Ok(listed(under, &container)?.ends_with("(unhealthy)")))?;
    under.node.proa(&["exec", container.id(), "sh", "-c", "echo fine > /well"])?.success()?;
    let well = feels(&container, "healthy")?;
    ensure!(well["FailingStreak"] == 0, "{well}");
    wait::until("`ps` says so", || Ok(listed(under, &container)?.ends_with("(healthy)")))?;
    let found = get(under, "/containers/json?filters={\"health\":[\"healthy\"]}")?.json()?;
    ensure!(found.as_array().is_some_and(|all| all.iter().any(|one| one["Id"] == container.id())), "{found}");
    under.node.proa(&["exec", container.id(), "rm", "/well"])?.success()?;
    feels(&container, "unhealthy")?;
    container.proa(&["stop", "-t", "0"])?.success()?;
    ensure!(container.inspect()?["State"]["Health"]["Status"] == "unhealthy");
    Ok(())
}

fn what_a_check_prints_is_bounded_and_the_last_five_are_kept(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let more = json!({ "Healthcheck": check(&["CMD-SHELL", "yes | head -c 1000000"]) });
    let container = create(under, &busybox, &["sleep", "1000"], &more)?;
    wait::until("five checks were made", || {
        let health = container.inspect()?["State"]["Health"].clone();
        let log = health["Log"].as_array().context("a list")?;
        ensure!(log.len() <= 5, "{} results", log.len());
        ensure!(log.iter().all(|one| one["Output"].as_str().is_some_and(|text| text.len() == 4096)), "too much output");
        Ok(log.len() == 5 && health["Status"] == "healthy")
    })
}

fn a_check_that_takes_too_long_is_ended(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let test = json!({ "Test": ["CMD", "sleep", "1000"], "Interval": 50 * MILLISECOND, "Timeout": 200 * MILLISECOND,
        "Retries": 1 });
    let container = create(under, &busybox, &["sleep", "2000"], &json!({ "Healthcheck": test }))?;
    let ill = feels(&container, "unhealthy")?;
    ensure!(ill["Log"][0]["ExitCode"] == -1, "{ill}");
    ensure!(ill["Log"][0]["Output"].as_str().is_some_and(|text| text.contains("exceeded timeout")), "{ill}");
    let processes = container.outside()?.descendants();
    ensure!(processes.len() <= 2, "checks that were given up live on: {processes:?}");
    Ok(())
}

fn failures_within_the_start_period_do_not_count(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let test = json!({ "Test": ["CMD", "false"], "Interval": 50 * MILLISECOND, "Retries": 1,
        "StartInterval": 50 * MILLISECOND, "StartPeriod": 600_000 * MILLISECOND });
    let container = create(under, &busybox, &["sleep", "1000"], &json!({ "Healthcheck": test }))?;
    wait::until("some checks failed", || {
        let health = container.inspect()?["State"]["Health"].clone();
        ensure!(health["Status"] == "starting" && health["FailingStreak"] == 0, "{health}");
        Ok(health["Log"].as_array().is_some_and(|log| log.len() == 5))
    })?;
    ensure!(listed(under, &container)?.ends_with("(health: starting)"));
    Ok(())
}

fn an_ill_container_is_restarted_by_its_label(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let more = json!({ "Healthcheck": check(&["CMD", "false"]), "StopTimeout": 1,
        "Labels": { "proa.restart-on-unhealthy": "true" } });
    let container = create(under, &busybox, &["sleep", "1000"], &more)?;
    wait::until("it was restarted", || Ok(container.inspect()?["RestartCount"].as_u64() >= Some(1)))?;
    wait::until("it runs again", || Ok(container.inspect()?["State"]["Status"] == "running"))?;
    container.proa(&["stop", "-t", "0"])?.success()?;
    ensure!(container.inspect()?["State"]["Status"] == "exited");
    Ok(())
}

fn an_image_s_check_is_the_container_s(under: &Under) -> Result<()> {
    let image = with_check(guest::busybox_image()?, json!({ "Test": ["CMD", "true"], "Interval": 100 * MILLISECOND }))?;
    let layout = tempfile::tempdir()?;
    image.write_layout(layout.path(), &format!("docker.io/library/checked-{}:1", under.isolation.name()))?;
    let reference = under.node.load(layout.path())?;
    let container = create(under, &reference, &["sleep", "1000"], &json!({}))?;
    feels(&container, "healthy")?;
    let own = create(under, &reference, &["sleep", "1000"], &json!({ "Healthcheck": { "Test": ["NONE"] } }))?;
    ensure!(own.inspect()?["State"].get("Health").is_none());
    Ok(())
}

/// The image with Docker's own field in its configuration.
fn with_check(mut image: Image, check: Value) -> Result<Image> {
    let old = image.manifest["config"]["digest"].as_str().context("a digest")?.to_owned();
    let mut config: Value = serde_json::from_slice(&image.blobs.remove(&old).context("a configuration")?)?;
    config["config"]["Healthcheck"] = check;
    let bytes = serde_json::to_vec(&config)?;
    let media_type = image.manifest["config"]["mediaType"].as_str().context("a media type")?.to_owned();
    image.manifest["config"] = descriptor(&media_type, &bytes);
    image.blobs.insert(digest(&bytes), bytes);
    Ok(image)
}

fn an_http_guest_is_asked_through_its_handler(under: &Under) -> Result<()> {
    let image = under.node.load(guest::http_layout(under.node)?)?;
    let address = peer::free_address()?;
    let ports = json!({ "80/tcp": [{ "HostIp": address.ip().to_string(), "HostPort": address.port().to_string() }] });
    let more = json!({ "Labels": { "proa.healthcheck.http": "/" }, "HostConfig": { "PortBindings": ports },
        "Healthcheck": { "Interval": 100 * MILLISECOND } });
    let container = create(under, &image, &[], &more)?;
    let well = feels(&container, "healthy")?;
    ensure!(well["Log"][0]["Output"].as_str().is_some_and(|text| text.starts_with("HTTP 200")), "{well}");
    container.proa(&["rm", "-f"])?.success()?;
    let more = json!({ "HostConfig": { "PortBindings": ports }, "Healthcheck": { "Test": ["HTTP", "/trap"],
        "Interval": 100 * MILLISECOND, "Retries": 1 } });
    let container = create(under, &image, &[], &more)?;
    feels(&container, "unhealthy").map(drop)
}

fn a_wasm_guest_is_asked_by_an_instance_of_its_own(under: &Under) -> Result<()> {
    let probe = under.node.probe()?;
    for (test, feeling, said) in [
        (&["CMD", "out", "fine"][..], "healthy", "fine\n"),
        (&["CMD-SHELL", "out fine"], "healthy", "fine\n"),
        (&["CMD", "exit", "1"], "unhealthy", ""),
        (&["CMD", "trap"], "unhealthy", ""),
    ] {
        let container = create(under, probe, &["tick", "0.5"], &json!({ "Healthcheck": check(test) }))?;
        let health = feels(&container, feeling)?;
        let output = health["Log"][0]["Output"].as_str().unwrap_or_default();
        ensure!(said.is_empty() || output == said, "{test:?}: {health}");
        ensure!(container.inspect()?["State"]["Running"] == true, "the check of {test:?} ended its container");
    }
    Ok(())
}

fn an_http_check_wants_an_http_guest(under: &Under) -> Result<()> {
    let body = json!({ "Image": under.node.probe()?, "Cmd": ["out", "x"], "Healthcheck": { "Test": ["HTTP", "/"] },
        "HostConfig": { "Isolation": under.isolation.name() } });
    let answer = under.node.post("/containers/create", "application/json", &serde_json::to_vec(&body)?)?;
    ensure!(answer.status == 400 && answer.text().contains("Wasm HTTP"), "{}: {}", answer.status, answer.text());
    Ok(())
}
