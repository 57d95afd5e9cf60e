//! More programs in a running container: the same words for both kinds of guest, judged through the API and the command
//! line.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{Answer, Conversation};
use proa_tests::image::{self, Image};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Container, Node, Suite, Under, cases, wait};
use serde_json::{Value, json};

use crate::WASM;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            a_program_is_executed_with_its_own_words_and_exit_code,
            what_is_typed_reaches_a_program,
            a_program_ends_with_its_container,
            an_exec_is_described_and_its_code_is_kept,
            a_program_survives_its_host_and_is_known_to_the_next,
            an_exec_is_refused_in_one_sentence,
        ],
    );
    suite.under(WASM, &[], cases![a_program_shares_its_container_s_memory, another_module_of_the_image_is_executed]);
}

/// The probe's own name inside, by which a native container finds it; a Wasm one takes it for its module's name.
fn program(container: &Container<'_>) -> Result<String> {
    let path = container.inspect()?["Path"].as_str().unwrap_or_default().to_owned();
    ensure!(!path.is_empty(), "inspect names no program");
    Ok(path)
}

fn post(node: &Node, target: &str, body: &Value) -> Result<Answer> {
    node.post(target, "application/json", body.to_string().as_bytes())
}

fn create(under: &Under, container: &Container<'_>, body: &Value) -> Result<String> {
    let answer = post(under.node, &format!("/containers/{}/exec", container.id()), body)?.success()?.json()?;
    answer["Id"].as_str().map(str::to_owned).with_context(|| answer.to_string())
}

fn described(node: &Node, exec: &str) -> Result<Value> {
    node.get(&format!("/exec/{exec}/json"))?.success()?.json()
}

fn a_program_is_executed_with_its_own_words_and_exit_code(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-e", "COLOUR=red"], &["tick", "1"])?;
    let probe = program(&container)?;
    let line = |args: &[&str]| under.node.proa(&[&["exec", container.id(), &probe], args].concat());
    let output = line(&["out", "from beside"])?.success()?;
    ensure!(output.stdout == b"from beside\n", "{output}");
    ensure!(line(&["err", "aloud"])?.success()?.complaint() == "aloud");
    line(&["exit", "0"])?.success()?;
    line(&["exit", "1"])?.exits(1)?;
    ensure!(line(&["env"])?.success()?.lines().contains(&"COLOUR=red".to_owned()));
    let own = ["exec", "-e", "COLOUR=blue", container.id(), &probe, "env"];
    ensure!(under.node.proa(&own)?.success()?.lines().contains(&"COLOUR=blue".to_owned()));
    if under.isolation.is_wasm() {
        let bare = under.node.proa(&["exec", container.id(), "out", "the image's module"])?.success()?;
        ensure!(bare.text() == "the image's module", "{bare}");
    }
    container.shows("that the container goes on", |seen| seen.contains("tick 1"))
}

fn what_is_typed_reaches_a_program(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let probe = program(&container)?;
    let output = under.node.feed(&["exec", "-i", container.id(), &probe, "cat"], b"one\ntwo\n")?.success()?;
    ensure!(output.stdout == b"one\ntwo\n", "{output}");
    let terminal = json!({ "Cmd": [probe, "cat"], "AttachStdin": true, "AttachStdout": true, "Tty": true });
    let exec = create(under, &container, &terminal)?;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "tcp")];
    let target = format!("/exec/{exec}/start");
    let mut typed = Conversation::begin(under.node.socket(), "POST", &target, &upgrade, r#"{"Tty":true}"#)?;
    ensure!(typed.head()?.0 == 101);
    typed.write(b"typed\n")?;
    typed.shows("typed\r\n")?;
    let resized = post(under.node, &format!("/exec/{exec}/resize?h=20&w=70"), &json!({}))?;
    ensure!(resized.status == 200, "{}", resized.text());
    // Its client leaves, it goes on.
    typed.write(b"\x10\x11")?;
    typed.rest()?;
    ensure!(described(under.node, &exec)?["Running"] == true);
    Ok(())
}

fn a_program_ends_with_its_container(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let exec = create(under, &container, &json!({ "Cmd": [program(&container)?, "sleep", "1000"] }))?;
    post(under.node, &format!("/exec/{exec}/start"), &json!({ "Detach": true }))?.success()?;
    ensure!(described(under.node, &exec)?["Running"] == true);
    let ids = container.inspect()?["ExecIDs"].clone();
    ensure!(ids == json!([exec]), "{ids}");
    container.proa(&["kill"])?.success()?;
    wait::until("it has ended too", || Ok(described(under.node, &exec)?["Running"] == false))?;
    let code = described(under.node, &exec)?["ExitCode"].clone();
    ensure!(code == 137, "{code}");
    Ok(())
}

fn an_exec_is_described_and_its_code_is_kept(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let probe = program(&container)?;
    let body =
        json!({ "Cmd": [probe, "exit", "1"], "AttachStdout": true, "AttachStderr": true, "DetachKeys": "ctrl-a" });
    let exec = create(under, &container, &body)?;
    let before = described(under.node, &exec)?;
    ensure!(before["Running"] == false && before["ExitCode"].is_null() && before["Pid"] == 0, "{before}");
    ensure!(before["ContainerID"] == container.id() && before["DetachKeys"] == "ctrl-a", "{before}");
    let process = &before["ProcessConfig"];
    ensure!(process["entrypoint"] == probe.as_str() && process["arguments"] == json!(["exit", "1"]), "{before}");
    ensure!(process["tty"] == false && process["privileged"] == false, "{before}");
    ensure!(before["OpenStdout"] == true && before["OpenStdin"] == false && before["CanRemove"] == false, "{before}");
    post(under.node, &format!("/exec/{exec}/start"), &json!({}))?.success()?;
    wait::until("it has ended", || Ok(described(under.node, &exec)?["ExitCode"] == 1))?;
    let again = post(under.node, &format!("/exec/{exec}/start"), &json!({}))?;
    ensure!(again.status == 409, "{}", again.text());
    Ok(())
}

fn a_program_survives_its_host_and_is_known_to_the_next(under: &Under) -> Result<()> {
    let node = Node::start()?;
    {
        let container = node.detached(under.isolation, &[], &["tick", "1"])?;
        let probe = program(&container)?;
        let body = json!({ "Cmd": [probe, "sleep", "1000"] });
        let answer = post(&node, &format!("/containers/{}/exec", container.id()), &body)?.success()?.json()?;
        let exec = answer["Id"].as_str().context("an id")?.to_owned();
        post(&node, &format!("/exec/{exec}/start"), &json!({ "Detach": true }))?.success()?;
        node.restart()?;
        let known = described(&node, &exec)?;
        ensure!(known["Running"] == true && known["ContainerID"] == container.id(), "{known}");
        container.proa(&["kill"])?.success()?;
        wait::until("its end is known", || Ok(described(&node, &exec)?["Running"] == false))?;
    }
    node.close()
}

fn an_exec_is_refused_in_one_sentence(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let target = format!("/containers/{}/exec", container.id());
    let refused = |body: Value, status: u16, words: &str| -> Result<()> {
        let answer = post(under.node, &target, &body)?;
        ensure!(answer.status == status && answer.text().contains(words), "{} {}", answer.status, answer.text());
        Ok(())
    };
    refused(json!({}), 400, "No exec command specified")?;
    refused(json!({ "Cmd": ["x"], "WorkingDir": "here" }), 400, "needs to be an absolute path")?;
    if under.isolation.is_wasm() {
        refused(json!({ "Cmd": ["/no/such.wasm"] }), 400, "the image has no module `/no/such.wasm`")?;
        refused(json!({ "Cmd": ["../../etc/passwd.wasm"] }), 400, "the image has no module")?;
        refused(json!({ "Cmd": ["x"], "Privileged": true }), 400, "--privileged")?;
    }
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    refused(json!({ "Cmd": ["x"] }), 409, "is not running")
}

fn a_program_shares_its_container_s_memory(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &["-m", "64m", "-i"], &["hold", "30"])?;
    container.shows("that it holds memory", |seen| seen.contains("allocated"))?;
    let alloc = |mib: &str| under.node.proa(&["exec", container.id(), "alloc", mib]);
    alloc("10")?.success()?;
    let much = alloc("40")?;
    ensure!(much.code() != Some(0), "30 and 40 are more than 64: {much}");
    // What it held was given back.
    alloc("10")?.success()?;
    Ok(())
}

fn another_module_of_the_image_is_executed(under: &Under) -> Result<()> {
    let node = under.node;
    let wasm = proa_tests::samples::PROBE_COMPONENT;
    let layer = Tarball::new().file("app.wasm", 0o644, wasm).file("tools/check.wasm", 0o644, wasm).finish();
    let config = json!({
        "architecture": "wasm", "os": "wasi",
        "config": { "Entrypoint": ["/app.wasm"], "Cmd": ["tick", "1"] },
        "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] },
        "history": [],
    });
    let config = (image::CONFIG, config.to_string().into_bytes());
    let shelf = Shelf::open()?;
    let reference =
        shelf.put("two-modules", &Image::assemble(image::MANIFEST, config, vec![(image::LAYER.to_owned(), layer)]));
    node.proa(&["pull", &reference])?.success()?;
    let container = node.detached_image(&["--isolation", under.isolation.name()], &reference, &[])?;
    let output = node.proa(&["exec", container.id(), "/tools/check.wasm", "out", "checked"])?.success()?;
    ensure!(output.text() == "checked", "{output}");
    let output = node.proa(&["exec", container.id(), "/app.wasm", "out", "the same"])?.success()?;
    ensure!(output.text() == "the same", "{output}");
    Ok(())
}
