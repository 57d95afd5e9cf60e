//! Images on the command line: lists, names, archives.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, guest};
use serde_json::Value;

pub(crate) fn images_are_listed_tagged_and_removed() -> Result<()> {
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

pub(crate) fn an_image_in_use_is_not_removed() -> Result<()> {
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

pub(crate) fn pull_is_plain_in_a_pipe_and_quiet_when_asked() -> Result<()> {
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

pub(crate) fn the_reference_of_an_index_runs_under_either_model() -> Result<()> {
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

/// `save` writes what `load` and the two archive references take.
pub(crate) fn saved_images_come_back_by_load_and_by_reference() -> Result<()> {
    let node = Node::start()?;
    let image = guest::bare(&node)?;
    node.proa(&["tag", &image, "travels/far:1"])?.success()?;
    let archive = node.scratch().join("far.tar");
    let file = guest::path(&archive)?;
    node.proa(&["save", "-o", file, "travels/far:1"])?.success()?;
    let piped = node.proa(&["save", "travels/far:1"])?.success()?;
    ensure!(piped.stdout.len() > 10_000, "{} bytes", piped.stdout.len());
    for name in [image.as_str(), "travels/far:1"] {
        node.proa(&["rmi", name])?.success()?;
    }
    for (prefix, tag) in [("docker-archive:", ":travels/far:1"), ("oci-archive:", "")] {
        let reference = format!("{prefix}{file}{tag}");
        let made = node.proa(&["create", &reference, "/probe"])?.success()?;
        node.proa(&["rm", &made.text()])?.success()?;
    }
    let loaded = node.proa(&["load", "-i", file])?.success()?;
    ensure!(loaded.text() == "Loaded image: travels/far:1", "{loaded}");
    let fed = node.feed(&["load", "-q"], &piped.stdout)?.success()?;
    ensure!(fed.text() == "Loaded image: travels/far:1", "{fed}");
    let history = node.proa(&["history", "--format", "{{.CreatedBy}}", "travels/far:1"])?.success()?;
    ensure!(!history.lines().is_empty(), "{history}");
    node.proa(&["load", "-i", "/no/such/archive"])?.refused(1, &["/no/such/archive"])?;
    node.proa(&["create", "docker-archive:/no/such/archive"])?.refused(1, &["/no/such/archive"])?;
    node.feed(&["load"], b"this is no archive")?.refused(1, &["archive"])?;
    node.close()
}

pub(crate) fn a_tar_of_files_becomes_an_image() -> Result<()> {
    let node = Node::shared()?;
    let tar = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let change = "ENTRYPOINT [\"/probe\"]";
    let imported = node.feed(&["import", "-c", change, "-m", "by hand", "-", "brought/in:1"], &tar)?.success()?;
    ensure!(imported.text().starts_with("sha256:"), "{imported}");
    let entrypoint = node.proa(&["image", "inspect", "-f", "{{.Config.Entrypoint}}", "brought/in:1"])?.success()?;
    ensure!(entrypoint.text() == "[/probe]", "{entrypoint}");
    node.proa(&["rmi", "brought/in:1"])?.success()?;
    Ok(())
}
