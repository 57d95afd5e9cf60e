//! Control groups: which hierarchies there are (v1, v2 or both), the files that bound a sandbox, what it uses, and
//! removal. Works on the caller's own cgroupfs by absolute path: no guest can write there.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::{Deserialize, Serialize};

mod blocks;
mod claim;
mod delegate;
mod devices;
mod freeze;
mod leave;
mod limits;
mod make;
mod members;
mod offers;
mod oom;
mod pressure;
mod remove;
mod setting;
mod stats;
pub mod systemd;
mod update;
mod usage;

pub use blocks::{BlockCount, BlockTable};
pub use claim::{Claim, group};
pub(crate) use delegate::delegate;
pub use freeze::{freeze, is_frozen, thaw};
pub use leave::leave;
pub(crate) use limits::{Bound, device_program, lower};
pub(crate) use make::create_group;
pub use members::{group_beside, processes};
pub use offers::Offers;
pub use oom::{Oom, OomWatch};
pub use pressure::{Pressure, Stall};
pub use remove::{kill_all, remove, remove_leftovers, remove_parent, signal_all};
pub use setting::{Missing, Setting};
pub(crate) use setting::{Unsettled, settle};
pub use stats::{Counter, Stats, stats};
pub use update::update;
pub use usage::{Block, Throttling, Usage, usage};

/// The hierarchies of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub hierarchies: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    pub mount: PathBuf,
    /// `memory`, `cpu` and so on; for v2 those its root offers.
    pub controllers: Vec<String>,
    /// cgroup v2.
    pub unified: bool,
    /// Whether this user may make groups at its root.
    pub writable: bool,
}

impl Layout {
    /// The layout as this process's mounts show it.
    pub fn here() -> Layout {
        Layout::find(&mountinfo().unwrap_or_default())
    }

    /// Reads the layout from the text of /proc/self/mountinfo and tries which roots can be written.
    pub(crate) fn find(mountinfo: &str) -> Layout {
        let mut hierarchies: Vec<Hierarchy> = mountinfo.lines().filter_map(parse_line).collect();
        for hierarchy in &mut hierarchies {
            if hierarchy.unified {
                let offered = fs::read_to_string(hierarchy.mount.join("cgroup.controllers")).unwrap_or_default();
                hierarchy.controllers = offered.split_whitespace().map(str::to_owned).collect();
            }
            hierarchy.writable = accessat(CWD, &hierarchy.mount, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
        }
        Layout { hierarchies }
    }

    /// The writable hierarchy that has `controller`.
    pub fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|one| one.writable && one.controllers.iter().any(|name| name == controller))
    }

    /// `v1`, `v2`, `hybrid` or `none`: what users call it.
    pub fn name(&self) -> &'static str {
        let old = self.hierarchies.iter().any(|one| !one.unified && !one.controllers.is_empty());
        let new = self.hierarchies.iter().any(|one| one.unified);
        match (old, new) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            (false, true) => "v2",
            (false, false) => "none",
        }
    }

    /// Where `group` stands in every writable hierarchy in which sandboxes are put.
    pub fn directories(&self, group: &str) -> Vec<PathBuf> {
        let relevant = |one: &&Hierarchy| one.writable && one.controllers.iter().any(|name| MATTERS.contains(&&**name));
        self.hierarchies.iter().filter(relevant).map(|one| one.mount.join(group)).collect()
    }
}

/// In one piece: the kernel writes it anew for each reader, and a file of no size is else read in small ones.
pub(crate) fn mountinfo() -> io::Result<String> {
    let mut text = String::with_capacity(16 << 10);
    fs::File::open("/proc/self/mountinfo")?.read_to_string(&mut text)?;
    Ok(text)
}

/// The controllers that bound or measure a sandbox; others are left alone.
const MATTERS: [&str; 13] = [
    "memory", "cpu", "cpuacct", "pids", "devices", "cpuset", "freezer", "blkio", "io", "hugetlb", "net_cls",
    "net_prio", "rdma",
];

/// One line of mountinfo (proc(5)), if it is a cgroup hierarchy.
fn parse_line(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let unified = match after.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = after.nth(1)?;
    let mount = Path::new(before.split(' ').nth(4)?).to_path_buf();
    let controllers = options.split(',').filter(|name| MATTERS.contains(name)).map(str::to_owned).collect();
    Some(Hierarchy { mount, controllers, unified, writable: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_layout_is_read_from_mountinfo() {
        let text = "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                    31 25 0:27 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw\n\
                    32 25 0:28 / /proc rw - proc proc rw";
        let parsed: Vec<Hierarchy> = text.lines().filter_map(parse_line).collect();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].controllers, ["memory"]);
        assert_eq!((parsed[1].unified, parsed[1].mount.to_str()), (true, Some("/sys/fs/cgroup/unified")));
        assert_eq!(Layout { hierarchies: parsed }.name(), "hybrid");
    }
}
