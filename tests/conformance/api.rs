//! The Docker Engine API to the letter: versions, headers, statuses, and streams as Docker's clients expect them.

use anyhow::{Result, ensure};
use proa_tests::api::{self, Conversation};
use proa_tests::image::{Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Node, Suite, Under, cases, wait};
use serde_json::{Value, json};

use crate::NATIVE;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            wait_answers_its_head_before_the_exit,
            wait_never_hangs_on_a_fast_exit,
            streams_have_the_type_of_their_version,
            an_empty_health_is_omitted,
            exec_without_streams_detaches,
        ],
    );
    suite.under(NATIVE, &[], cases![streams_of_a_terminal_are_raw]);
    suite.add(
        &[],
        cases![
            versions_from_1_24_to_1_51_are_spoken,
            every_answer_has_docker_s_headers,
            what_docker_has_not_is_404_and_what_comes_later_501,
            errors_are_a_message_with_docker_s_status,
            the_three_networks_are_listed_and_nothing_is_pruned,
            pull_s_progress_objects_carry_a_status,
            short_names_go_to_docker_io,
        ],
    );
}

/// A container of the probe that was not started, by its id.
fn created(under: &Under, more: &Value, args: &[&str]) -> Result<String> {
    let mut body = json!({ "Image": under.node.probe()?, "Cmd": args,
        "HostConfig": { "Isolation": under.isolation.name() } });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let answer = under.node.post("/containers/create", "application/json", body.to_string().as_bytes())?.success()?;
    Ok(answer.json()?["Id"].as_str().unwrap_or_default().to_owned())
}

fn post(node: &Node, target: &str) -> Result<api::Answer> {
    node.post(target, "application/json", b"")
}

fn remove(node: &Node, id: &str) -> Result<()> {
    api::request(node.socket(), "DELETE", &format!("/containers/{id}?force=1&v=1"), "", b"")?.success().map(drop)
}

fn begin(node: &Node, target: &str, headers: &[(&str, &str)], body: &str) -> Result<Conversation> {
    Conversation::begin(node.socket(), "POST", target, headers, body)
}

const CLOSE: (&str, &str) = ("Connection", "close");
const UPGRADE: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "tcp")];

fn wait_answers_its_head_before_the_exit(under: &Under) -> Result<()> {
    let id = created(under, &json!({}), &["tick", "1"])?;
    post(under.node, &format!("/containers/{id}/start"))?.success()?;
    let mut waiting = begin(under.node, &format!("/containers/{id}/wait"), &[CLOSE], "")?;
    let (status, headers) = waiting.head()?;
    ensure!(status == 200 && headers.get("content-type") == "application/json", "{status} {headers:?}");
    let state = under.node.get(&format!("/containers/{id}/json"))?.json()?["State"].clone();
    ensure!(state["Running"] == true, "{state}");
    post(under.node, &format!("/containers/{id}/kill"))?.success()?;
    let body = String::from_utf8(waiting.rest()?)?;
    ensure!(body.contains(r#"{"StatusCode":137}"#), "{body}");
    remove(under.node, &id)
}

fn wait_never_hangs_on_a_fast_exit(under: &Under) -> Result<()> {
    // A component says no more than that it failed.
    let code = if under.isolation.is_wasm() { 1 } else { 5 };
    for _ in 0..10 {
        let id = created(under, &json!({}), &["exit", &code.to_string()])?;
        // Asked before the start, as `docker run` asks: the end may come before the start is answered.
        let mut next = begin(under.node, &format!("/containers/{id}/wait?condition=next-exit"), &[CLOSE], "")?;
        ensure!(next.head()?.0 == 200);
        post(under.node, &format!("/containers/{id}/start"))?.success()?;
        let body = String::from_utf8(next.rest()?)?;
        ensure!(body.contains(&json!({ "StatusCode": code }).to_string()), "{body}");
        let after = post(under.node, &format!("/containers/{id}/wait"))?.success()?;
        ensure!(after.json()?["StatusCode"] == code, "{}", after.text());
        remove(under.node, &id)?;
    }
    Ok(())
}

fn streams_have_the_type_of_their_version(under: &Under) -> Result<()> {
    let id = created(under, &json!({ "OpenStdin": true }), &["cat"])?;
    let kinds = [("1.41", "raw"), ("1.42", "multiplexed"), ("1.51", "multiplexed")];
    for (version, kind) in kinds {
        let wanted = format!("application/vnd.docker.{kind}-stream");
        let target = format!("/v{version}/containers/{id}/attach?stream=1&stdout=1");
        let (status, headers) = begin(under.node, &target, &UPGRADE, "")?.head()?;
        ensure!(status == 101 && headers.get("content-type") == wanted, "attach in {version}: {status} {headers:?}");
        ensure!(headers.get("upgrade") == "tcp", "{headers:?}");
        let (status, headers) = begin(under.node, &target, &[], "")?.head()?;
        ensure!(status == 200 && headers.get("content-type").ends_with("-stream"), "{version}: {status} {headers:?}");
        let logs = under.node.get(&format!("/v{version}/containers/{id}/logs?stdout=1"))?.success()?;
        ensure!(logs.headers.get("content-type") == wanted, "logs in {version}: {:?}", logs.headers);
    }
    remove(under.node, &id)
}

fn streams_of_a_terminal_are_raw(under: &Under) -> Result<()> {
    let id = created(under, &json!({ "OpenStdin": true, "Tty": true }), &["cat"])?;
    let target = format!("/v1.51/containers/{id}/attach?stream=1&stdout=1");
    let (status, headers) = begin(under.node, &target, &UPGRADE, "")?.head()?;
    ensure!(status == 101 && headers.get("content-type") == "application/vnd.docker.raw-stream", "{headers:?}");
    remove(under.node, &id)
}

fn an_empty_health_is_omitted(under: &Under) -> Result<()> {
    let id = created(under, &json!({}), &["out", "x"])?;
    let state = under.node.get(&format!("/containers/{id}/json"))?.json()?["State"].clone();
    ensure!(state["Status"] == "created" && state.get("Health").is_none(), "{state}");
    remove(under.node, &id)
}

fn exec_without_streams_detaches(under: &Under) -> Result<()> {
    let id = created(under, &json!({}), &["tick", "1"])?;
    post(under.node, &format!("/containers/{id}/start"))?.success()?;
    let program = if under.isolation.is_wasm() { json!(["tick", "1"]) } else { json!(["/app", "tick", "1"]) };
    let body = json!({ "Cmd": program }).to_string();
    let exec = under.node.post(&format!("/containers/{id}/exec"), "application/json", body.as_bytes())?.success()?;
    let exec = exec.json()?["Id"].as_str().unwrap_or_default().to_owned();
    // Its answer ends although the program does not.
    let mut answer = begin(under.node, &format!("/exec/{exec}/start"), &UPGRADE, r#"{"Detach":false,"Tty":false}"#)?;
    ensure!(answer.head()?.0 == 101);
    let said = answer.rest()?;
    ensure!(said.is_empty(), "{said:?}");
    wait::until("the program runs", || Ok(under.node.get(&format!("/exec/{exec}/json"))?.json()?["Running"] == true))?;
    remove(under.node, &id)
}

fn versions_from_1_24_to_1_51_are_spoken() -> Result<()> {
    let node = Node::shared()?;
    for minor in [24, 25, 40, 41, 42, 43, 44, 47, 50, 51] {
        let version = node.get(&format!("/v1.{minor}/version"))?.success()?.json()?;
        ensure!(version["ApiVersion"] == "1.51" && version["MinAPIVersion"] == "1.24", "{version}");
        node.get(&format!("/v1.{minor}/containers/json"))?.success()?;
    }
    let refused = [
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
                  newer version",
        ),
        ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.51"),
    ];
    for (version, words) in refused {
        for target in ["version", "containers/json", "nowhere"] {
            let answer = node.get(&format!("/v{version}/{target}"))?;
            ensure!(answer.status == 400 && answer.json()? == json!({ "message": words }), "{}", answer.text());
        }
    }
    Ok(())
}

fn every_answer_has_docker_s_headers() -> Result<()> {
    let node = Node::shared()?;
    for (method, target) in [("GET", "/_ping"), ("HEAD", "/_ping"), ("GET", "/v1.44/info"), ("GET", "/nowhere")] {
        let answer = api::request(node.socket(), method, target, "application/json", b"")?;
        let headers = &answer.headers;
        let fixed = [("Api-Version", "1.51"), ("Docker-Experimental", "false"), ("Ostype", "linux")];
        for (name, value) in fixed {
            ensure!(headers.get(name) == value, "{method} {target}: {headers:?}");
        }
        ensure!(
            headers.get("Server").starts_with("proa/") && headers.get("Server").ends_with("(linux)"),
            "{headers:?}"
        );
    }
    let ping = node.get("/_ping")?.success()?;
    ensure!(ping.body == b"OK" && ping.headers.get("content-type").starts_with("text/plain"), "{ping:?}");
    let head = api::request(node.socket(), "HEAD", "/_ping", "", b"")?.success()?;
    ensure!(head.body.is_empty() && head.headers.get("cache-control").contains("no-store"), "{head:?}");
    Ok(())
}

fn what_docker_has_not_is_404_and_what_comes_later_501() -> Result<()> {
    let node = Node::shared()?;
    let nowhere = [
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/v1.51/containers"),
        ("POST", "/info"),
        ("DELETE", "/containers/json/x/y"),
        ("GET", "/containers/x/nothing"),
        ("GET", "/images"),
    ];
    for (method, target) in nowhere {
        let answer = api::request(node.socket(), method, target, "application/json", b"")?;
        ensure!(answer.status == 404, "{method} {target}: {} {}", answer.status, answer.text());
        ensure!(answer.json()? == json!({ "message": "page not found" }), "{method} {target}: {}", answer.text());
    }
    let later = [
        ("POST", "/build"),
        ("POST", "/session"),
        ("GET", "/swarm"),
        ("GET", "/services"),
        ("GET", "/tasks"),
        ("GET", "/secrets"),
        ("GET", "/configs"),
        ("GET", "/nodes"),
        ("GET", "/plugins"),
        ("POST", "/networks/create"),
    ];
    for (method, target) in later {
        let answer = api::request(node.socket(), method, target, "application/json", b"{}")?;
        ensure!(answer.status == 501, "{method} {target}: {} {}", answer.status, answer.text());
        let said = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        ensure!(said.ends_with("is not supported by proa yet") && !said.contains('\n'), "{method} {target}: {said}");
    }
    Ok(())
}

fn errors_are_a_message_with_docker_s_status() -> Result<()> {
    let node = Node::shared()?;
    let create = |body: &str| node.post("/containers/create", "application/json", body.as_bytes());
    let answers = [
        (node.get("/containers/nobody/json")?, 404, "No such container: nobody"),
        (post(node, "/containers/nobody/start")?, 404, "No such container: nobody"),
        (node.get("/images/nobody/json")?, 404, "No such image: nobody:latest"),
        (node.get("/exec/nobody/json")?, 404, "No such exec instance: nobody"),
        (node.get("/networks/nobody")?, 404, "network nobody not found"),
        (create(r#"{"Image":"nobody"}"#)?, 404, "No such image: nobody:latest"),
        (create("{}")?, 400, "no image specified"),
        (create("{")?, 400, "invalid JSON"),
        (create("[]")?, 400, "invalid JSON"),
        (node.get("/containers/json?filters=x")?, 400, "invalid filter"),
        (node.get("/containers/json?limit=x")?, 400, "limit"),
    ];
    for (answer, status, words) in answers {
        let body = answer.json()?;
        ensure!(answer.status == status && answer.headers.get("content-type") == "application/json", "{answer:?}");
        ensure!(body.as_object().is_some_and(|body| body.len() == 1), "{body}");
        ensure!(body["message"].as_str().is_some_and(|text| text.contains(words)), "wanted `{words}`: {body}");
    }
    Ok(())
}

fn the_three_networks_are_listed_and_nothing_is_pruned() -> Result<()> {
    let node = Node::shared()?;
    let listed = node.get("/networks")?.success()?.json()?;
    let names: Vec<_> =
        listed.as_array().into_iter().flatten().filter_map(|network| network["Name"].as_str()).collect();
    ensure!(names == ["bridge", "host", "none"], "{listed}");
    let one = node.get("/networks?filters=%7B%22name%22%3A%5B%22host%22%5D%7D")?.success()?.json()?;
    ensure!(one.as_array().is_some_and(|all| all.len() == 1) && one[0]["Driver"] == "host", "{one}");
    let pruned = post(node, "/networks/prune")?.success()?.json()?;
    ensure!(pruned == json!({ "NetworksDeleted": null }), "{pruned}");
    let pruned = post(node, "/build/prune")?.success()?.json()?;
    ensure!(pruned == json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }), "{pruned}");
    Ok(())
}

fn pull_s_progress_objects_carry_a_status() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let layer = Tarball::new().file("file", 0o644, &vec![7; 300_000]).finish();
    let image = Image::native(&Recipe { entrypoint: &["/file"], gzip: true, ..Recipe::default() }, vec![layer]);
    let reference = shelf.put(&fresh_name("progress"), &image);
    let answer = post(&node, &format!("/images/create?fromImage={reference}"))?.success()?;
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(lines.iter().all(|line| line["status"].is_string()), "{text}");
    ensure!(lines.iter().any(|line| line["progressDetail"]["total"].is_u64()), "{text}");
    ensure!(lines.iter().any(|line| line["status"] == "Pull complete" && line["id"].is_string()), "{text}");
    let last = lines.last().and_then(|line| line["status"].as_str()).unwrap_or_default();
    ensure!(last.starts_with("Status: Downloaded newer image for "), "{text}");
    node.close()
}

fn short_names_go_to_docker_io() -> Result<()> {
    let node = Node::shared()?;
    let name = fresh_name("no-such-image-of-proa-s-tests");
    let answer = post(node, &format!("/images/create?fromImage={name}&tag=1"))?;
    ensure!(answer.status >= 400 && answer.text().contains("docker.io"), "{} {}", answer.status, answer.text());
    Ok(())
}
