//! `cp` as a user types it; the containers' side of it has its cases in the conformance suite.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::tarball::Tarball;
use proa_tests::{Under, guest};

pub(crate) fn cp_follows_docker_s_rules_both_ways(under: &Under) -> Result<()> {
    let (node, busybox) = (under.node, guest::busybox(under.node)?);
    let running = node.detached_image(&["--isolation", under.isolation.name()], &busybox, &["sleep", "1000"])?;
    let here = node.scratch().join(fresh_name("cp"));
    fs::create_dir_all(here.join("tree/inner"))?;
    fs::write(here.join("tree/file"), "content")?;
    fs::write(here.join("tree/inner/deep"), "deep")?;
    std::os::unix::fs::symlink("file", here.join("tree/link"))?;
    let local = |name: &str| -> Result<String> { Ok(guest::path(&here.join(name))?.to_owned()) };
    let inside = |path: &str| format!("{}:{path}", running.id());
    let cp = |from: &str, to: &str| node.proa(&["cp", from, to]);
    let shows =
        |path: &str| -> Result<String> { Ok(node.proa(&["exec", running.id(), "cat", path])?.success()?.text()) };

    cp(&local("tree")?, &inside("/tmp"))?.success()?;
    ensure!(shows("/tmp/tree/inner/deep")? == "deep" && shows("/tmp/tree/link")? == "content");
    cp(&local("tree/.")?, &inside("/tmp/new"))?.success()?;
    ensure!(shows("/tmp/new/file")? == "content");
    cp(&local("tree/file")?, &inside("/tmp/renamed"))?.success()?;
    ensure!(shows("/tmp/renamed")? == "content");
    cp(&local("tree/file")?, &inside("/no/such/folder/"))?.refused(1, &["/no/such/folder/"])?;
    cp(&local("tree")?, &inside("/tmp/renamed"))?.refused(1, &["directory"])?;
    cp("/no/such/file", &inside("/tmp"))?.refused(1, &["/no/such/file"])?;

    fs::create_dir(here.join("out"))?;
    cp(&inside("/tmp/tree"), &local("out")?)?.success()?;
    ensure!(fs::read_to_string(here.join("out/tree/inner/deep"))? == "deep");
    ensure!(fs::read_link(here.join("out/tree/link"))? == Path::new("file"));
    cp(&inside("/tmp/tree/."), &local("flat")?)?.success()?;
    ensure!(fs::read_to_string(here.join("flat/file"))? == "content");
    cp(&inside("/tmp/tree/file"), &local("single")?)?.success()?;
    ensure!(fs::read_to_string(here.join("single"))? == "content");
    node.proa(&["cp", "-L", &inside("/tmp/tree/link"), &local("followed")?])?.success()?;
    ensure!(fs::read_to_string(here.join("followed"))? == "content");
    cp(&inside("/tmp/no-such"), &local("x")?)?.refused(1, &["/tmp/no-such"])?;
    cp(&inside("/tmp/tree"), &local("no/such/folder")?)?.refused(1, &["does not exist"])?;

    let piped = cp(&inside("/tmp/tree"), "-")?.success()?;
    ensure!(piped.stdout.len() >= 1024 && piped.stdout.starts_with(b"tree/"), "{} bytes", piped.stdout.len());
    let tar = Tarball::new().file("streamed", 0o644, b"by tar").finish();
    node.feed(&["cp", "-", &inside("/tmp")], &tar)?.success()?;
    ensure!(shows("/tmp/streamed")? == "by tar");
    node.feed(&["cp", "-", &inside("/tmp/renamed")], &tar)?.refused(1, &["must be a directory"])?;
    Ok(())
}

/// The guest's links lead nowhere here (CVE-2018-15664's kin on the client's side).
pub(crate) fn cp_writes_through_no_link_of_the_guest_s(under: &Under) -> Result<()> {
    let (node, busybox) = (under.node, guest::busybox(under.node)?);
    let script = "mkdir /t; ln -s /t/.. /t/up; ln -s ../../target /t/out; sleep 1000";
    let running = node.detached_image(&["--isolation", under.isolation.name()], &busybox, &["sh", "-c", script])?;
    let made = || Ok(node.proa(&["exec", running.id(), "ls", "/t"])?.text().contains("out"));
    proa_tests::wait::until("the links are made", made)?;
    let here = node.scratch().join(fresh_name("links"));
    fs::create_dir_all(here.join("into"))?;
    fs::write(here.join("target"), "untouched")?;
    let source = format!("{}:/t/.", running.id());
    let into = guest::path(&here.join("into"))?.to_owned();
    for _ in 0..2 {
        node.proa(&["cp", &source, &into])?.success()?;
    }
    ensure!(fs::symlink_metadata(here.join("into/out"))?.is_symlink());
    // Over a link that is there, a file replaces the link and not what it points at.
    node.proa(&["exec", running.id(), "sh", "-c", "rm /t/out; echo new > /t/out"])?.success()?;
    std::os::unix::fs::symlink(here.join("target"), here.join("into/swapped")).context("a link")?;
    node.proa(&["cp", &source, &into])?.success()?;
    ensure!(fs::read_to_string(here.join("target"))? == "untouched");
    ensure!(fs::read_to_string(here.join("into/out"))?.trim() == "new");
    Ok(())
}
