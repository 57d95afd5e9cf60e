//! The node: what it is, what it holds, what it does not have yet.

use anyhow::{Result, ensure};
use proa_tests::docker::{Docker, Version};
use proa_tests::{Node, cases, guest};

use super::Alone;

pub(super) const CASES: [Alone; 4] = cases![
    docker_shows_version_and_info,
    docker_lists_networks,
    docker_is_told_what_is_wrong,
    docker_is_told_what_is_not_there_yet,
];
pub(super) const NATIVE_CASES: [Alone; 2] = cases![docker_counts_and_prunes, docker_prunes_by_kind];

fn docker_shows_version_and_info(version: Version) -> Result<()> {
    let docker = Docker { node: Node::shared()?, version };
    let format = "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}";
    let seen = docker.text(&["version", "--format", format])?;
    ensure!(seen == "1.51 1.24 linux", "{seen}");
    docker.run(&["version"])?.success()?;
    let info = docker.text(&["info", "--format", "{{.NCPU}} {{.MemTotal}} {{.OSType}} {{.ServerVersion}}"])?;
    ensure!(info.contains(" linux ") && !info.starts_with('0'), "{info}");
    let info = docker.run(&["info"])?.success()?;
    ensure!(info.text().contains("Server Version") && !info.complaint().contains("WARNING: No "), "{info}");
    Ok(())
}

fn docker_lists_networks(version: Version) -> Result<()> {
    let docker = Docker { node: Node::shared()?, version };
    let listed = docker.run(&["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"])?.success()?;
    ensure!(listed.lines() == ["bridge bridge local", "host host local", "none null local"], "{listed}");
    ensure!(docker.text(&["network", "inspect", "-f", "{{.Name}}", "bridge"])? == "bridge");
    docker.run(&["network", "prune", "-f"])?.success()?;
    docker.run(&["builder", "prune", "-f"])?.success()?;
    Ok(())
}

fn docker_is_told_what_is_wrong(version: Version) -> Result<()> {
    let docker = Docker { node: Node::shared()?, version };
    let output = docker.run(&["run", "--rm", "127.0.0.1:1/nobody"])?.exits(125)?;
    ensure!(output.complaint().contains("127.0.0.1:1"), "{output}");
    let output = docker.run(&["logs", "nobody"])?.exits(1)?;
    ensure!(output.complaint().to_lowercase().contains("no such container: nobody"), "{output}");
    let output = docker.run(&["run", "--rm", "--isolation", "cardboard", docker.node.probe()?])?.exits(125)?;
    ensure!(output.complaint().contains("cardboard"), "{output}");
    Ok(())
}

fn docker_is_told_what_is_not_there_yet(version: Version) -> Result<()> {
    let docker = Docker { node: Node::shared()?, version };
    let lines: [&[&str]; 5] =
        [&["network", "create", "x"], &["search", "busybox"], &["plugin", "ls"], &["swarm", "init"], &["node", "ls"]];
    for line in lines {
        let output = docker.run(line)?.exits(1)?.keeps_its_composure()?;
        ensure!(output.complaint().contains("not supported by proa yet"), "{output}");
    }
    Ok(())
}

fn docker_counts_and_prunes(version: Version) -> Result<()> {
    let node = Node::start()?;
    let docker = Docker { node: &node, version };
    let image = guest::busybox(&node)?;
    docker.run(&["run", &image, "sh", "-c", "echo x > /x"])?.success()?;
    docker.run(&["volume", "create", "named"])?.success()?;
    let kinds = docker.run(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"])?.success()?;
    ensure!(kinds.lines() == ["Images 1 1", "Containers 1 0", "Local Volumes 1 0", "Build Cache 0 0"], "{kinds}");
    docker.run(&["system", "df", "-v"])?.success()?;
    let pruned = docker.run(&["system", "prune", "-a", "-f", "--volumes"])?.success()?;
    ensure!(pruned.text().contains("Total reclaimed space: "), "{pruned}");
    ensure!(docker.text(&["ps", "-aq"])?.is_empty() && docker.text(&["images", "-q"])?.is_empty());
    node.close()
}

fn docker_prunes_by_kind(version: Version) -> Result<()> {
    let node = Node::start()?;
    let docker = Docker { node: &node, version };
    let image = guest::busybox(&node)?;
    let id = docker.text(&["create", "-l", "a=b", &image, "true"])?;
    docker.run(&["container", "prune", "-f", "--filter", "label=a=c"])?.success()?;
    ensure!(docker.text(&["ps", "-aq", "--no-trunc"])? == id);
    let pruned = docker.run(&["container", "prune", "-f"])?.success()?;
    ensure!(pruned.text().contains(&id), "{pruned}");
    docker.run(&["volume", "create", "named"])?.success()?;
    docker.run(&["volume", "prune", "-f"])?.success()?;
    ensure!(docker.text(&["volume", "ls", "-q"])? == "named");
    docker.run(&["volume", "prune", "-a", "-f"])?.success()?;
    ensure!(docker.text(&["volume", "ls", "-q"])?.is_empty());
    docker.run(&["image", "prune", "-f"])?.success()?;
    ensure!(!docker.text(&["images", "-q"])?.is_empty());
    docker.run(&["image", "prune", "-a", "-f"])?.success()?;
    ensure!(docker.text(&["images", "-q"])?.is_empty());
    node.close()
}
