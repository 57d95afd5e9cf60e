//! `events`: what a container uses, and what happens to it, as JSON lines.

use std::time::Duration;

use anyhow::Result;
use proa_linux::cgroup::{self, Layout};
use serde_json::json;

use super::arguments::Global;
use super::container::Container;

pub(super) fn events(global: &Global, id: &str, _interval: Duration, _stats: bool) -> Result<()> {
    let container = Container::load(global, id)?;
    let usage = cgroup::usage(&Layout::here(), &container.identity.group);
    println!("{}", json!({ "type": "stats", "id": id, "data": { "pids": { "current": usage.pids } } }));
    Ok(())
}
