//! `delete`: ends what must end, and lets go of what is held of a container.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use oci_spec::runtime::Spec;
use proa_linux::{Facts, cgroup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::arguments::Global;
use super::container::{self, Container, Status};
use super::group::Group;
use super::hooks;

/// How long a killed process may take to end: one that waits for a disk ends when the disk answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn delete(global: &Global, id: &str, force: bool) -> Result<()> {
    let container = match Container::load(global, id) {
        Err(_) if force => return forget_unfinished(global, id),
        other => other?,
    };
    let facts = Facts::assumed();
    match container.status(&facts.cgroups) {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        status => bail!("cannot delete container `{id}` that is not stopped: {}", status.name()),
    }
    let spec = container.spec().unwrap_or_default();
    destroy(&container, &spec, &facts)
}

/// Ends everything of it, removes its cgroups and its folder, and runs its poststop hooks.
pub(super) fn destroy(container: &Container, spec: &Spec, facts: &Facts) -> Result<()> {
    let group = &container.identity.group;
    if let Some(process) = container.process() {
        // Gone already is as good as killed.
        let _ = pidfd_send_signal(&process, Signal::KILL);
        cgroup::kill_all(&facts.cgroups, &group.path);
        let patience = Timespec::try_from(PATIENCE).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
    } else if group.release(&facts.cgroups).is_err() {
        // Something outlived its first process: only then are there members to look for.
        cgroup::kill_all(&facts.cgroups, &group.path);
    }
    release(group, &container.identity.id, facts)?;
    container.remove()?;
    hooks::poststop(container, spec);
    Ok(())
}

/// Takes away a container's group. What was just killed stands in it until it is gone: the kernel says busy until then, and
/// v1 tells nobody when that ends.
pub(super) fn release(group: &Group, id: &str, facts: &Facts) -> Result<()> {
    group.stop_unit(id)?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = group.release(&facts.cgroups) {
        if Instant::now() > deadline {
            return Err(error.into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The folder of a container whose making was cut off before its process was known.
fn forget_unfinished(global: &Global, id: &str) -> Result<()> {
    let folder = container::root(global).join(id);
    if container::is_id(id) && folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}
