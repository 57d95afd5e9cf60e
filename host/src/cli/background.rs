//! What a host started by the command line does first: it leaves the caller's session and cgroup, so that neither a
//! closing terminal nor a stopped service unit takes it along.

use std::fs;

/// Leaves session and cgroup, as far as this user may.
pub(crate) fn leave_the_caller() {
    // Fails only for a process group's leader, which a freshly spawned child never is.
    let _ = rustix::process::setsid();
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return };
    for hierarchy in cgroup_roots(&mounts) {
        // Writing 0 moves the writer. Refused to ordinary users and on read-only hierarchies, where staying is right.
        let _ = fs::write(format!("{hierarchy}/cgroup.procs"), "0");
    }
}

/// The mount points at which the root of a cgroup hierarchy is seen (proc_pid_mountinfo(5): the fourth field is the
/// root within the file system, the type follows the lone hyphen).
fn cgroup_roots(mountinfo: &str) -> Vec<&str> {
    let root_of = |line: &'_ str| -> bool {
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        line.split(' ').nth(3) == Some("/") && matches!(kind, Some("cgroup" | "cgroup2"))
    };
    mountinfo.lines().filter(|line| root_of(line)).filter_map(|line| line.split(' ').nth(4)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_of_cgroup_hierarchies_are_entered() {
        let mountinfo = "\
24 1 0:22 / /proc rw,nosuid - proc proc rw
30 25 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
31 25 0:27 /docker/x /sys/fs/cgroup/cpu ro,nosuid - cgroup cgroup rw,cpu
32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        assert_eq!(cgroup_roots(mountinfo), ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"]);
    }
}
