//! Input nobody honest would make, and honest mistakes: one clear sentence, the right exit code, no panic, and nothing
//! half-written.
#![forbid(unsafe_code)]

#[path = "bad_input/archives.rs"]
mod archives;
#[path = "bad_input/bombs.rs"]
mod bombs;
#[path = "bad_input/configs.rs"]
mod configs;
#[path = "bad_input/disk.rs"]
mod disk;
#[path = "bad_input/documents.rs"]
mod documents;
#[path = "bad_input/entries.rs"]
mod entries;
#[path = "bad_input/layers.rs"]
mod layers;
#[path = "bad_input/pulls.rs"]
mod pulls;
#[path = "bad_input/registries.rs"]
mod registries;
#[path = "bad_input/requests.rs"]
mod requests;
#[path = "bad_input/server.rs"]
mod server;
#[path = "bad_input/state.rs"]
mod state;
#[path = "bad_input/wasm.rs"]
mod wasm;

use std::fs;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::outside::Outside;
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, Output, Suite, Under, cases, guest, harness};

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        fill(suite);
        archives::fill(suite);
        bombs::fill(suite);
        configs::fill(suite);
        disk::fill(suite);
        documents::fill(suite);
        entries::fill(suite);
        layers::fill(suite);
        pulls::fill(suite);
        registries::fill(suite);
        requests::fill(suite);
        server::fill(suite);
        state::fill(suite);
        wasm::fill(suite);
    })
}

fn fill(suite: &mut Suite) {
    suite.under_all(&[], cases![a_missing_bind_source_is_named, a_mount_that_makes_no_sense_is_refused]);
    suite.add(
        &[],
        cases![
            an_oci_layout_that_is_none_is_refused,
            a_reference_that_is_none_is_refused,
            flags_that_contradict_or_make_no_sense_are_refused,
            unknown_verbs_and_containers_are_refused,
            a_load_that_is_no_archive_is_refused,
            malformed_requests_are_answered_and_the_host_lives_on,
        ],
    );
    suite.add(&[Need::Isolation(Isolation::Linux)], cases![a_port_of_a_native_container_is_refused]);
}

/// Nothing of a refused container stays: not in the list, not on disk.
pub(crate) fn nothing_stays(node: &Node, name: &str) -> Result<()> {
    let listed = node.proa(&["ps", "-a", "--format", "{{.Names}}"])?.success()?;
    ensure!(!listed.lines().iter().any(|line| line == name), "`{name}` is listed: {listed}");
    Ok(())
}

/// An image of two layers: the native probe as its entrypoint, and what means harm.
pub(crate) fn layered(hostile: Vec<u8>) -> Image {
    let probe = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![probe, hostile])
}

/// Refused in one sentence, or taken as meant.
pub(crate) fn refused_or_prints(output: Output, text: &str) -> Result<()> {
    if output.code() == Some(0) {
        ensure!(output.text() == text, "{output}");
        return Ok(());
    }
    output.refused(125, &[]).map(drop)
}

/// Runs `attack` on a node of its own, whose host must then still answer and have kept its memory within `most` bytes above
/// what it had.
pub(crate) fn within_memory(most: u64, attack: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
    let node = Node::start()?;
    let host = Outside::new(node.pid()?);
    node.proa(&["run", "--rm", node.probe()?, "out", "warm"])?.success()?;
    host.forget_peak();
    let before = host.peak()?;
    attack(&node)?;
    let grown = host.peak()?.saturating_sub(before);
    ensure!(grown <= most, "the host's memory grew by {} MiB", grown >> 20);
    node.get("/_ping")?.success()?;
    node.close()
}

fn a_missing_bind_source_is_named(under: &Under) -> Result<()> {
    let missing = under.node.scratch().join("no-such-folder");
    let missing = guest::path(&missing)?;
    let name = format!("bind-{}", under.isolation);
    for flags in [["-v", &format!("{missing}:/data")], ["--dir", &format!("{missing}::/data")]] {
        let output = under.node.run(under.isolation, &[&["--name", &name][..], &flags].concat(), &["out", "x"])?;
        output.refused(125, &[missing])?;
        ensure!(!std::path::Path::new(missing).exists(), "the missing source was made");
        nothing_stays(under.node, &name)?;
    }
    Ok(())
}

fn a_mount_that_makes_no_sense_is_refused(under: &Under) -> Result<()> {
    let here = guest::path(under.node.scratch())?.to_owned();
    let mut volumes = vec![format!("{here}:"), format!("{here}:/data:sideways"), ":/data".to_owned()];
    // WASI's preopened directories have names, and `data` is one (wasmtime's `--dir`); a mount point is absolute.
    if !under.isolation.is_wasm() {
        volumes.push(format!("{here}:data"));
        volumes.push(format!("{here}:/"));
    }
    for volume in volumes {
        let output = under.node.run(under.isolation, &["-v", &volume], &["out", "x"])?;
        output.refused(125, &[])?;
    }
    Ok(())
}

fn an_oci_layout_that_is_none_is_refused() -> Result<()> {
    let node = Node::shared()?;
    let folder = node.scratch().join("no-layout");
    fs::create_dir_all(&folder)?;
    for place in ["/no/such/folder", guest::path(&folder)?] {
        node.proa(&["run", "--rm", &format!("oci:{place}")])?.refused(125, &[place])?;
    }
    fs::write(folder.join("index.json"), "{ not json")?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    node.proa(&["run", "--rm", &format!("oci:{}", guest::path(&folder)?)])?.refused(125, &["index"])?;
    fs::write(folder.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#)?;
    node.proa(&["run", "--rm", &format!("oci:{}", guest::path(&folder)?)])?.refused(125, &[])?;
    node.proa(&["run", "--rm", &format!("oci:{}:sometag", guest::path(&folder)?)])?.refused(125, &["sometag"])?;
    node.proa(&["run", "--rm", "./no-such-app.wasm"])?.refused(125, &["no-such-app.wasm"])?;
    Ok(())
}

fn a_reference_that_is_none_is_refused() -> Result<()> {
    let node = Node::shared()?;
    let long = "a".repeat(300);
    for reference in ["UPPER/case", "name:tag:tag", "a b", "name@sha256:short", "", "-", "../up", &long, "x/../../y"] {
        let output = node.proa(&["pull", "--", reference])?;
        ensure!(output.code() == Some(1) || output.code() == Some(125), "`{reference}`: {output}");
        output.keeps_its_composure()?;
    }
    node.proa(&["run", "--rm", "UPPER/case"])?.refused(125, &["UPPER/case"])?;
    Ok(())
}

fn flags_that_contradict_or_make_no_sense_are_refused() -> Result<()> {
    let node = Node::shared()?;
    let probe = node.probe()?;
    let bad: [(&[&str], &str); 9] = [
        (&["-m", "12parsecs"], "12parsecs"),
        (&["-m", "1k"], "memory"),
        (&["--cpus=-1"], "cpus"),
        (&["--cpus", "many"], "many"),
        (&["--network", "nowhere"], "nowhere"),
        (&["--platform", "plan9/amd64", "--pull", "never"], "plan9"),
        (&["--env-file", "/no/such/file"], "/no/such/file"),
        (&["--name", "not a name!"], "name"),
        (&["--pull", "sometimes"], "sometimes"),
    ];
    for (flags, word) in bad {
        node.proa(&[&["run", "--rm"], flags, &[probe, "out", "x"]].concat())?.refused(125, &[word])?;
    }
    node.proa(&["run"])?.exits(1)?.keeps_its_composure()?;
    Ok(())
}

fn unknown_verbs_and_containers_are_refused() -> Result<()> {
    let node = Node::shared()?;
    let output = node.proa(&["sail"])?;
    ensure!(output.code() != Some(0), "{output}");
    output.keeps_its_composure()?;
    for verb in ["stop", "kill", "rm", "wait", "attach", "logs", "inspect"] {
        node.proa(&[verb, "nobody"])?.refused(1, &["nobody"])?;
    }
    node.proa(&["rmi", "nothing/here"])?.refused(1, &["nothing/here"])?;
    node.proa(&["tag", "nothing/here", "x"])?.refused(1, &["nothing/here"])?;
    node.proa(&["push", "127.0.0.1:1/nothing"])?.refused(1, &["127.0.0.1:1/nothing"])?;
    node.proa(&["kill", "-s", "NOSUCH", "nobody"])?.exits(1)?.keeps_its_composure()?;
    Ok(())
}

fn a_port_of_a_native_container_is_refused() -> Result<()> {
    let node = Node::shared()?;
    let line = ["run", "--rm", "--isolation", "linux", "-p", "127.0.0.1:0:80", node.probe()?, "out", "x"];
    node.proa(&line)?.refused(125, &["port"])?;
    Ok(())
}

fn a_load_that_is_no_archive_is_refused() -> Result<()> {
    let node = Node::shared()?;
    let noise = guest::blob(100_000);
    for body in [&b""[..], b"not a tar archive at all", &noise] {
        let answer = node.post("/images/load?quiet=1", "application/x-tar", body)?;
        // Docker answers 200 and puts an error into the stream, or a status of failure; silence is wrong.
        ensure!(answer.status >= 400 || answer.text().contains("error"), "{} {}", answer.status, answer.text());
    }
    node.get("/_ping")?.success()?;
    Ok(())
}

fn malformed_requests_are_answered_and_the_host_lives_on() -> Result<()> {
    let node = Node::shared()?;
    let bodies: [&[u8]; 5] = [b"", b"{", b"[]", b"{\"Image\":7}", b"null"];
    for body in bodies {
        let answer = node.post("/containers/create", "application/json", body)?;
        ensure!((400..500).contains(&answer.status), "{}: {}", String::from_utf8_lossy(body), answer.status);
        ensure!(answer.json()?["message"].is_string(), "{}", answer.text());
    }
    for target in ["/no/such/thing", "/v1.51/containers/../images/json", "/v9.99/info", "/%00"] {
        let answer = node.get(target)?;
        ensure!((400..500).contains(&answer.status), "`{target}`: {}", answer.status);
    }
    node.get("/v1.51/_ping")?.success()?;
    node.get("/v1.24/info")?.success()?;
    Ok(())
}
