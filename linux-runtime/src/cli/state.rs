//! `state`: how a container fares, as JSON (runtime.md, "State").

use anyhow::Result;
use proa_linux::cgroup;

use super::arguments::Global;
use super::container::Container;

pub(super) fn state(global: &Global, id: &str) -> Result<()> {
    let container = Container::load(global, id)?;
    let status = container.status(&cgroup::Layout::here());
    println!("{:#}", container.state(status.name()));
    Ok(())
}
