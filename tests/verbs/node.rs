//! What is proa's own: plans, packages, policy, and what the host says of itself.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{Isolation, Need, Node, Under, guest, leftovers, load, peer, wait};
use serde_json::Value;

pub(crate) fn plan_prints_and_runs_nothing(under: &Under) -> Result<()> {
    let before = leftovers::processes(under.node.root()).len();
    let name = fresh_name("planned");
    let flags = ["plan", "--name", &name, "--isolation", under.isolation.name(), "-m", "64m"];
    let plan = under.node.proa(&[&flags[..], &[under.node.probe()?, "out", "x"]].concat())?;
    if plan.code() != Some(0) && Need::Cgroups.lacking().is_some() {
        return plan.refused(125, &["cgroup"]).map(drop);
    }
    let plan = plan.success()?;
    ensure!(plan.lines().len() >= 3, "{plan}");
    let word = if under.isolation.is_wasm() { "memory" } else { "clone" };
    ensure!(plan.text().to_lowercase().contains(word), "{plan}");
    let listed = under.node.proa(&["ps", "-a", "--format", "{{.Names}}"])?.success()?;
    ensure!(!listed.lines().contains(&name), "{listed}");
    ensure!(leftovers::processes(under.node.root()).len() <= before.max(1) + 64, "`plan` started something");
    Ok(())
}

pub(crate) fn the_same_workload_has_the_same_plan(under: &Under) -> Result<()> {
    let line = ["plan", "--name", "same", "--isolation", under.isolation.name(), under.node.probe()?, "out", "x"];
    let (one, two) = (under.node.proa(&line)?.success()?, under.node.proa(&line)?.success()?);
    // Only the container's own id may differ.
    let steps = |output: &proa_tests::Output| output.lines().len();
    ensure!(steps(&one) == steps(&two), "{one}\n{two}");
    Ok(())
}

pub(crate) fn each_http_request_has_its_own_instance(under: &Under) -> Result<()> {
    let image = under.node.load(guest::http_layout(under.node)?)?;
    let address = peer::free_address()?;
    let publish = format!("{address}:80");
    let flags = ["--isolation", under.isolation.name(), "-p", &publish, "-e", "COLOUR=red"];
    let http = under.node.detached_image(&flags, &image, &[])?;
    wait::until("it answers", || Ok(load::get(address, "/").is_ok()))?;
    ensure!(load::get(address, "/env")?.1.contains("COLOUR=red"));
    ensure!(load::get(address, "/status/418")?.0 == 418);
    ensure!(load::get(address, "/nothing")?.0 == 404);
    let (_, echoed) = load::request(address, "POST", "/echo", b"there and back")?;
    ensure!(echoed.contains("there and back"), "{echoed}");
    // Misbehaviour of one request is its own affair.
    for _ in 0..3 {
        ensure!(load::get(address, "/trap").map_or(true, |(status, _)| status >= 500));
        ensure!(load::get(address, "/")?.0 == 200);
    }
    let taken = under.node.proa(&["run", "-d", "-p", &publish, "--isolation", under.isolation.name(), &image])?;
    ensure!(taken.code() == Some(125) && taken.complaint().contains(&address.port().to_string()), "{taken}");
    under.node.proa(&["inspect", "--format", "{{json .NetworkSettings.Ports}}", http.id()])?.success()?;
    Ok(())
}

pub(crate) fn info_and_version_speak_json() -> Result<()> {
    let node = Node::shared()?;
    let info = node.proa(&["info", "--format", "json"])?.success()?;
    let info: Value = serde_json::from_slice(&info.stdout)?;
    ensure!(info["NCPU"].as_u64() > Some(0) && info["MemTotal"].as_u64() > Some(0), "{info}");
    let models = info["Proa"]["Isolation"].as_array().context("the isolations")?;
    ensure!(models.len() == 4, "{models:?}");
    let version = node.proa(&["version", "--format", "json"])?.success()?;
    serde_json::from_slice::<Value>(&version.stdout)?;
    node.proa(&["info"])?.success()?;
    node.proa(&["version"])?.success()?;
    Ok(())
}

pub(crate) fn package_gives_the_same_bytes_for_the_same_input() -> Result<()> {
    let node = Node::shared()?;
    let module = node.scratch().join("twice.wasm");
    fs::write(&module, proa_tests::samples::HELLO_COMPONENT)?;
    let program = node.scratch().join("twice");
    fs::write(&program, proa_tests::samples::HELLO_LINUX)?;
    let mut indexes = Vec::new();
    for name in ["one", "two"] {
        let folder = node.scratch().join(name);
        let line = ["package", guest::path(&module)?, "--with-linux", guest::path(&program)?, "-t", "twice", "-o"];
        node.proa(&[&line[..], &[guest::path(&folder)?]].concat())?.success()?;
        indexes.push(fs::read(folder.join("index.json"))?);
    }
    ensure!(indexes[0] == indexes[1], "two packages of the same input differ");
    Ok(())
}

pub(crate) fn package_refuses_what_is_no_program() -> Result<()> {
    let node = Node::shared()?;
    let (wasm, text) = (node.scratch().join("good.wasm"), node.scratch().join("text"));
    fs::write(&wasm, proa_tests::samples::HELLO_COMPONENT)?;
    fs::write(&text, "#!/bin/sh\n")?;
    let (wasm, text) = (guest::path(&wasm)?, guest::path(&text)?);
    let out = node.scratch().join("refused");
    let to = guest::path(&out)?;
    node.proa(&["package", text, "-t", "x", "-o", to])?.refused(1, &["wasm"])?;
    node.proa(&["package", "/no/such.wasm", "-t", "x", "-o", to])?.refused(1, &["/no/such.wasm"])?;
    node.proa(&["package", wasm, "--with-linux", text, "-t", "x", "-o", to])?.refused(1, &["elf"])?;
    node.proa(&["package", wasm, "-t", "NOT A NAME", "-o", to])?.refused(1, &["NOT A NAME"])?;
    Ok(())
}

pub(crate) fn policy_bounds_what_may_be_chosen() -> Result<()> {
    let node = Node::asleep()?;
    let policy = node.scratch().join("policy.toml");
    let text = "[default.isolation]\nallow = [\"wasm-process\", \"linux-userns\"]\n\
                [tenant.trusted.isolation]\ndefault = \"linux\"\n";
    fs::write(&policy, text)?;
    node.wake_with(&["--policy", guest::path(&policy)?])?;
    for model in ["wasm", "linux"] {
        let line = ["run", "--rm", "--isolation", model, node.probe()?, "out", "x"];
        node.proa(&line)?.refused(125, &["policy", model])?;
    }
    let available = |model| Need::Isolation(model).lacking().is_none();
    if available(Isolation::WasmProcess) {
        let chosen = node.detached_image(&[], node.probe()?, &["tick", "1"])?;
        let isolation = chosen.inspect()?["HostConfig"]["Isolation"].clone();
        ensure!(isolation == "wasm-process", "`auto` chose {isolation}, which policy does not allow");
    }
    if available(Isolation::Linux) {
        let line = ["run", "--rm", "--tenant", "trusted", "--isolation", "linux", node.probe()?, "out", "x"];
        node.proa(&line)?.success()?;
    }
    node.close()
}

pub(crate) fn a_policy_with_unknown_keys_is_refused() -> Result<()> {
    let node = Node::asleep()?;
    let policy = node.scratch().join("policy.toml");
    let root = guest::path(node.root())?;
    for text in ["[default.isolation]\nalow = [\"wasm\"]\n", "[default.isolation]\nallow = [\"cardboard\"]\n", "{"] {
        fs::write(&policy, text)?;
        let socket = guest::path(node.socket())?;
        let line = ["host", "--root", root, "--socket", socket, "--policy", guest::path(&policy)?];
        let output = node.proa(&line)?;
        ensure!(output.code().is_some_and(|code| code != 0), "{output}");
        ensure!(output.complaint().contains("policy"), "{output}");
        output.keeps_its_composure()?;
    }
    node.close()
}
