//! Images: here, from and to registries, from and to archives.

use std::fs;

use anyhow::{Result, ensure};
use proa_tests::docker::{Docker, Version};
use proa_tests::peer::Distribution;
use proa_tests::{Isolation, Need, Node, cases, guest};

use super::Alone;

pub(super) const CASES: [Alone; 3] =
    cases![docker_lists_tags_and_removes_images, docker_loads_an_archive, docker_saves_and_loads];
pub(super) const NATIVE_CASES: [Alone; 1] = cases![docker_shows_history];
pub(super) const REGISTRY_CASES: [Alone; 2] =
    cases![docker_pushes_and_pulls_by_the_same_socket, docker_logs_in_and_out];

fn docker_lists_tags_and_removes_images(version: Version) -> Result<()> {
    let node = Node::start()?;
    let docker = Docker { node: &node, version };
    let image = guest::bare(&node)?;
    docker.run(&["tag", &image, "shelf/other:1.0"])?.success()?;
    let listed = docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"])?.success()?;
    ensure!(listed.text().contains("shelf/other:1.0"), "{listed}");
    let digests = docker.run(&["images", "--digests", "shelf/other"])?.success()?;
    ensure!(digests.lines().len() == 2 && digests.text().contains("sha256:"), "{digests}");
    let inspected = docker.text(&["image", "inspect", "-f", "{{.Os}} {{.Architecture}} {{.Id}}", "shelf/other:1.0"])?;
    ensure!(inspected.starts_with("linux amd64 sha256:"), "{inspected}");
    let removed = docker.run(&["rmi", "shelf/other:1.0"])?.success()?;
    ensure!(removed.text().contains("Untagged: shelf/other:1.0"), "{removed}");
    let removed = docker.run(&["rmi", &image])?.success()?;
    ensure!(removed.text().contains("Deleted: sha256:"), "{removed}");
    ensure!(docker.text(&["images", "-q"])?.is_empty());
    node.close()
}

fn docker_loads_an_archive(version: Version) -> Result<()> {
    let node = Node::start()?;
    let docker = Docker { node: &node, version };
    let archive = node.scratch().join("probe.tar");
    fs::write(&archive, guest::tar_of(guest::probe_layout(&node)?)?)?;
    let output = docker.run(&["load", "-i", guest::path(&archive)?])?.success()?;
    ensure!(output.text().contains("Loaded image: "), "{output}");
    let reference = output.text().trim_start_matches("Loaded image: ").to_owned();
    docker.run(&["run", "--rm", &reference, "out", "x"])?.success()?;
    node.close()
}

fn docker_saves_and_loads(version: Version) -> Result<()> {
    let node = Node::start()?;
    let docker = Docker { node: &node, version };
    let image = guest::bare(&node)?;
    let id = docker.text(&["images", "-q", "--no-trunc"])?;
    let archive = node.scratch().join("saved.tar");
    docker.run(&["save", "-o", guest::path(&archive)?, &image])?.success()?;
    docker.run(&["rmi", &image])?.success()?;
    let output = docker.feed(&["load"], &fs::read(&archive)?)?.success()?;
    ensure!(output.text() == format!("Loaded image: {image}"), "{output}");
    ensure!(docker.text(&["images", "-q", "--no-trunc"])? == id);
    docker.run(&["save", "nobody:1"])?.exits(1)?.keeps_its_composure()?;
    node.close()
}

fn docker_shows_history(version: Version) -> Result<()> {
    let docker = Docker { node: Node::shared()?, version };
    let image = guest::busybox(docker.node)?;
    docker.run(&["history", "--no-trunc", &image])?.success()?;
    docker.run(&["image", "history", "-q", &image])?.success()?;
    docker.run(&["history", "nobody"])?.exits(1)?.keeps_its_composure()?;
    Ok(())
}

fn docker_pushes_and_pulls_by_the_same_socket(version: Version) -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::start()?);
    let docker = Docker { node: &node, version };
    let image = guest::bare(&node)?;
    let remote = format!("{}/docker/pushed:1", registry.address());
    docker.run(&["tag", &image, &remote])?.success()?;
    let pushed = docker.run(&["push", &remote])?.success()?;
    ensure!(pushed.text().contains("digest: sha256:"), "{pushed}");
    docker.run(&["rmi", &remote, &image])?.success()?;
    let pulled = docker.run(&["pull", &remote])?.success()?;
    ensure!(pulled.text().contains("Status: Downloaded newer image for"), "{pulled}");
    let again = docker.run(&["pull", &remote])?.success()?;
    ensure!(again.text().contains("Status: Image is up to date for"), "{again}");
    let quiet = docker.run(&["pull", "-q", &remote])?.success()?;
    ensure!(quiet.text() == remote, "{quiet}");
    if Need::Isolation(Isolation::Linux).lacking().is_none() {
        let output = docker.run(&["run", "--rm", &remote, "out", "back again"])?.success()?;
        ensure!(output.text() == "back again", "{output}");
    }
    node.close()
}

fn docker_logs_in_and_out(version: Version) -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::guarded()?);
    let docker = Docker { node: &node, version };
    let address = registry.address().to_string();
    let image = guest::bare(&node)?;
    let remote = format!("{address}/guarded:1");
    docker.run(&["tag", &image, &remote])?.success()?;
    docker.run(&["push", &remote])?.exits(1)?.keeps_its_composure()?;
    let login = |password: &[u8]| docker.feed(&["login", "-u", "sailor", "--password-stdin", &address], password);
    let refused = login(b"wrong")?.exits(1)?;
    ensure!(refused.complaint().contains("unauthorized"), "{refused}");
    let taken = login(b"ahoy")?.success()?;
    ensure!(taken.text().contains("Login Succeeded"), "{taken}");
    docker.run(&["push", &remote])?.success()?;
    docker.run(&["logout", &address])?.success()?;
    docker.run(&["push", &remote])?.exits(1)?;
    node.close()
}
