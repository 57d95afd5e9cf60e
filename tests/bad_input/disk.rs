//! A disk that is full: whoever needs it hears so, nothing half done is to be seen, and all is well once there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, Suite, cases, guest};

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[Need::Isolation(Isolation::Linux), Need::Root],
        cases![a_full_disk_is_named_and_heals_when_space_returns],
    );
}

/// Takes all the room there is.
fn exhaust(path: &Path) -> Result<()> {
    let mut filler = File::create(path)?;
    for piece in [vec![0; 1 << 20], vec![0; 4096], vec![0; 1]] {
        while filler.write_all(&piece).is_ok() {}
    }
    Ok(())
}

/// Names that nobody should see: of blobs and layers on their way in.
fn unfinished(root: &Path) -> Vec<String> {
    let names = |folder: &str| fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let ingest = names("store/ingest").filter(|entry| !entry.file_name().to_string_lossy().starts_with("partial-"));
    let layers = names("layers").filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    ingest.chain(layers).map(|entry| entry.path().display().to_string()).collect()
}

fn large() -> Image {
    let layer = Tarball::new().file("large", 0o644, &guest::blob(8 << 20));
    let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer])
}

fn a_full_disk_is_named_and_heals_when_space_returns() -> Result<()> {
    let (node, shelf) = (Node::below("disk")?, Shelf::open()?);
    node.wake_on_disk(96)?;
    let probe = node.probe()?;
    let runs = |name: &str, text: &str| -> Result<()> {
        let output = node.proa(&["run", "--rm", "--isolation", "linux", name, "out", text])?.success()?;
        ensure!(output.text() == text, "{output}");
        Ok(())
    };
    runs(probe, "before")?;
    let neighbour = node.detached(Isolation::Linux, &[], &["tick", "0.2"])?;
    let root = node.seen_by_host(node.root())?;
    let filler = root.parent().context("a root has a parent")?.join("filler");
    let images = node.proa(&["images", "-a"])?.success()?.text();
    let containers = node.proa(&["ps", "-aq", "--no-trunc"])?.success()?.text();
    let reference = shelf.put("large", &large());
    let loaded = {
        let layout = node.scratch().join("large");
        large().write_layout(&layout, "docker.io/library/large:1")?;
        guest::tar_of(&layout)?
    };

    for round in 0..3 {
        exhaust(&filler)?;
        node.proa(&["pull", &reference])?.refused(1, &["space"]).context("pull")?;
        node.proa(&["run", "--rm", &reference])?.refused(125, &["space"]).context("run")?;
        let answer = node.post("/images/load?quiet=1", "application/x-tar", &loaded)?;
        ensure!(answer.text().contains("space"), "load: {} {}", answer.status, answer.text());
        node.proa(&["create", "--isolation", "linux", probe, "out", "x"])?.refused(1, &["space"]).context("create")?;
        node.proa(&["tag", probe, &format!("elsewhere:{round}")])?.refused(1, &["space"]).context("tag")?;
        node.get("/_ping")?.success()?;
        ensure!(node.proa(&["images", "-a"])?.success()?.text() == images, "the images changed");
        ensure!(node.proa(&["ps", "-aq", "--no-trunc"])?.success()?.text() == containers, "the containers changed");
        ensure!(unfinished(&root).is_empty(), "left: {:?}", unfinished(&root));
        fs::remove_file(&filler)?;
        runs(probe, "after")?;
    }
    node.proa(&["pull", &reference])?.success()?;
    runs(&reference, "large")?;
    node.proa(&["rmi", "-f", &reference])?.success()?;
    let seen = neighbour.logs()?.lines().len();
    neighbour.shows("more ticks", |logs| logs.lines().count() > seen + 2)?;
    drop(neighbour);
    node.close()
}
