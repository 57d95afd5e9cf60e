//! `start`: lets the program of a created container run.

use std::fs;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::Spec;
use proa_linux::{Facts, start_at};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Signal, pidfd_send_signal};

use super::arguments::Global;
use super::bundle::{self, Manner};
use super::container::{Container, START, Status};
use super::hooks;

pub(super) fn start(global: &Global, id: &str) -> Result<()> {
    let container = Container::load(global, id)?;
    let facts = Facts::assumed();
    match container.status(&facts.cgroups) {
        Status::Created => {}
        Status::Stopped => bail!("cannot start a container that has stopped"),
        Status::Running | Status::Paused => bail!("cannot start an already running container"),
    }
    let spec = container.spec()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, &container.folder, flags, Mode::empty()).context("open the container's folder")?;
    // The plan is only made again where a step of it has failed: lowering is pure, so it is the one that was executed.
    let again = || {
        let group = &container.identity.group.path;
        let keyring = container.identity.keyring.as_deref();
        let manner = Manner { group, detached: true, preserve: 0, keyring, no_pivot: false };
        bundle::lower(&spec, &container.identity.rootfs, manner, &facts)
    };
    let started = start_at(folder.as_fd(), START, || again().map_err(|error| error.downcast().unwrap_or_else(lost)));
    // Whatever came of it, nobody waits there any more.
    drop(fs::remove_file(container.folder.join(START)));
    started.with_context(|| format!("start `{id}`"))?;
    after(&container, &spec)
}

/// What follows when the program runs: a poststart hook that fails ends the container (config.md, "POSIX-platform Hooks").
pub(super) fn after(container: &Container, spec: &Spec) -> Result<()> {
    hooks::poststart(container, spec).inspect_err(|_| {
        if let Some(process) = container.process() {
            // Gone already is as good as killed.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    })
}

fn lost(error: anyhow::Error) -> proa_linux::Error {
    proa_linux::Error::Plan(format!("make the plan again: {error:#}"))
}
