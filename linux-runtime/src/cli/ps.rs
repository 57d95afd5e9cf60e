//! `ps`: the processes of a container, by the host's numbers.

use std::process::Command;

use anyhow::{Context, Result, bail};
use proa_linux::cgroup::{self, Layout};

use super::arguments::Global;
use super::container::Container;

pub(super) fn ps(global: &Global, format: &str, id: &str, options: &[String]) -> Result<u8> {
    let container = Container::load(global, id)?;
    let pids = cgroup::processes(&Layout::here(), &container.identity.group.path);
    if format == "json" {
        println!("{}", serde_json::to_string(&pids)?);
        return Ok(0);
    }
    let options = if options.is_empty() { &["-ef".to_owned()] } else { options };
    let listed = Command::new("ps").args(options).output().context("execute `ps`")?;
    if !listed.status.success() {
        bail!("ps: {}", String::from_utf8_lossy(&listed.stderr).trim());
    }
    let text = String::from_utf8_lossy(&listed.stdout);
    let mut lines = text.lines();
    let header = lines.next().context("`ps` says nothing")?;
    let at = header.split_whitespace().position(|title| title == "PID").context("`ps` shows no column PID")?;
    println!("{header}");
    let ours = |line: &&str| {
        line.split_whitespace().nth(at).and_then(|pid| pid.parse().ok()).is_some_and(|pid: u32| pids.contains(&pid))
    };
    lines.filter(ours).for_each(|line| println!("{line}"));
    Ok(0)
}
