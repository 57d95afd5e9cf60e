//! Files of containers, and volumes.

use std::fs;

use anyhow::{Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{cases, guest};

use super::{On, Under};

pub(super) const CASES: [Under; 2] = cases![docker_copies_in_and_out, docker_keeps_files_in_volumes];
pub(super) const NATIVE_CASES: [Under; 3] = cases![docker_shows_changes, docker_exports_and_imports, docker_commits];

fn docker_copies_in_and_out(on: &On<'_>) -> Result<()> {
    let folder = on.docker.node.scratch().join(fresh_name("copied"));
    fs::create_dir(&folder)?;
    fs::write(folder.join("given"), "content")?;
    // A Wasm guest's image is read-only to it, so files go where it can find them: into a volume.
    let id = on.docker.text(&on.line("create", &["-v", "/data"], &["read", "/data/given"])?)?;
    on.docker.run(&["cp", guest::path(&folder.join("given"))?, &format!("{id}:/data/")])?.success()?;
    on.docker.run(&["cp", &format!("{id}:/data/given"), guest::path(&folder.join("taken"))?])?.success()?;
    ensure!(fs::read(folder.join("taken"))? == b"content");
    let read = on.docker.run(&["start", "-a", &id])?.success()?;
    ensure!(read.text() == "content", "{read}");
    let streamed = on.docker.run(&["cp", &format!("{id}:/data/given"), "-"])?.success()?;
    ensure!(streamed.stdout.starts_with(b"given\0"), "no archive of `given`");
    on.docker.run(&["cp", &format!("{id}:/no/such"), "-"])?.exits(1)?.keeps_its_composure()?;
    on.remove(&id)
}

fn docker_keeps_files_in_volumes(on: &On<'_>) -> Result<()> {
    let name = fresh_name("volume");
    let docker = on.docker;
    ensure!(docker.text(&["volume", "create", "--label", "a=b", &name])? == name);
    let mount = format!("{name}:/data");
    let probe = docker.node.probe()?;
    let run = |args: &[&str]| {
        docker.run(&[&["run", "--rm", "--isolation", on.isolation.name(), "-v", &mount, probe], args].concat())
    };
    run(&["write", "/data/file", "kept"])?.success()?;
    ensure!(run(&["read", "/data/file"])?.success()?.text() == "kept");
    ensure!(docker.text(&["volume", "ls", "-q", "--filter", &format!("name={name}")])? == name);
    ensure!(docker.text(&["volume", "inspect", "-f", "{{.Driver}} {{.Labels.a}}", &name])? == "local b");
    let user = docker.text(&on.line("create", &[], &["out", "x"])?)?;
    docker.run(&["volume", "rm", &name])?.success()?;
    docker.run(&["volume", "inspect", &name])?.exits(1)?;
    on.remove(&user)
}

fn docker_shows_changes(on: &On<'_>) -> Result<()> {
    let id = on.busybox(&[], &["sh", "-c", "echo 1 > /new; echo x >> /etc/group; rm /etc/passwd"])?;
    on.docker.run(&["wait", &id])?.success()?;
    let mut changes = on.docker.run(&["diff", &id])?.success()?.lines();
    changes.sort();
    ensure!(changes == ["A /new", "C /etc", "C /etc/group", "D /etc/passwd"], "{changes:?}");
    on.remove(&id)
}

fn docker_exports_and_imports(on: &On<'_>) -> Result<()> {
    let id = on.busybox(&[], &["sh", "-c", "echo kept > /kept"])?;
    on.docker.run(&["wait", &id])?.success()?;
    let archive = on.docker.node.scratch().join(fresh_name("export"));
    let path = guest::path(&archive)?;
    on.docker.run(&["export", "-o", path, &id])?.success()?;
    on.remove(&id)?;
    let name = format!("{}:1", fresh_name("imported"));
    let change = ["--change", "ENV PATH=/bin", "--change", "CMD [\"cat\", \"/kept\"]"];
    let digest = on.docker.text(&[&["import", "-m", "why"], &change[..], &[path, &name]].concat())?;
    ensure!(digest.starts_with("sha256:"), "{digest}");
    let output = on.docker.run(&["run", "--rm", "--isolation", on.isolation.name(), &name])?.success()?;
    ensure!(output.text() == "kept", "{output}");
    on.docker.run(&["rmi", &name])?.success()?;
    Ok(())
}

fn docker_commits(on: &On<'_>) -> Result<()> {
    let id = on.busybox(&[], &["sh", "-c", "echo kept > /kept"])?;
    on.docker.run(&["wait", &id])?.success()?;
    let name = format!("{}:1", fresh_name("committed"));
    let change = ["-m", "why", "-a", "who", "-c", "CMD [\"cat\", \"/kept\"]"];
    on.docker.run(&[&["commit"], &change[..], &[&id, &name]].concat())?.success()?;
    on.remove(&id)?;
    let output = on.docker.run(&["run", "--rm", "--isolation", on.isolation.name(), &name])?.success()?;
    ensure!(output.text() == "kept", "{output}");
    let history = on.docker.run(&["history", "--format", "{{.Comment}}", &name])?.success()?;
    ensure!(history.lines().first().is_some_and(|line| line == "why"), "{history}");
    on.docker.run(&["rmi", &name])?.success()?;
    Ok(())
}
