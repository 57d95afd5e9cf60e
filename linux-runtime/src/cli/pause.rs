//! `pause` and `resume`.

use anyhow::{Result, bail};
use proa_linux::cgroup::{self, Layout};

use super::arguments::Global;
use super::container::{Container, Status};

pub(super) fn pause(global: &Global, id: &str) -> Result<()> {
    let container = Container::load(global, id)?;
    let layout = Layout::here();
    match container.status(&layout) {
        Status::Running | Status::Created => Ok(cgroup::freeze(&layout, &container.identity.group.path)?),
        status => bail!("container not running or created: {}", status.name()),
    }
}

pub(super) fn resume(global: &Global, id: &str) -> Result<()> {
    let container = Container::load(global, id)?;
    let layout = Layout::here();
    match container.status(&layout) {
        Status::Paused => Ok(cgroup::thaw(&layout, &container.identity.group.path)?),
        status => bail!("container not paused: {}", status.name()),
    }
}
