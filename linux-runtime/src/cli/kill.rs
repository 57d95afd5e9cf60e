//! `kill`: a signal for a container's process, or for all of them.

use anyhow::{Context, Result, bail};
use proa_linux::{cgroup, send_signal};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

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
        return to_all(&container, &layout, number);
    }
    if stopped {
        // Engines look for these words.
        bail!("container not running");
    }
    let process = container.process().context("container not running")?;
    send_signal(std::os::fd::AsFd::as_fd(&process), number).with_context(|| format!("signal `{id}`"))
}

fn to_all(container: &Container, layout: &cgroup::Layout, number: i32) -> Result<()> {
    let group = &container.identity.group;
    if number == libc::SIGKILL {
        cgroup::kill_all(layout, group);
        return Ok(());
    }
    for pid in cgroup::processes(layout, group) {
        let held = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let held = held.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // One that ended meanwhile is no failure.
        let _ = held.map(|process| send_signal(std::os::fd::AsFd::as_fd(&process), number));
    }
    Ok(())
}
