//! Leaves the caller's cgroups, so that a process that outlives its starter does not keep the starter's group alive.

use std::fs;

use super::Layout;

/// Moves the calling single-threaded process to the root of every writable hierarchy. The root, since then nothing is
/// left to remove at the end. What cannot be moved stays: a manager that keeps us elsewhere has the last word.
pub fn leave(layout: &Layout) {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for hierarchy in layout.hierarchies.iter().filter(|hierarchy| hierarchy.writable) {
        if stands_at_root(&own, hierarchy.unified, &hierarchy.controllers) {
            continue;
        }
        // v1 by `tasks`, which a single thread may do without waiting for a grace period (FLOORS).
        let file = if hierarchy.unified { "cgroup.procs" } else { "tasks" };
        if fs::write(hierarchy.mount.join(file), "0").is_err() {
            continue;
        }
    }
}

fn stands_at_root(own: &str, unified: bool, controllers: &[String]) -> bool {
    own.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let this =
            if unified { names.is_empty() } else { names.split(',').any(|name| controllers.iter().any(|c| c == name)) };
        this && path == "/"
    })
}
