//! `update`: other limits for a container that lives.

use anyhow::{Result, bail};
use proa_linux::cgroup::Layout;

use super::arguments::{Global, Update};
use super::container::{Container, Status};
use super::resources;

pub(super) fn update(global: &Global, options: &Update) -> Result<()> {
    let container = Container::load(global, &options.id)?;
    let layout = Layout::here();
    if container.status(&layout) == Status::Stopped {
        bail!("container not running");
    }
    container.identity.group.update(&options.id, &layout, &resources::asked(options)?)
}
