//! Isolation proven from outside: what the kernel shows of a guest (ARCHITECTURE.md, invariant 6).

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use proa_tests::outside::Outside;
use proa_tests::{Isolation, Need, Node, Suite, Under, cases, leftovers};

use super::{NATIVE, OWN_PROCESS, WASM};

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT
/// (linux/capability.h): Docker's set less MKNOD, NET_RAW, AUDIT_WRITE and SETFCAP.
const CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 18;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        NATIVE,
        &[],
        cases![a_native_guest_is_pid_1_in_namespaces_of_its_own, a_native_guest_holds_the_exact_capabilities],
    );
    suite.under(&[Isolation::LinuxUserns], &[], cases![root_inside_is_nobody_outside]);
    // What the kernel shows of a process that may not be traced, it shows to root only.
    suite.under(WASM, &[Need::Root], cases![a_worker_has_an_empty_root_and_no_power]);
    suite.under_all(&[Need::Root], cases![a_guest_inherits_no_file_of_the_host]);
    suite.under(&[Isolation::Wasm], &[], cases![one_tenant_s_guests_share_a_process]);
    suite.under(OWN_PROCESS, &[], cases![each_guest_has_a_process_of_its_own]);
    suite.under_all(&[], cases![every_guest_is_under_seccomp]);
    suite.add(&[Need::Isolation(Isolation::Wasm)], cases![a_second_wasm_guest_adds_no_process]);
    suite.add(&[Need::Isolation(Isolation::Wasm)], cases![tenants_do_not_share_a_worker]);
}

fn a_native_guest_is_pid_1_in_namespaces_of_its_own(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let outside = container.outside()?;
    ensure!(outside.ids()?.last() == Some(&1), "{:?}", outside.ids());
    let mut kinds = vec!["pid", "mnt", "uts", "ipc", "net", "cgroup"];
    if under.isolation == Isolation::LinuxUserns {
        kinds.push("user");
    }
    ensure!(outside.first_shared(&kinds)?.is_none(), "it shares a namespace: {:?}", outside.first_shared(&kinds));
    Ok(())
}

fn a_native_guest_holds_the_exact_capabilities(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let outside = container.outside()?;
    let (effective, expected) = (outside.capabilities()?, CAPABILITIES);
    ensure!(effective == expected, "CapEff is {effective:#x}, not {expected:#x}");
    let bounding = u64::from_str_radix(&outside.status("CapBnd")?, 16)?;
    ensure!(bounding == expected, "CapBnd is {bounding:#x}, not {expected:#x}");
    // CVE-2022-24769: an inheritable set lets an unprivileged user inside regain capabilities by a file's.
    ensure!(u64::from_str_radix(&outside.status("CapInh")?, 16)? == 0, "CapInh is not empty");
    ensure!(u64::from_str_radix(&outside.status("CapAmb")?, 16)? == 0, "CapAmb is not empty");
    Ok(())
}

fn root_inside_is_nobody_outside(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let outside = container.outside()?;
    for file in ["uid_map", "gid_map"] {
        let map = outside.read(file)?;
        let fields: Vec<&str> = map.split_whitespace().collect();
        ensure!(fields.len() >= 3 && fields[0] == "0" && fields[1] != "0", "{file} is `{map}`");
    }
    let uid = outside.status("Uid")?;
    ensure!(!uid.split_whitespace().any(|id| id == "0"), "its uids outside are {uid}");
    Ok(())
}

fn a_worker_has_an_empty_root_and_no_power(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let outside = container.outside()?;
    ensure!(outside.capabilities()? == 0, "CapEff is {:#x}", outside.capabilities()?);
    ensure!(u64::from_str_radix(&outside.status("CapBnd")?, 16)? == 0, "CapBnd is {}", outside.status("CapBnd")?);
    let root = outside.root()?;
    ensure!(root.is_empty(), "its root holds {root:?}");
    ensure!(
        outside.first_shared(&["user", "mnt", "pid", "net", "ipc", "uts"])?.is_none(),
        "{:?}",
        outside.first_shared(&["user", "mnt", "pid", "net", "ipc", "uts"])
    );
    let uid = outside.status("Uid")?;
    let own = rustix::process::geteuid();
    ensure!(!own.is_root() || !uid.split_whitespace().any(|id| id == "0"), "its uids outside are {uid}");
    let descendants = outside.descendants();
    ensure!(descendants.is_empty(), "a Wasm guest has no processes below the worker: {descendants:?}");
    Ok(())
}

fn every_guest_is_under_seccomp(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let outside = container.outside()?;
    ensure!(outside.status("Seccomp")? == "2", "Seccomp is {}", outside.status("Seccomp")?);
    ensure!(outside.status("NoNewPrivs")? == "1", "NoNewPrivs is {}", outside.status("NoNewPrivs")?);
    for thread in std::fs::read_dir(format!("/proc/{}/task", outside.pid()))?.flatten() {
        let status = std::fs::read_to_string(thread.path().join("status"))?;
        let filtered = status.lines().any(|line| line == "Seccomp:\t2");
        ensure!(filtered, "thread {} is not under seccomp", thread.file_name().to_string_lossy());
    }
    Ok(())
}

/// CVE-2024-21626 and CVE-2016-9962 are this class: no descriptor of a guest's leads to a directory of the host.
fn a_guest_inherits_no_file_of_the_host(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let outside = container.outside()?;
    let root = under.node.root();
    let mut open = Vec::new();
    for file in std::fs::read_dir(format!("/proc/{}/fd", outside.pid()))?.flatten() {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        let number: u32 = file.file_name().to_string_lossy().parse()?;
        open.push(format!("{number} -> {}", target.display()));
        ensure!(!target.starts_with(root), "descriptor {number} leads to `{}`", target.display());
        ensure!(
            under.isolation.is_wasm() || number <= 2,
            "a native guest holds descriptor {number}: `{}`",
            target.display()
        );
    }
    ensure!(!open.is_empty(), "it has its three streams at least");
    Ok(())
}

fn one_tenant_s_guests_share_a_process(under: &Under) -> Result<()> {
    let one = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    let two = under.node.detached(under.isolation, &[], &["tick", "1"])?;
    ensure!(one.outside()?.pid() == two.outside()?.pid(), "two workers where one would do");
    Ok(())
}

fn each_guest_has_a_process_of_its_own(under: &Under) -> Result<()> {
    let guests: Vec<_> =
        (0..3).map(|_| under.node.detached(under.isolation, &[], &["tick", "1"])).collect::<Result<_>>()?;
    let pids: BTreeSet<u32> = guests.iter().map(|guest| Ok(guest.outside()?.pid())).collect::<Result<_>>()?;
    ensure!(pids.len() == guests.len(), "{pids:?}");
    Ok(())
}

fn a_second_wasm_guest_adds_no_process() -> Result<()> {
    let node = Node::start()?;
    let first = node.detached(Isolation::Wasm, &[], &["tick", "1"])?;
    first.shows("a tick", |logs| logs.contains("tick 1"))?;
    let before: BTreeSet<u32> = leftovers::processes(node.root()).into_iter().collect();
    let more: Vec<_> = (0..5).map(|_| node.detached(Isolation::Wasm, &[], &["tick", "1"])).collect::<Result<_>>()?;
    for guest in &more {
        guest.shows("a tick", |logs| logs.contains("tick 1"))?;
    }
    let after: BTreeSet<u32> = leftovers::processes(node.root()).into_iter().collect();
    ensure!(before == after, "processes before {before:?}, after {after:?}");
    ensure!(Outside::new(*before.iter().next().context("a node has processes")?).lives());
    drop((first, more));
    node.close()
}

fn tenants_do_not_share_a_worker() -> Result<()> {
    let node = Node::start()?;
    let one = node.detached(Isolation::Wasm, &["--tenant", "red"], &["tick", "1"])?;
    let two = node.detached(Isolation::Wasm, &["--tenant", "blue"], &["tick", "1"])?;
    let three = node.detached(Isolation::Wasm, &["-l", "proa.tenant=red"], &["tick", "1"])?;
    let pids = [one.outside()?.pid(), two.outside()?.pid(), three.outside()?.pid()];
    ensure!(pids[0] != pids[1], "two tenants share worker {}", pids[0]);
    ensure!(pids[0] == pids[2], "one tenant has two workers, by flag and by label");
    drop((one, two, three));
    node.close()
}
