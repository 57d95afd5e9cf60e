//! Which limits the hierarchies of this machine can hold, so that a door can say beforehand what it will not get.

use super::Layout;

/// What can be limited here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    pub memory: bool,
    /// Memory and swap together.
    pub swap: bool,
    pub swappiness: bool,
    /// The kernel's memory killer can be held back from one group.
    pub oom_kill_disable: bool,
    pub cpu: bool,
    pub cpuset: bool,
    pub pids: bool,
    /// Shares of a block device's time, by group and by device.
    pub io_weight: bool,
    /// Bytes and requests a second of a block device.
    pub io_throttle: bool,
}

impl Layout {
    /// Looks at the files of the hierarchies' roots: v1 has them there too. On v2 a controller has all its files.
    pub fn offers(&self) -> Offers {
        let old = |controller: &str, file: &str| {
            self.with(controller).is_some_and(|one| !one.unified && one.mount.join(file).exists())
        };
        let unified = |controller: &str| self.with(controller).is_some_and(|one| one.unified);
        Offers {
            memory: self.with("memory").is_some(),
            swap: old("memory", "memory.memsw.limit_in_bytes") || unified("memory"),
            swappiness: old("memory", "memory.swappiness"),
            oom_kill_disable: old("memory", "memory.oom_control"),
            cpu: old("cpu", "cpu.cfs_quota_us") || unified("cpu"),
            cpuset: self.with("cpuset").is_some(),
            pids: self.with("pids").is_some(),
            // BFQ's weight is in every group but the root, its counters are there too.
            io_weight: old("blkio", "blkio.weight") || old("blkio", "blkio.bfq.io_serviced") || unified("io"),
            io_throttle: old("blkio", "blkio.throttle.read_bps_device") || unified("io"),
        }
    }
}
