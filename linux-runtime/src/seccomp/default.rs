//! The default filter: Docker's set as what is refused, which keeps the ranges of allowed numbers long and few.

use super::abi::Abi;
use super::{ALLOW, Operator, Policy, Rule, Section, Test, Verdict, errno, table};

/// Refused to everybody: reaches around namespaces, or has been the way out of containers.
const REFUSED: &[&str] = &[
    "add_key",
    "keyctl",
    "request_key",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "userfaultfd",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "uselib",
    "ustat",
    "sysfs",
    "swapon",
    "swapoff",
    "migrate_pages",
    "move_pages",
    "vserver",
    "getpmsg",
    "putpmsg",
    "afs_syscall",
    "tuxcall",
    "security",
    "epoll_ctl_old",
    "epoll_wait_old",
    "lsm_set_self_attr",
    "uretprobe",
];

/// Opened by a capability of the bounding set: its number and the calls it governs.
const GOVERNED: &[(u32, &[&str])] = &[
    (2, &["open_by_handle_at"]),
    (16, &["init_module", "finit_module", "delete_module"]),
    (17, &["iopl", "ioperm"]),
    (18, &["chroot"]),
    (20, &["acct"]),
    (
        21,
        &[
            "bpf",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
    (22, &["reboot", "kexec_load", "kexec_file_load"]),
    (23, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (25, &["settimeofday", "clock_settime", "clock_adjtime"]),
    (26, &["vhangup"]),
    (34, &["syslog"]),
    (38, &["perf_event_open"]),
    (39, &["bpf"]),
];

const SYS_ADMIN: u32 = 21;

/// Every `CLONE_NEW*` of clone(2).
pub(super) const NAMESPACES: u64 = 0x7e02_0000;

/// Linux, Linux with 32-bit addresses, both without ASLR, and "only ask".
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

pub(super) fn policy(kept: u64) -> Policy {
    let refused = errno(libc::EPERM);
    let mut section = Section::new(Abi::NATIVE, ALLOW);
    let mut put = |name: &str, rule: Rule| {
        section.rules.extend(table::number(name, Abi::NATIVE).map(|number| (number, rule)));
    };
    for name in REFUSED {
        put(name, Rule::always(refused));
    }
    let governed = GOVERNED.iter().flat_map(|(capability, names)| names.iter().map(move |name| (*capability, *name)));
    for (_, name) in governed.clone() {
        put(name, Rule::always(refused));
    }
    // Its flags are behind a pointer that a filter cannot follow; libc falls back to clone(2).
    put("clone3", Rule::always(errno(libc::ENOSYS)));
    if kept >> SYS_ADMIN & 1 == 0 {
        let no_namespaces = Test { argument: 0, operator: Operator::Masked(NAMESPACES), value: 0 };
        put("clone", Rule { clauses: vec![(vec![no_namespaces], ALLOW)], otherwise: refused });
    }
    put("personality", one_of(0, &PERSONALITIES, refused));
    // AF_VSOCK reaches the hypervisor; AF_ALG corrupted the page cache that containers share (CVE-2026-31431).
    let denied = [libc::AF_VSOCK, libc::AF_ALG];
    let clauses = denied.map(|family| (vec![equal(0, family as u64)], refused)).to_vec();
    put("socket", Rule { clauses, otherwise: ALLOW });
    for (_, name) in governed.filter(|(capability, _)| kept >> capability & 1 != 0) {
        put(name, Rule::always(ALLOW));
    }
    Policy { sections: vec![section], foreign: refused }
}

/// Only the low 32 bits count: these arguments are `int` or `unsigned int` in the kernel.
fn equal(argument: usize, value: u64) -> Test {
    Test { argument, operator: Operator::Masked(0xffff_ffff), value }
}

fn one_of(argument: usize, values: &[u64], otherwise: Verdict) -> Rule {
    Rule { clauses: values.iter().map(|value| (vec![equal(argument, *value)], ALLOW)).collect(), otherwise }
}
