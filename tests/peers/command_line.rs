//! The stock `docker` command line.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use proa_tests::docker::{self, docker};
use proa_tests::node::fresh_name;
use proa_tests::peer::Distribution;
use proa_tests::{Isolation, Need, Node, Output, Suite, Under, cases, guest, wait};
use serde_json::Value;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[Need::Peer("docker")],
        cases![
            docker_runs_and_passes_the_exit_code,
            docker_runs_with_input_and_output,
            docker_runs_detached_and_follows_logs,
            docker_attaches,
            docker_waits_stops_kills_and_removes,
            docker_inspects_and_lists,
        ],
    );
    suite.under(
        &[Isolation::Linux, Isolation::LinuxUserns],
        &[Need::Peer("docker"), Need::Peer("busybox")],
        cases![docker_executes, docker_gives_a_terminal],
    );
    suite.add(
        &[Need::Peer("docker")],
        cases![
            docker_shows_version_and_info,
            docker_lists_tags_and_removes_images,
            docker_loads_an_archive,
            docker_is_told_what_is_wrong,
        ],
    );
    suite.add(
        &[Need::Peer("docker"), Need::Peer("docker-registry")],
        cases![docker_pushes_and_pulls_by_the_same_socket],
    );
}

fn run(under: &Under, flags: &[&str], args: &[&str]) -> Result<Output> {
    docker(under.node, &line(under, flags, args)?)
}

fn line<'a>(under: &'a Under, flags: &[&'a str], args: &[&'a str]) -> Result<Vec<&'a str>> {
    Ok([&["run", "--isolation", under.isolation.name()], flags, &[under.node.probe()?], args].concat())
}

fn docker_runs_and_passes_the_exit_code(under: &Under) -> Result<()> {
    let output = run(under, &["--rm"], &["out", "by docker"])?.success()?;
    ensure!(output.stdout == b"by docker\n" && output.stderr.is_empty(), "{output}");
    run(under, &["--rm"], &["exit", "1"])?.exits(1)?;
    let output = run(under, &["--rm", "-e", "A=b"], &["env"])?.success()?;
    ensure!(output.lines().iter().any(|line| line == "A=b"), "{output}");
    Ok(())
}

fn docker_runs_with_input_and_output(under: &Under) -> Result<()> {
    let input = guest::blob(5_000_000);
    let output = docker::feed(under.node, &line(under, &["--rm", "-i"], &["cat"])?, &input)?.success()?;
    ensure!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    let output = docker::feed(under.node, &line(under, &["--rm", "-i"], &["upper"])?, b"Word\n")?.success()?;
    ensure!(output.stdout == b"WORD\n" && output.stderr == b"word\n", "{output}");
    Ok(())
}

fn detached(under: &Under, flags: &[&str], args: &[&str]) -> Result<String> {
    let output = run(under, &[&["-d"], flags].concat(), args)?.success()?;
    Ok(output.text())
}

fn docker_runs_detached_and_follows_logs(under: &Under) -> Result<()> {
    let id = detached(under, &[], &["tick", "0.02"])?;
    let follower = docker::start(under.node, &["logs", "-f", &id])?;
    follower.shows("ticks", |seen| seen.contains("tick 10\n"))?;
    let tail = docker(under.node, &["logs", "--tail", "2", &id])?.success()?;
    ensure!(tail.lines().len() == 2, "{tail}");
    docker(under.node, &["rm", "-f", &id])?.success()?;
    follower.finish(wait::PATIENCE)?.keeps_its_composure()?;
    Ok(())
}

fn docker_attaches(under: &Under) -> Result<()> {
    let id = detached(under, &["-i"], &["cat"])?;
    let mut attached = docker::start(under.node, &["attach", &id])?;
    let mut stdin = attached.stdin()?;
    stdin.write_all(b"echo\n")?;
    attached.shows("the answer", |seen| seen.contains("echo"))?;
    docker(under.node, &["kill", &id])?.success()?;
    drop(stdin);
    attached.finish(wait::PATIENCE)?.exits(137)?;
    docker(under.node, &["rm", &id])?.success()?;
    Ok(())
}

fn docker_waits_stops_kills_and_removes(under: &Under) -> Result<()> {
    let id = detached(under, &[], &["spin"])?;
    let waiting = docker::start(under.node, &["wait", &id])?;
    docker(under.node, &["stop", "-t", "1", &id])?.success()?;
    let code = waiting.finish(wait::PATIENCE)?.success()?.text();
    ensure!(code == "137" || code == "143", "{code}");
    docker(under.node, &["rm", &id])?.success()?;
    let id = detached(under, &[], &["tick", "1"])?;
    docker(under.node, &["rm", &id])?.exits(1)?;
    docker(under.node, &["kill", &id])?.success()?;
    let code = docker(under.node, &["wait", &id])?.success()?;
    ensure!(code.text() == "137", "{code}");
    docker(under.node, &["rm", &id])?.success()?;
    docker(under.node, &["inspect", &id])?.exits(1)?;
    Ok(())
}

fn docker_inspects_and_lists(under: &Under) -> Result<()> {
    let name = fresh_name("by-docker");
    let id = detached(under, &["--name", &name, "-l", "a=b"], &["tick", "1"])?;
    let output = docker(under.node, &["inspect", &name])?.success()?;
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(seen[0]["Id"] == id.as_str() && seen[0]["State"]["Running"] == true, "{output}");
    ensure!(seen[0]["HostConfig"]["Isolation"] == under.isolation.name(), "{}", seen[0]["HostConfig"]);
    let created = seen[0]["Created"].as_str().context("a time of creation")?;
    ensure!(created.starts_with("20") && created.contains('T'), "{created}");
    let listed = docker(under.node, &["ps", "--filter", "label=a=b", "--format", "{{.ID}} {{.Names}} {{.State}}"])?;
    let wanted = format!("{} {name} running", &id[..12]);
    ensure!(listed.clone().success()?.lines().contains(&wanted), "{listed}");
    let table = docker(under.node, &["ps"])?.success()?;
    ensure!(table.text().contains(&name), "{table}");
    docker(under.node, &["rm", "-f", &name])?.success()?;
    Ok(())
}

fn docker_executes(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags = ["run", "-d", "-i", "--isolation", under.isolation.name(), &busybox, "cat"];
    let id = docker(under.node, &flags)?.success()?.text();
    let output = docker(under.node, &["exec", "-e", "A=1", "-w", "/tmp", &id, "sh", "-c", "echo $A; pwd; exit 3"])?;
    ensure!(output.clone().exits(3)?.text() == "1\n/tmp", "{output}");
    let input = guest::blob(1_000_000);
    let output = docker::feed(under.node, &["exec", "-i", &id, "cat"], &input)?.success()?;
    ensure!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
    docker(under.node, &["exec", &id, "/no/such"])?.exits(127)?;
    docker(under.node, &["exec", "-d", &id, "touch", "/tmp/detached"])?.success()?;
    wait::until("the detached exec has run", || {
        Ok(docker(under.node, &["exec", &id, "test", "-e", "/tmp/detached"])?.code() == Some(0))
    })?;
    docker(under.node, &["rm", "-f", &id])?.success()?;
    Ok(())
}

fn docker_gives_a_terminal(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let flags =
        ["run", "--rm", "-t", "--isolation", under.isolation.name(), &busybox, "sh", "-c", "test -t 1 && echo yes"];
    let output = docker(under.node, &flags)?.success()?;
    ensure!(output.stdout == b"yes\r\n", "{output}");
    Ok(())
}

fn docker_shows_version_and_info() -> Result<()> {
    let node = Node::shared()?;
    let version =
        docker(node, &["version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}"])?;
    ensure!(version.clone().success()?.text() == "1.51 1.24 linux", "{version}");
    docker(node, &["version"])?.success()?;
    let info =
        docker(node, &["info", "--format", "{{.NCPU}} {{.MemTotal}} {{.OSType}} {{.ServerVersion}}"])?.success()?;
    ensure!(info.text().contains(" linux ") && !info.text().starts_with('0'), "{info}");
    let info = docker(node, &["info"])?.success()?;
    ensure!(info.text().contains("Server Version"), "{info}");
    Ok(())
}

fn docker_lists_tags_and_removes_images() -> Result<()> {
    let node = Node::start()?;
    let image = guest::bare(&node)?;
    docker(&node, &["tag", &image, "shelf/other:1.0"])?.success()?;
    let listed = docker(&node, &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"])?.success()?;
    ensure!(listed.text().contains("shelf/other:1.0"), "{listed}");
    let inspected =
        docker(&node, &["image", "inspect", "--format", "{{.Os}} {{.Architecture}} {{.Id}}", "shelf/other:1.0"])?;
    ensure!(inspected.clone().success()?.text().starts_with("linux amd64 sha256:"), "{inspected}");
    let removed = docker(&node, &["rmi", "shelf/other:1.0"])?.success()?;
    ensure!(removed.text().contains("Untagged: shelf/other:1.0"), "{removed}");
    let removed = docker(&node, &["rmi", &image])?.success()?;
    ensure!(removed.text().contains("Deleted: sha256:"), "{removed}");
    let listed = docker(&node, &["images", "-q"])?.success()?;
    ensure!(listed.text().is_empty(), "{listed}");
    node.close()
}

fn docker_loads_an_archive() -> Result<()> {
    let node = Node::start()?;
    let archive = node.scratch().join("probe.tar");
    std::fs::write(&archive, guest::tar_of(guest::probe_layout(&node)?)?)?;
    let output = docker(&node, &["load", "-i", guest::path(&archive)?])?.success()?;
    ensure!(output.text().contains("Loaded image: "), "{output}");
    let reference = output.text().trim_start_matches("Loaded image: ").to_owned();
    docker(&node, &["run", "--rm", &reference, "out", "x"])?.success()?;
    node.close()
}

fn docker_is_told_what_is_wrong() -> Result<()> {
    let node = Node::shared()?;
    let output = docker(node, &["run", "--rm", "127.0.0.1:1/nobody"])?.exits(125)?;
    ensure!(output.complaint().contains("127.0.0.1:1"), "{output}");
    let output = docker(node, &["logs", "nobody"])?.exits(1)?;
    ensure!(output.complaint().to_lowercase().contains("no such container: nobody"), "{output}");
    let output = docker(node, &["run", "--rm", "--isolation", "cardboard", node.probe()?])?.exits(125)?;
    ensure!(output.complaint().contains("cardboard"), "{output}");
    Ok(())
}

fn docker_pushes_and_pulls_by_the_same_socket() -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::start()?);
    let image = guest::bare(&node)?;
    let remote = format!("{}/docker/pushed:1", registry.address());
    docker(&node, &["tag", &image, &remote])?.success()?;
    let pushed = docker(&node, &["push", &remote])?.success()?;
    ensure!(pushed.text().contains("digest: sha256:"), "{pushed}");
    docker(&node, &["rmi", &remote, &image])?.success()?;
    let pulled = docker(&node, &["pull", &remote])?.success()?;
    ensure!(pulled.text().contains("Status: Downloaded newer image for"), "{pulled}");
    let again = docker(&node, &["pull", &remote])?.success()?;
    ensure!(again.text().contains("Status: Image is up to date for"), "{again}");
    let isolation = Need::Isolation(Isolation::Linux);
    if isolation.lacking().is_none() {
        let output = docker(&node, &["run", "--rm", &remote, "out", "back again"])?.success()?;
        ensure!(output.text() == "back again", "{output}");
    }
    node.close()
}
