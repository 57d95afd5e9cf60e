//! The verbs that are about the node and its images rather than about one guest, and what the command line owes its
//! readers: quiet modes, JSON, no colours in a pipe, signals passed on.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::peer::{self, Distribution};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, Under, cases, command, docker, guest, harness, leftovers, load, wait};
use rustix::process::Signal;
use serde_json::Value;

const WASM: &[Isolation] = &[Isolation::Wasm, Isolation::WasmProcess];
const NATIVE: &[Isolation] = &[Isolation::Linux, Isolation::LinuxUserns];

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        suite.under_all(&[], cases![plan_prints_and_runs_nothing, the_same_workload_has_the_same_plan]);
        suite.under(WASM, &[], cases![a_signal_to_run_reaches_a_wasm_guest, each_http_request_has_its_own_instance]);
        suite.under(NATIVE, &[Need::Peer("busybox")], cases![a_signal_to_run_reaches_a_native_guest]);
        suite.add(
            &[],
            cases![
                images_are_listed_tagged_and_removed,
                an_image_in_use_is_not_removed,
                pull_is_plain_in_a_pipe_and_quiet_when_asked,
                info_and_version_speak_json,
                package_gives_the_same_bytes_for_the_same_input,
                package_refuses_what_is_no_program,
                policy_bounds_what_may_be_chosen,
                a_policy_with_unknown_keys_is_refused,
            ],
        );
        suite.add(&[Need::Isolation(Isolation::Linux)], cases![the_reference_of_an_index_runs_under_either_model]);
        suite.add(&[Need::Peer("docker")], cases![an_old_client_is_understood]);
        suite.add(&[Need::Peer("docker-registry")], cases![logins_come_from_docker_s_settings]);
    })
}

fn plan_prints_and_runs_nothing(under: &Under) -> Result<()> {
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

fn the_same_workload_has_the_same_plan(under: &Under) -> Result<()> {
    let line = ["plan", "--name", "same", "--isolation", under.isolation.name(), under.node.probe()?, "out", "x"];
    let (one, two) = (under.node.proa(&line)?.success()?, under.node.proa(&line)?.success()?);
    // Only the container's own id may differ.
    let steps = |output: &proa_tests::Output| output.lines().len();
    ensure!(steps(&one) == steps(&two), "{one}\n{two}");
    Ok(())
}

fn a_signal_to_run_reaches_a_wasm_guest(under: &Under) -> Result<()> {
    let line = under.node.run_line(under.isolation, &[], &["tick", "0.02"])?;
    let running = command::start(&mut under.node.command(&line))?;
    running.shows("a tick", |seen| seen.contains("tick 2"))?;
    running.signal(Signal::TERM)?;
    running.finish(wait::PATIENCE)?.exits(143)?;
    Ok(())
}

fn a_signal_to_run_reaches_a_native_guest(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let script = "trap 'echo caught; exit 21' INT; echo ready; while :; do sleep 0.05; done";
    let line = ["run", "--rm", "--isolation", under.isolation.name(), &busybox, "sh", "-c", script];
    let running = command::start(&mut under.node.command(&line))?;
    running.shows("its handler is set", |seen| seen.contains("ready"))?;
    running.signal(Signal::INT)?;
    let output = running.finish(wait::PATIENCE)?.exits(21)?;
    ensure!(output.text() == "ready\ncaught", "{output}");
    Ok(())
}

fn each_http_request_has_its_own_instance(under: &Under) -> Result<()> {
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

fn images_are_listed_tagged_and_removed() -> Result<()> {
    let node = Node::start()?;
    let image = guest::bare(&node)?;
    node.proa(&["tag", &image, "other/name:1.0"])?.success()?;
    let table = node.proa(&["images"])?.success()?;
    ensure!(table.text().starts_with("REPOSITORY"), "{table}");
    let json = node.proa(&["images", "--format", "json"])?.success()?;
    let rows: Vec<Value> = json.lines().iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    ensure!(rows.iter().any(|row| row["Repository"] == "other/name" && row["Tag"] == "1.0"), "{json}");
    let removed = node.proa(&["rmi", "other/name:1.0"])?.success()?;
    ensure!(removed.text() == "Untagged: other/name:1.0", "the image has another name still: {removed}");
    let removed = node.proa(&["rmi", &image])?.success()?;
    ensure!(removed.text().contains("Deleted: sha256:"), "{removed}");
    ensure!(node.proa(&["images", "-q"])?.success()?.text().is_empty());
    let blobs = fs::read_dir(node.root().join("store/blobs/sha256"))?.count();
    ensure!(blobs == 0, "{blobs} blobs of a removed image are left");
    node.close()
}

fn an_image_in_use_is_not_removed() -> Result<()> {
    let node = Node::start()?;
    let isolation = Isolation::ALL.into_iter().find(|model| Need::Isolation(*model).lacking().is_none());
    let guest = node.detached(isolation.context("no isolation is available")?, &[], &["tick", "1"])?;
    let probe = node.probe()?.to_owned();
    node.proa(&["rmi", &probe])?.refused(1, &["container"])?;
    ensure!(guest.inspect()?["State"]["Running"] == true);
    guest.proa(&["rm", "-f"])?.success()?;
    node.proa(&["rmi", &probe])?.success()?;
    node.close()
}

fn pull_is_plain_in_a_pipe_and_quiet_when_asked() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let layer = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let image = Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer]);
    let reference = shelf.put("plain", &image);
    let pulled = node.proa(&["pull", &reference])?.success()?;
    ensure!(!pulled.stdout.contains(&0x1b) && !pulled.stdout.contains(&b'\r'), "it draws in a pipe: {pulled}");
    ensure!(pulled.text().contains("Digest: sha256:") && pulled.text().contains("Status: "), "{pulled}");
    let quiet = node.proa(&["pull", "-q", &reference])?.success()?;
    ensure!(quiet.text() == reference && quiet.stderr.is_empty(), "{quiet}");
    node.close()
}

fn info_and_version_speak_json() -> Result<()> {
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

fn package_gives_the_same_bytes_for_the_same_input() -> Result<()> {
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

fn package_refuses_what_is_no_program() -> Result<()> {
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

fn policy_bounds_what_may_be_chosen() -> Result<()> {
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

fn a_policy_with_unknown_keys_is_refused() -> Result<()> {
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

fn the_reference_of_an_index_runs_under_either_model() -> Result<()> {
    let node = Node::shared()?;
    let layout =
        guest::packed(node, "hello", proa_tests::samples::HELLO_COMPONENT, Some(proa_tests::samples::HELLO_LINUX))?;
    let image = node.load(layout)?;
    let run = |flags: &[&str]| -> Result<String> {
        Ok(node.proa(&[&["run", "--rm"], flags, &[&image]].concat())?.success()?.text())
    };
    ensure!(run(&["--isolation", "linux"])?.contains("I am a Linux program"));
    if Need::Isolation(Isolation::Wasm).lacking().is_none() {
        ensure!(run(&[])?.contains("WASI 0.2 component"), "`auto` takes Wasm where the image offers it");
        ensure!(run(&["--platform", "wasi/wasm"])?.contains("WASI 0.2 component"));
        ensure!(run(&["--platform", "linux/amd64"])?.contains("I am a Linux program"));
        ensure!(run(&["-l", "proa.isolation=linux"])?.contains("I am a Linux program"));
        ensure!(run(&["-l", "proa.isolation=linux", "--isolation", "wasm"])?.contains("WASI 0.2 component"));
    }
    Ok(())
}

/// Docker Engine API 1.24 is the oldest that is spoken.
fn an_old_client_is_understood() -> Result<()> {
    let node = Node::shared()?;
    let old = |args: &[&str]| -> Result<proa_tests::Output> {
        let mut line = docker::line(node, args)?;
        line.env("DOCKER_API_VERSION", "1.24");
        command::run(&mut line, wait::PATIENCE)
    };
    let version = old(&["version", "--format", "{{.Client.APIVersion}}"])?.success()?;
    ensure!(version.text() == "1.24", "{version}");
    // Before 1.30 the client waits for a foreground `run` by the stream of events, and before 1.25 it removes by itself.
    let run = old(&["run", "--rm", "--name", "elder", node.probe()?, "exit", "1"])?;
    ensure!(run.code() == Some(1), "{run}");
    let elder = ["ps", "-aq", "--filter", "name=elder"];
    wait::until("the client has removed its container", || Ok(old(&elder)?.success()?.text().is_empty()))?;
    let id = old(&["run", "-d", node.probe()?, "out", "old"])?.success()?.text();
    ensure!(old(&["wait", &id])?.success()?.text() == "0");
    ensure!(old(&["logs", &id])?.success()?.text() == "old");
    old(&["inspect", &id])?.success()?;
    old(&["rm", &id])?.success()?;
    old(&["ps", "-a"])?.success()?;
    old(&["images"])?.success()?;
    Ok(())
}

fn logins_come_from_docker_s_settings() -> Result<()> {
    let node = Node::start()?;
    let registry = Distribution::guarded()?;
    let remote = format!("{}/guarded:1", registry.address());
    node.proa(&["tag", node.probe()?, &remote])?.success()?;
    node.proa(&["push", &remote])?.refused(1, &["guarded"])?;
    let settings = node.scratch().join("home/.docker");
    fs::create_dir_all(&settings)?;
    let login = |password: &str| -> Result<()> {
        let text = serde_json::json!({ "auths": { registry.address().to_string(): {
            "auth": base64(format!("sailor:{password}").as_bytes()) } } });
        let mut file = fs::File::create(settings.join("config.json"))?;
        Ok(file.write_all(text.to_string().as_bytes())?)
    };
    login("wrong")?;
    node.proa(&["push", &remote])?.refused(1, &["guarded"])?;
    login("ahoy")?;
    node.proa(&["push", &remote])?.success()?;
    node.proa(&["rmi", &remote])?.success()?;
    node.proa(&["pull", &remote])?.success()?;
    fs::remove_dir_all(&settings)?;
    node.proa(&["rmi", &remote])?.success()?;
    node.proa(&["pull", &remote])?.refused(1, &["guarded"])?;
    node.close()
}

/// RFC 4648, the standard alphabet.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}
