//! Plans of who a container's process is: its namespaces, its ids, its powers. Needs no privilege.

use std::path::Path;

use oci_spec::runtime::{Linux, Process, Spec};
use proa_linux::cgroup::{Hierarchy, Layout};
use proa_linux::{Action, Facts, Files, Join, Lower, Plan, Request, Scheduling, Streams};
use serde_json::{Value, json};

/// Root of a machine without cgroups, with every capability.
fn root() -> Facts {
    Facts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        namespaces: true,
        mapped_namespaces: true,
        own_namespace: true,
        overlay: Some(Lower::Detached),
        cgroups: Layout::default(),
        capabilities: (1 << 41) - 1,
        apparmor: false,
        selinux: false,
        devices: true,
    }
}

fn ordinary_user() -> Facts {
    Facts {
        uid: 1000,
        gid: 1000,
        namespaces: false,
        mapped_namespaces: false,
        devices: false,
        overlay: None,
        capabilities: 0,
        ..root()
    }
}

/// The least that runs, with other values at some places (RFC 6901).
fn spec(changes: &[(&str, Value)]) -> Spec {
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 }, "capabilities": {} },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
    });
    for (pointer, value) in changes {
        let place = pointer.split('/').skip(1).fold(&mut spec, |place, name| &mut place[name]);
        *place = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn lower_for(facts: &Facts, changes: &[(&str, Value)]) -> Result<Plan, String> {
    let request = Request {
        group: "proa-linux/c",
        files: Files::Root(Path::new("/bundle/rootfs")),
        streams: Streams::Inherited,
        user_namespace: None,
        default_filter: false,
        init: false,
        direct: None,
        keyring: None,
    };
    Plan::new(&spec(changes), &request, facts).map_err(|error| error.to_string())
}

fn lower(changes: &[(&str, Value)]) -> Result<Plan, String> {
    lower_for(&root(), changes)
}

fn refusal(changes: &[(&str, Value)]) -> String {
    lower(changes).map(|plan| plan.to_string()).unwrap_err()
}

fn namespaces(kinds: &[&str]) -> (&'static str, Value) {
    let one = |kind: &&str| match kind.split_once('@') {
        Some((kind, path)) => json!({ "type": kind, "path": path }),
        None => json!({ "type": kind }),
    };
    ("/linux/namespaces", kinds.iter().map(one).collect())
}

fn ids(field: &'static str, ranges: &[(u32, u32, u32)]) -> (&'static str, Value) {
    let one =
        |(inside, outside, size): &(u32, u32, u32)| json!({ "containerID": inside, "hostID": outside, "size": size });
    (field, ranges.iter().map(one).collect())
}

const UIDS: &str = "/linux/uidMappings";
const GIDS: &str = "/linux/gidMappings";

#[test]
fn what_is_not_listed_is_the_runtime_s() {
    insta::assert_snapshot!(lower(&[namespaces(&["mount"])]).unwrap());
}

#[test]
fn the_child_itself_enters_namespaces_of_others() {
    let joined =
        ["mount", "network@/run/netns/a", "ipc@/proc/7/ns/ipc", "uts@/proc/7/ns/uts", "cgroup@/proc/7/ns/cgroup"];
    insta::assert_snapshot!(lower(&[namespaces(&joined), ("/hostname", json!("guest"))]).unwrap());
}

#[test]
fn a_mount_namespace_of_others_keeps_its_root() {
    let joined = ["mount@/proc/7/ns/mnt", "pid", "network@/run/netns/a"];
    insta::assert_snapshot!(lower(&[namespaces(&joined)]).unwrap());
}

#[test]
fn a_helper_enters_those_that_concern_only_children() {
    let joined = ["mount", "time@/proc/7/ns/time", "pid@/proc/7/ns/pid", "network@/proc/7/ns/net"];
    insta::assert_snapshot!(lower(&[namespaces(&joined)]).unwrap());
}

#[test]
fn a_helper_enters_a_user_namespace_and_what_belongs_to_it() {
    let joined = ["mount", "pid@/proc/7/ns/pid", "user@/proc/7/ns/user", "network@/proc/7/ns/net"];
    insta::assert_snapshot!(lower(&[namespaces(&joined)]).unwrap());
}

#[test]
fn clocks_are_set_before_anybody_enters() {
    let offsets = json!({ "monotonic": { "secs": 86400, "nanosecs": 5 }, "boottime": { "secs": -3 } });
    let changes = [namespaces(&["mount", "pid", "time"]), ("/linux/timeOffsets", offsets)];
    insta::assert_snapshot!(lower(&changes).unwrap());
    let without = lower(&changes[..1]).unwrap().to_string();
    assert!(without.contains("clone the child into pid, mount, time namespaces"), "{without}");
}

#[test]
fn network_devices_come_before_the_child_goes_on() {
    let devices = ("/linux/netDevices", json!({ "eth1": { "name": "inside" }, "eth0": {} }));
    insta::assert_snapshot!(lower(&[namespaces(&["mount", "network"]), devices.clone()]).unwrap());
    let confined = [namespaces(&["mount", "network", "user"]), ids(UIDS, &[(0, 1, 1)]), ids(GIDS, &[(0, 1, 1)])];
    let plan = lower(&[confined.to_vec(), vec![devices.clone()]].concat()).unwrap().to_string();
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("no `{text}` in {plan}"));
    assert!(at("move network device `eth1` into the container as `inside`") < at("map uids"), "{plan}");
    assert_eq!(refusal(&[devices]), "`linux.netDevices` need a network namespace");
    let refused = |devices: Value| refusal(&[namespaces(&["mount", "network"]), ("/linux/netDevices", devices)]);
    let twice = refused(json!({ "a": { "name": "c" }, "b": { "name": "c" } }));
    assert_eq!(twice, "`linux.netDevices` has two devices that are called `c`");
    for name in ["", "..", "a/b", "a b", "sixteen-letters-"] {
        let sentence = format!("`linux.netDevices`: `{name}` is no name of a device");
        assert_eq!(refused(json!({ name: { "name": "eth0" } })), sentence);
    }
}

#[test]
fn users_and_groups_have_lists_of_ranges_of_their_own() {
    let uids = ids(UIDS, &[(0, 100_000, 1000), (1000, 1000, 1), (1001, 101_001, 500)]);
    let gids = ids(GIDS, &[(0, 200_000, 65_536)]);
    let user = ("/process/user", json!({ "uid": 1000, "gid": 10, "additionalGids": [20, 65_535] }));
    insta::assert_snapshot!(lower(&[namespaces(&["mount", "pid", "user"]), uids, gids, user]).unwrap());
}

#[test]
fn an_ordinary_user_maps_himself_alone_and_others_by_programs() {
    let user = namespaces(&["mount", "pid", "user"]);
    let alone = [user.clone(), ids(UIDS, &[(0, 1000, 1)]), ids(GIDS, &[(0, 1000, 1)])];
    let plan = lower_for(&ordinary_user(), &alone).unwrap().to_string();
    assert!(plan.contains("map uids 0->1000 x1, gids 0->1000 x1, groups denied"), "{plan}");
    let ranges = [(0, 1000, 1), (1, 100_000, 65_536)];
    let many = [user, ids(UIDS, &ranges), ids(GIDS, &ranges)];
    let plan = lower_for(&ordinary_user(), &many).unwrap().to_string();
    let maps = "0->1000 x1 1->100000 x65536";
    assert!(plan.contains(&format!("map uids {maps} by newuidmap, gids {maps} by newgidmap")), "{plan}");
    let group = ("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [0] }));
    let refused = lower_for(&ordinary_user(), &[alone.to_vec(), vec![group]].concat()).unwrap_err();
    assert!(refused.starts_with("`process.user.additionalGids`: a user without CAP_SETGID"), "{refused}");
}

#[test]
fn an_ordinary_user_s_child_does_what_host_and_helper_have_no_right_to() {
    let user = namespaces(&["mount", "pid", "user"]);
    let bind = json!([
        { "destination": "/dev", "type": "tmpfs", "options": ["mode=755"] },
        { "destination": "/data", "source": "/srv/data", "options": ["rbind", "ro"] },
    ]);
    let changes = [user, ids(UIDS, &[(0, 1000, 1)]), ids(GIDS, &[(0, 1000, 1)]), ("/mounts", bind)];
    insta::assert_snapshot!(lower_for(&ordinary_user(), &changes).unwrap());
    let refused = lower_for(&ordinary_user(), &[]).unwrap_err();
    assert!(refused.starts_with("`linux.namespaces` has no user namespace"), "{refused}");
    let offsets = ("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } }));
    let clocks = [changes[1].clone(), changes[2].clone(), namespaces(&["mount", "user", "time"]), offsets];
    let refused = lower_for(&ordinary_user(), &clocks).unwrap_err();
    assert!(refused.starts_with("`linux.timeOffsets` need CAP_SYS_ADMIN"), "{refused}");
}

#[test]
fn as_many_ranges_as_the_kernel_takes_are_taken() {
    let ranges = |count: u32| (0..count).map(|at| (2 * at, 2 * at, 1)).collect::<Vec<_>>();
    let user = namespaces(&["mount", "user"]);
    lower(&[user.clone(), ids(UIDS, &ranges(340)), ids(GIDS, &ranges(340))]).unwrap();
    let refused = refusal(&[user, ids(UIDS, &ranges(341)), ids(GIDS, &ranges(1))]);
    assert_eq!(refused, "`linux.uidMappings` are more than 340 ranges or a page of text, the kernel's most");
}

#[test]
fn namespaces_that_cannot_be_are_refused() {
    let cases = [
        (vec![namespaces(&["mount", "pid", "pid"])], "`linux.namespaces` has two of type `pid`"),
        (vec![namespaces(&["mount", "pid@ns/pid"])], "path `ns/pid` of the pid namespace is not absolute"),
        (
            vec![namespaces(&["pid"])],
            "`linux.namespaces` has no mount namespace: the container's mounts would be the runtime's",
        ),
        (vec![("/hostname", json!("guest"))], "`hostname` needs a uts namespace"),
        (vec![("/domainname", json!("guest"))], "`domainname` needs a uts namespace"),
        (
            vec![("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } }))],
            "`linux.timeOffsets` need a time namespace of the container's own",
        ),
        (
            vec![namespaces(&["mount", "time"]), ("/linux/timeOffsets", json!({ "realtime": { "secs": 1 } }))],
            "`linux.timeOffsets`: no time namespace has a clock `realtime`",
        ),
        (
            vec![
                namespaces(&["mount", "time"]),
                ("/linux/timeOffsets", json!({ "boottime": { "nanosecs": 1_000_000_000 } })),
            ],
            "`linux.timeOffsets.boottime.nanosecs` 1000000000 is a second or more",
        ),
    ];
    for (changes, sentence) in cases {
        assert_eq!(refusal(&changes), sentence);
    }
}

#[test]
fn ids_that_cannot_be_are_refused() {
    let whole = [(0, 100_000, 65_536)];
    let user = |uids: &[(u32, u32, u32)]| vec![namespaces(&["mount", "user"]), ids(UIDS, uids), ids(GIDS, &whole)];
    let overlap = "`linux.uidMappings` have ranges that overlap";
    let cases = [
        (user(&[(0, 1, 10), (9, 100, 1)]), overlap),
        (user(&[(0, 1, 10), (10, 10, 1)]), overlap),
        (user(&[(0, 1, 0)]), "`linux.uidMappings` have a range that is empty or passes 4294967294"),
        (user(&[(0, u32::MAX, 1)]), "`linux.uidMappings` have a range that is empty or passes 4294967294"),
        (user(&[(1, 1, 1)]), "`linux.uidMappings` map no root: the container's files and mounts are made by its root"),
        (
            [user(&whole), vec![("/process/user", json!({ "uid": 65_536, "gid": 0 }))]].concat(),
            "`process.user.uid` 65536 is not mapped in the user namespace",
        ),
        (
            [user(&whole), vec![("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [70_000] }))]].concat(),
            "`process.user.additionalGids` 70000 is not mapped in the user namespace",
        ),
    ];
    for (changes, sentence) in cases {
        assert_eq!(refusal(&changes), sentence);
    }
}

#[test]
fn a_process_has_powers_and_a_place_in_the_queues() {
    let process = json!({
        "cwd": "/",
        "args": ["true"],
        "user": { "uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o27 },
        "noNewPrivileges": true,
        "oomScoreAdj": 300,
        "rlimits": [{ "type": "RLIMIT_RTTIME", "soft": 1, "hard": 2 }, { "type": "RLIMIT_SIGPENDING", "soft": 3, "hard": 3 }],
        "ioPriority": { "class": "IOPRIO_CLASS_IDLE", "priority": 4 },
        "scheduler": { "policy": "SCHED_BATCH", "nice": 5 },
        "execCPUAffinity": { "initial": "0", "final": "1" },
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_CHOWN"],
            "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        },
    });
    let linux = json!({
        "namespaces": [{ "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
        "personality": { "domain": "LINUX32" },
        "memoryPolicy": { "mode": "MPOL_BIND", "nodes": "0-1,65", "flags": ["MPOL_F_STATIC_NODES"] },
        "sysctl": { "kernel.msgmax": "65536", "kernel/hostname": "named" },
        "resources": { "cpu": { "cpus": "0" } },
    });
    let mut facts = root();
    let controllers = vec!["cpuset".to_owned()];
    let mount = "/sys/fs/cgroup/cpuset".into();
    facts.cgroups.hierarchies = vec![Hierarchy { mount, controllers, unified: false, writable: true }];
    let plan = lower_for(&facts, &[("/process", process), ("/linux", linux)]).unwrap();
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    insta::assert_snapshot!(plan);
}

#[test]
fn one_more_process_has_its_own() {
    let process = json!({
        "cwd": "/",
        "args": ["true"],
        "user": { "uid": 0, "gid": 0 },
        "apparmorProfile": "confined",
        "selinuxLabel": "system_u:system_r:container_t:s0",
        "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 7 },
        "scheduler": { "policy": "SCHED_OTHER", "nice": 19 },
        "execCPUAffinity": { "initial": "0-1", "final": "1" },
        "capabilities": { "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"] },
    });
    let process: Process = serde_json::from_value(process).unwrap();
    let facts = Facts { apparmor: true, selinux: true, ..root() };
    let linux = json!({ "namespaces": [{ "type": "time" }], "personality": { "domain": "LINUX32" } });
    let linux: Linux = serde_json::from_value(linux).unwrap();
    let join = Join {
        seccomp: None,
        default_filter: false,
        streams: Streams::Inherited,
        group: "proa-linux/c",
        in_user: true,
        linux: Some(&linux),
        keyring: Some("_ses.c"),
        direct: None,
    };
    insta::assert_snapshot!(Plan::join(&process, &join, &facts).unwrap());
}

#[test]
fn a_deadline_has_its_times() {
    let scheduler = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 2_000_000, "period": 3_000_000,
        "flags": ["SCHED_FLAG_RECLAIM"],
    });
    let plan = lower(&[("/process/scheduler", scheduler)]).unwrap();
    let found = plan.steps.iter().find_map(|step| match &step.action {
        Action::Scheduler(scheduling) => Some(*scheduling),
        _ => None,
    });
    let (runtime, deadline, period) = (1_000_000, 2_000_000, 3_000_000);
    assert_eq!(found, Some(Scheduling { policy: 6, nice: 0, priority: 0, flags: 2, runtime, deadline, period }));
}

#[test]
fn labels_are_asked_for_before_the_root_is_the_container_s() {
    let labels = [
        ("/process/apparmorProfile", json!("confined")),
        ("/process/selinuxLabel", json!("system_u:system_r:container_t:s0")),
    ];
    let plan = lower_for(&Facts { apparmor: true, selinux: true, ..root() }, &labels).unwrap().to_string();
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("no `{text}` in {plan}"));
    assert!(at("be confined by AppArmor at `exec confined`") < at("attach root"), "{plan}");
    assert!(at("be labelled `system_u:system_r:container_t:s0` by SELinux") < at("attach root"), "{plan}");
    let sentences = [
        "`process.apparmorProfile` `confined`: this kernel has no AppArmor that is enabled",
        "`process.selinuxLabel` `system_u:system_r:container_t:s0`: this kernel has no SELinux that is enabled",
    ];
    for (label, sentence) in labels.into_iter().zip(sentences) {
        assert_eq!(refusal(&[label]), sentence);
    }
}

#[test]
fn a_session_keyring_is_joined_by_whom_it_belongs_to() {
    let files = Files::Root(Path::new("/bundle/rootfs"));
    let request = Request {
        group: "proa-linux/c",
        files,
        streams: Streams::Inherited,
        user_namespace: None,
        default_filter: false,
        init: false,
        keyring: Some("_ses.c"),
        direct: None,
    };
    let user = [namespaces(&["mount", "user"]), ids(UIDS, &[(0, 100_000, 1)]), ids(GIDS, &[(0, 100_000, 1)])];
    let plan = Plan::new(&spec(&user), &request, &root()).unwrap().to_string();
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("no `{text}` in {plan}"));
    assert!(at("become root of the user namespace") < at("join the session keyring `_ses.c`"), "{plan}");
    assert!(at("join the session keyring `_ses.c`") < at("become uid 0"), "{plan}");
}

#[test]
fn what_cannot_be_given_is_left_out_and_told() {
    let sets = |names: &[&str]| {
        let names = json!(names);
        let sets =
            json!({ "bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": names });
        ("/process/capabilities", sets)
    };
    let told = |facts: &Facts, names: &[&str]| lower_for(facts, &[sets(names)]).unwrap().warnings;
    let user = ("/process/user", json!({ "uid": 7, "gid": 7 }));
    let ambient = "capabilities CAP_CHOWN, CAP_KILL are ambient but not permitted and inheritable and are left out";
    let names = ["CAP_KILL", "CAP_CHOWN"];
    assert_eq!(lower(&[sets(&names), user]).unwrap().warnings, [ambient]);
    assert!(told(&root(), &names).is_empty(), "root has no use for them");
    let without = Facts { capabilities: root().capabilities & !(1 << 24), ..root() };
    let lacks = "capabilities CAP_SYS_RESOURCE cannot be given by this runtime on this kernel and are left out";
    assert_eq!(told(&without, &["CAP_SYS_RESOURCE"])[0], lacks);
    let old = Facts { kernel: (5, 8), ..root() };
    let unknown = "capabilities CAP_CHECKPOINT_RESTORE cannot be given by this runtime on this kernel and are left out";
    assert_eq!(told(&old, &["CAP_CHECKPOINT_RESTORE", "CAP_BPF"])[0], unknown);
    let none: [&str; 0] = [];
    assert_eq!(told(&root(), &[]), none);
    let user = [namespaces(&["mount", "user"]), ids(UIDS, &[(0, 1000, 1)]), ids(GIDS, &[(0, 1000, 1)])];
    let plan = lower_for(&ordinary_user(), &[user.to_vec(), vec![sets(&["CAP_SYS_RESOURCE"])]].concat()).unwrap();
    assert!(plan.to_string().contains("keep capabilities SYS_RESOURCE"), "a user namespace has them all: {plan}");
}

#[test]
fn only_parameters_of_the_container_s_own_namespaces_are_written() {
    let sysctl = |name: &str| ("/linux/sysctl", json!({ name: "1" }));
    let own = namespaces(&["mount", "network", "ipc", "uts", "user"]);
    let whole = [ids(UIDS, &[(0, 1, 10)]), ids(GIDS, &[(0, 1, 10)])];
    let lower_own = |name: &str| lower(&[vec![own.clone(), sysctl(name)], whole.to_vec()].concat());
    for name in ["net.ipv4.ip_forward", "kernel.shm_rmid_forced", "fs.mqueue.msg_max", "user.max_net_namespaces"] {
        let path = name.replace('.', "/");
        let plan = lower_own(name).unwrap().to_string();
        assert!(plan.contains(&format!("write `1` to `/proc/sys/{path}`")), "{plan}");
        assert_eq!(refusal(&[sysctl(name)]), format!("sysctl `{name}` is not in a separate kernel namespace"));
    }
    for name in ["net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"] {
        let plan = lower_own(name).unwrap().to_string();
        assert!(plan.contains("to `/proc/sys/net/ipv4/conf/eth0.100/forwarding`"), "{plan}");
    }
    for name in ["kernel.core_pattern", "vm.swappiness", "net", "net/../kernel/core_pattern", "../kcore", "fs.file-max"]
    {
        let refused = lower_own(name).map(|plan| plan.to_string()).unwrap_err();
        assert_eq!(refused, format!("sysctl `{name}` is not in a separate kernel namespace"));
    }
    let both =
        [own.clone(), sysctl("kernel.hostname"), ("/hostname", json!("guest")), whole[0].clone(), whole[1].clone()];
    assert_eq!(refusal(&both), "sysctl `kernel.hostname` and `hostname` are the same");
}

#[test]
fn a_process_that_cannot_be_is_refused() {
    let limit = |kind: &str, soft: u64, hard: u64| json!({ "type": kind, "soft": soft, "hard": hard });
    let scheduler = |value: Value| vec![("/process/scheduler", value)];
    let user = |value: Value| vec![("/process/user", value)];
    let none = "user and group ids end at 4294967294";
    let cases = [
        (user(json!({ "uid": u32::MAX, "gid": 0 })), none),
        (user(json!({ "uid": 0, "gid": u32::MAX })), none),
        (user(json!({ "uid": 0, "gid": 0, "additionalGids": [u32::MAX] })), none),
        (
            user(json!({ "uid": 0, "gid": 0, "additionalGids": vec![1; 65_537] })),
            "`process.user.additionalGids` are more than 65536, the kernel's most",
        ),
        (user(json!({ "uid": 0, "gid": 0, "umask": 0o1000 })), "`process.user.umask` 1000 has other bits than 777"),
        (user(json!({ "uid": 0, "gid": 0, "username": "root" })), "`process.user.username` is not supported yet"),
        (
            vec![("/process/rlimits", json!([limit("RLIMIT_AS", 1, 1), limit("RLIMIT_AS", 2, 2)]))],
            "`process.rlimits` has two of type `RLIMIT_AS`",
        ),
        (
            vec![("/process/rlimits", json!([limit("RLIMIT_CORE", 2, 1)]))],
            "`process.rlimits` `RLIMIT_CORE`: soft 2 is above hard 1",
        ),
        (vec![("/process/oomScoreAdj", json!(1001))], "`process.oomScoreAdj` 1001 is not between -1000 and 1000"),
        (
            vec![("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 8 }))],
            "`process.ioPriority.priority` 8 is not between 0 and 7",
        ),
        (
            scheduler(json!({ "policy": "SCHED_ISO" })),
            "`process.scheduler.policy` `SCHED_ISO` is reserved and in no kernel",
        ),
        (
            scheduler(json!({ "policy": "SCHED_OTHER", "nice": 20 })),
            "`process.scheduler.nice` 20 is not between -20 and 19",
        ),
        (
            scheduler(json!({ "policy": "SCHED_FIFO", "priority": 0 })),
            "`process.scheduler.priority` 0 is not between 1 and 99",
        ),
        (
            scheduler(json!({ "policy": "SCHED_BATCH", "priority": 1 })),
            "`process.scheduler.priority` is one of `SCHED_FIFO` and `SCHED_RR` alone",
        ),
        (
            scheduler(json!({ "policy": "SCHED_OTHER", "runtime": 1 })),
            "`process.scheduler.runtime` as well as `deadline` and `period` are of `SCHED_DEADLINE` alone",
        ),
        (
            vec![("/linux/personality", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }))],
            "`linux.personality.flags` `ADDR_NO_RANDOMIZE` is not known",
        ),
        (
            vec![("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "3-1" }))],
            "`linux.memoryPolicy.nodes` `3-1` is no list of numbers below 1024 and ranges of them",
        ),
    ];
    for (changes, sentence) in cases {
        assert_eq!(refusal(&changes), sentence);
    }
}
