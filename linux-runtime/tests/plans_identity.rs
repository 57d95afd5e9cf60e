//! Plans of who a container's process is: its namespaces, its ids, its powers. Needs no privilege.

use std::path::Path;

use oci_spec::runtime::Spec;
use proa_linux::cgroup::{Hierarchy, Layout};
use proa_linux::{Facts, Files, Lower, Plan, Request, Streams};
use serde_json::{Value, json};

/// Root of a machine, with every capability.
fn root() -> Facts {
    let controllers = ["memory", "cpu", "pids"].map(str::to_owned).to_vec();
    let hierarchy = Hierarchy { mount: "/sys/fs/cgroup".into(), controllers, unified: true, writable: true };
    Facts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        namespaces: true,
        mapped_namespaces: true,
        own_namespace: true,
        overlay: Some(Lower::Detached),
        cgroups: Layout { hierarchies: vec![hierarchy] },
        capabilities: (1 << 41) - 1,
    }
}

fn ordinary_user() -> Facts {
    Facts {
        uid: 1000,
        gid: 1000,
        namespaces: false,
        mapped_namespaces: false,
        overlay: None,
        cgroups: Layout::default(),
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
