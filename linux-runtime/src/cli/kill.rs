//! `kill`: a signal for a container's process, or for all of them.

use anyhow::{Context, Result, bail};
use proa_linux::{cgroup, send_signal};

use super::arguments::Global;
use super::bundle;
use super::container::{Container, Status};
use super::signal;

pub(super) fn kill(global: &Global, id: &str, name: &str, all: bool) -> Result<()> {
    let number = signal::number(name)?;
    let container = Container::load(global, id)?;
    let layout = cgroup::Layout::here();
    let stopped = container.status(&layout) == Status::Stopped;
    // Without a pid namespace of its own the others outlive the first process: its KILL is meant for all of them.
    let shared = || container.spec().map(|spec| !bundle::has_pid_namespace(&spec)).unwrap_or(false);
    if all || (number == libc::SIGKILL && shared()) {
        to_all(&container, &layout, number);
        return Ok(());
    }
    if stopped {
        // Engines look for these words.
        bail!("container not running");
    }
    let process = container.process().context("container not running")?;
    send_signal(std::os::fd::AsFd::as_fd(&process), number).with_context(|| format!("signal `{id}`"))
}

fn to_all(container: &Container, layout: &cgroup::Layout, number: i32) {
    let group = &container.identity.group.path;
    if number == libc::SIGKILL {
        cgroup::kill_all(layout, group);
    } else {
        cgroup::signal_all(layout, group, number);
    }
}
