//! The oldest clients that are still spoken with.

use anyhow::{Result, ensure};
use proa_tests::{Node, command, docker, wait};

/// Docker Engine API 1.24 is the oldest that is spoken.
pub(crate) fn an_old_client_is_understood() -> Result<()> {
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
