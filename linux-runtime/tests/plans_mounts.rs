//! Plans of what a container sees: its root, its mounts, its devices. Needs no privilege.

use std::path::Path;

use oci_spec::runtime::Spec;
use proa_linux::cgroup::{Hierarchy, Layout};
use proa_linux::{Direct, Facts, Files, Lower, Plan, Request, Streams};
use serde_json::{Value, json};

fn hierarchy(mount: &str, controllers: &[&str], unified: bool) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Hierarchy { mount: mount.into(), controllers, unified, writable: true }
}

/// Root of a machine without cgroups.
fn bare() -> Facts {
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

fn v1() -> Facts {
    let one = |name: &str, controllers| hierarchy(&format!("/sys/fs/cgroup/{name}"), controllers, false);
    let hierarchies = vec![one("cpu,cpuacct", &["cpu", "cpuacct"]), one("devices", &["devices"])];
    Facts { cgroups: Layout { hierarchies }, ..bare() }
}

fn v2() -> Facts {
    let hierarchies = vec![hierarchy("/sys/fs/cgroup", &["cpu", "memory", "pids"], true)];
    Facts { cgroups: Layout { hierarchies }, ..bare() }
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

fn request(direct: Direct) -> Request<'static> {
    Request {
        group: "proa-linux/c",
        files: Files::Root(Path::new("/bundle/rootfs")),
        streams: Streams::Inherited,
        user_namespace: None,
        default_filter: false,
        init: false,
        keyring: None,
        direct: Some(direct),
    }
}

fn plan(facts: &Facts, changes: &[(&str, Value)]) -> Result<Plan, String> {
    Plan::new(&spec(changes), &request(Direct::default()), facts).map_err(|error| error.to_string())
}

/// What concerns files: the plan without what every process has.
fn lower(facts: &Facts, changes: &[(&str, Value)]) -> String {
    let text = plan(facts, changes).unwrap().to_string();
    let end = text.find("start a session").map_or(text.len(), |at| text[..at].rfind('\n').unwrap_or(0) + 1);
    text[..end].to_owned()
}

fn mounts(facts: &Facts, mounts: Value) -> String {
    lower(facts, &[("/mounts", mounts)])
}

fn bind(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": "/srv", "options": options })
}

fn in_user_namespace() -> [(&'static str, Value); 3] {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    [
        ("/linux/namespaces", json!([{ "type": "mount" }, { "type": "user" }])),
        ("/linux/uidMappings", map.clone()),
        ("/linux/gidMappings", map),
    ]
}

#[test]
fn bind_mounts_change_before_they_are_attached() {
    let options: [&[&str]; 12] = [
        &["bind"],
        &["rbind", "ro"],
        &["rbind", "rro", "nosuid"],
        &["bind", "rro", "nodev"],
        &["rbind", "ro", "rw", "noexec", "exec"],
        &["rbind", "noatime", "nodiratime", "nosymfollow"],
        &["rbind", "strictatime", "relatime"],
        &["rbind", "rnosuid", "rnoatime", "rnosymfollow"],
        &["rbind", "rslave"],
        &["rbind", "rshared", "ro"],
        &["bind", "unbindable"],
        &["rbind", "private", "defaults", "loud", "async"],
    ];
    let all: Vec<Value> = options.iter().enumerate().map(|(at, words)| bind(&format!("/{at}"), words)).collect();
    insta::assert_snapshot!(mounts(&v2(), json!(all)));
}

#[test]
fn a_shared_bind_mount_has_the_hosts_peers_where_the_root_is_shared_too() {
    let all = json!([bind("/data", &["rbind", "rshared"])]);
    insta::assert_snapshot!(lower(&v2(), &[("/mounts", all), ("/linux/rootfsPropagation", json!("rshared"))]));
}

#[test]
fn file_systems_are_configured_by_type() {
    let all = json!([
        { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid", "noexec", "nodev"] },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["strictatime", "mode=755", "size=64k"] },
        { "destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        { "destination": "/dev/mqueue", "type": "mqueue" },
        { "destination": "/run", "type": "tmpfs", "options": ["nr_inodes=1k", "rshared"] },
        { "destination": "/var", "type": "tmpfs", "options": ["tmpcopyup", "ro"] },
        { "destination": "/disk", "type": "ext4", "source": "/dev/vdb", "options": ["ro", "sync", "lazytime", "nolazytime"] },
        { "destination": "/old", "type": "ext4", "source": "/dev/vdc", "options": ["iversion", "dirsync", "errors=panic"] },
        { "destination": "/merged", "type": "overlay", "source": "overlay",
          "options": [format!("lowerdir={}", "/a".repeat(200))] },
    ]);
    insta::assert_snapshot!(mounts(&v2(), all));
}

#[test]
fn what_is_mounted_already_can_change() {
    let change = |options: &[&str]| json!({ "destination": "/data", "options": options });
    let all = json!([
        bind("/data", &["rbind"]),
        change(&["bind", "remount", "ro", "nosuid"]),
        change(&["remount", "size=1k", "rro"]),
    ]);
    insta::assert_snapshot!(mounts(&v2(), all));
}

#[test]
fn owners_are_translated_by_namespaces_that_are_made_once() {
    let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 10 }, { "containerID": 10, "hostID": 1, "size": 1 }]);
    let translated = |place: &str, options: &[&str], id: u32| {
        let mut mount = bind(place, options);
        mount["uidMappings"] = map(id);
        mount["gidMappings"] = map(id);
        mount
    };
    let all = json!([
        translated("/a", &["bind", "idmap"], 1000),
        translated("/b", &["rbind", "ridmap"], 1000),
        translated("/c", &["rbind"], 2000),
    ]);
    insta::assert_snapshot!("owners_without_a_user_namespace", mounts(&v2(), all));
    let mut changes = in_user_namespace().to_vec();
    changes.push(("/mounts", json!([bind("/own", &["rbind", "idmap"])])));
    insta::assert_snapshot!("owners_of_the_container", lower(&v2(), &changes));
}

#[test]
fn a_kernel_before_5_12_changes_mounts_when_they_are_attached() {
    let changes = [
        ("/mounts", json!([bind("/data", &["rbind", "ro", "nosuid"]), bind("/heard", &["rbind", "rslave"])])),
        ("/linux/readonlyPaths", json!(["/proc/sys"])),
        ("/root/readonly", json!(true)),
    ];
    insta::assert_snapshot!(lower(&Facts { kernel: (5, 10), ..v2() }, &changes));
    let below = plan(&Facts { kernel: (5, 10), ..v2() }, &[("/mounts", json!([bind("/data", &["rbind", "rro"])]))]);
    let sentence = "mount at `/data`: attributes of what is mounted below need Linux 5.12";
    assert_eq!(below.unwrap_err(), sentence);
}

#[test]
fn a_kernel_without_openat2_is_refused() {
    let plan = plan(&Facts { kernel: (5, 5), ..v2() }, &[]);
    assert_eq!(plan.unwrap_err(), "this kernel has no openat2(2): Linux 5.6 is needed");
}

fn devices() -> Value {
    json!([
        { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 1, "gid": 2 },
        { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600 },
        { "path": "/dev/net/tun", "type": "u", "major": 10, "minor": 200 },
        { "path": "/srv/disk", "type": "b", "major": 7, "minor": 0 },
        { "path": "/dev/pipe", "type": "p" },
        { "path": "/dev/shm/zero", "type": "c", "major": 1, "minor": 5 },
    ])
}

fn dev() -> Value {
    json!([
        { "destination": "/dev/", "type": "tmpfs", "options": ["mode=755"] },
        { "destination": "/dev/shm", "type": "tmpfs", "options": ["mode=1777"] },
    ])
}

#[test]
fn devices_stand_in_a_dev_of_ours_or_where_they_are_called_to() {
    let changes = [("/mounts", dev()), ("/linux/devices", devices()), ("/process/terminal", json!(true))];
    insta::assert_snapshot!("devices_in_a_dev_of_ours", lower(&v2(), &changes));
    insta::assert_snapshot!("devices_in_the_roots_dev", lower(&v2(), &changes[1..]));
    let bound = [("/mounts", json!([bind("/dev", &["rbind"])])), ("/linux/devices", devices())];
    insta::assert_snapshot!("devices_with_the_hosts_dev", lower(&v2(), &bound));
}

#[test]
fn where_no_node_can_be_made_the_hosts_are_mounted() {
    let changes = [("/mounts", dev()), ("/linux/devices", json!([devices()[0], devices()[3]]))];
    insta::assert_snapshot!("devices_without_mknod", lower(&Facts { devices: false, ..v2() }, &changes));
    let mut mapped = in_user_namespace().to_vec();
    mapped.extend(changes);
    insta::assert_snapshot!("devices_under_a_user_namespace", lower(&v2(), &mapped));
}

#[test]
fn cgroups_are_seen_as_far_as_the_container_has_them() {
    let all = json!([{ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid", "relatime"] }]);
    let own = json!([{ "type": "mount" }, { "type": "cgroup" }]);
    let changes = [("/mounts", all), ("/linux/namespaces", own)];
    insta::assert_snapshot!("cgroups_v1_in_a_namespace", lower(&v1(), &changes));
    insta::assert_snapshot!("cgroups_v1_without_a_namespace", lower(&v1(), &changes[..1]));
    insta::assert_snapshot!("cgroups_v2_in_a_namespace", lower(&v2(), &changes));
    let mut mapped = in_user_namespace().to_vec();
    mapped.extend(changes[..1].to_vec());
    insta::assert_snapshot!("cgroups_v2_under_a_user_namespace_alone", lower(&v2(), &mapped));
}

#[test]
fn a_user_namespace_mounts_only_what_shows_its_own() {
    let all = json!([
        { "destination": "/proc", "type": "proc" },
        { "destination": "/sys", "type": "sysfs", "options": ["ro"] },
        { "destination": "/dev/mqueue", "type": "mqueue" },
    ]);
    let mut changes = in_user_namespace().to_vec();
    changes.push(("/mounts", all));
    insta::assert_snapshot!(lower(&v2(), &changes));
}

#[test]
fn the_root_spreads_as_it_is_told() {
    let lines = |propagation: &str| {
        let text = lower(&v2(), &[("/linux/rootfsPropagation", json!(propagation))]);
        let root = |line: &&str| line.contains("open root") || line.contains("spread");
        text.lines().filter(root).map(|line| line[4..].to_owned()).collect::<Vec<_>>().join("\n")
    };
    for (propagation, expected) in [
        ("", "host   open root `/bundle/rootfs` as #3, private and below"),
        ("rprivate", "host   open root `/bundle/rootfs` as #3, private and below"),
        ("slave", "host   open root `/bundle/rootfs` as #3, slave and below\nchild  let mounts spread from #3, slave"),
        (
            "rshared",
            "host   open root `/bundle/rootfs` as #3, private and below\nchild  let mounts spread from #3, shared and below",
        ),
        (
            "unbindable",
            "host   open root `/bundle/rootfs` as #3, private and below\nchild  let mounts spread from #3, unbindable",
        ),
    ] {
        assert_eq!(lines(propagation), expected, "{propagation}");
    }
}

#[test]
fn a_bundles_devices_open_only_where_a_controller_bounds_which() {
    assert!(lower(&bare(), &[]).contains("open root `/bundle/rootfs` as #3, private nodev and below"));
    assert!(lower(&v1(), &[]).contains("open root `/bundle/rootfs` as #3, private and below"));
}

#[test]
fn a_root_that_cannot_be_pivoted_to_is_changed_to() {
    let changed = Plan::new(&spec(&[]), &request(Direct { no_pivot: true, ..Direct::default() }), &v2()).unwrap();
    let text = changed.to_string();
    assert!(text.contains("change to root #3") && !text.contains("pivot"), "{text}");
}

#[test]
fn a_bundles_owners_are_left_as_they_are() {
    let text = lower(&v2(), &in_user_namespace());
    assert!(!text.contains("translate"), "{text}");
}

#[test]
fn what_cannot_be_mounted_is_refused_in_a_sentence() {
    let at = |destination: &str, kind: &str, options: &[&str]| json!([{ "destination": destination, "type": kind, "options": options }]);
    let cases = [
        (json!([bind("/", &["bind"])]), "a mount's destination is the root itself"),
        (json!([bind("/a/../..", &["bind"])]), "a mount's destination is the root itself"),
        (json!([{ "destination": "/d", "type": "bind" }]), "bind mount at `/d` has no source"),
        (json!([{ "destination": "/d" }]), "mount at `/d` has no type and is no bind mount"),
        (json!([bind("/d", &["bind", "size=1"])]), "mount option `size` of the bind mount at `/d` is unknown"),
        (
            json!([bind("/d", &["bind", "sync"])]),
            "mount option `sync` of the bind mount at `/d` belongs to a file system, which a bind mount makes none of",
        ),
        (at("/d", "proc", &["tmpcopyup"]), "mount option `tmpcopyup` of the mount at `/d`: it is no tmpfs"),
        (at("/proc", "tmpfs", &[]), "mount at `/proc`: on /proc stands procfs alone"),
        (
            json!([bind("/proc/self", &["bind"])]),
            "mount at `/proc/self`: nothing is mounted inside /proc but what lxcfs provides",
        ),
        (
            at("/x/../proc/sys/kernel", "tmpfs", &[]),
            "mount at `/x/../proc/sys/kernel`: nothing is mounted inside /proc but what lxcfs provides",
        ),
        (at("/d", "tmpfs", &["idmap"]), "mount at `/d`: only a bind mount translates owners"),
        (json!([bind("/d", &["bind", "idmap"])]), "mount at `/d`: `idmap` without mappings needs a user namespace"),
    ];
    for (all, sentence) in cases {
        assert_eq!(plan(&v2(), &[("/mounts", all)]).unwrap_err(), sentence);
    }
    for allowed in [bind("/proc/meminfo", &["bind"]), bind("/proc", &["rbind"])] {
        plan(&v2(), &[("/mounts", json!([allowed]))]).unwrap();
    }
    let spread = plan(&v2(), &[("/linux/rootfsPropagation", json!("wide"))]);
    assert_eq!(spread.unwrap_err(), "`linux.rootfsPropagation` `wide` is no way for mounts to spread");
    let number = json!([{ "path": "/dev/x", "type": "c", "major": -1, "minor": 0 }]);
    assert_eq!(plan(&v2(), &[("/linux/devices", number)]).unwrap_err(), "device `/dev/x`: bad number");
    let root = json!([{ "path": "/", "type": "c", "major": 1, "minor": 0 }]);
    assert_eq!(plan(&v2(), &[("/linux/devices", root)]).unwrap_err(), "device `/`: it is no path of a file");
}
