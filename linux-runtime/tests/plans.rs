//! Plans as text: what would be done, by whom, in which order. Needs no privilege.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxMemoryBuilder, LinuxResources, Mount, Process, Root, Spec};
use proa_linux::cgroup::{Hierarchy, Layout};
use proa_linux::{Confinement, Facts, Files, IdMap, Join, Lower, Plan, Request, SUBORDINATE, Streams};

fn hierarchy(mount: &str, controllers: &[&str], unified: bool) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Hierarchy { mount: PathBuf::from(mount), controllers, unified, writable: true }
}

fn facts(hierarchies: Vec<Hierarchy>) -> Facts {
    Facts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        namespaces: true,
        mapped_namespaces: true,
        own_namespace: true,
        overlay: Some(Lower::Detached),
        cgroups: Layout { hierarchies },
        capabilities: u64::MAX,
        apparmor: false,
        selinux: false,
        devices: true,
    }
}

fn v1() -> Facts {
    let one = |name: &str| hierarchy(&format!("/sys/fs/cgroup/{name}"), &[name], false);
    facts(["memory", "cpu", "cpuacct", "pids", "devices"].map(one).to_vec())
}

fn v2() -> Facts {
    facts(vec![hierarchy("/sys/fs/cgroup", &["memory", "cpu", "pids"], true)])
}

fn ordinary_user() -> Facts {
    let nothing = Facts { namespaces: false, mapped_namespaces: false, own_namespace: false, ..facts(Vec::new()) };
    Facts { uid: 1000, gid: 1000, overlay: None, capabilities: 0, ..nothing }
}

fn spec() -> Spec {
    let mut process = Process::default();
    process.set_args(Some(vec!["true".to_owned()]));
    process.set_capabilities(None);
    let mut resources = LinuxResources::default();
    resources.set_memory(Some(LinuxMemoryBuilder::default().limit(1 << 20).build().unwrap()));
    let mut linux = Linux::default();
    linux.set_resources(Some(resources));
    let mut bind = Mount::default();
    bind.set_destination("/data".into()).set_source(Some("/srv/data".into()));
    bind.set_options(Some(vec!["rbind".to_owned(), "ro".to_owned()]));
    let mut spec = Spec::default();
    spec.mounts_mut().get_or_insert_default().push(bind);
    let mut root = Root::default();
    root.set_readonly(Some(true));
    spec.set_root(Some(root)).set_process(Some(process)).set_linux(Some(linux)).set_hostname(Some("guest".to_owned()));
    spec
}

fn lower(spec: &Spec, user_namespace: Option<IdMap>, facts: &Facts) -> Result<Plan, proa_linux::Error> {
    let layers = [PathBuf::from("/layers/a"), PathBuf::from("/layers/b")];
    let files = Files::Layers { lower: &layers, scratch: Path::new("/containers/c/scratch") };
    let streams = Streams::Pipes { stdin: true };
    let request = Request {
        group: "proa-1/c",
        files,
        streams,
        user_namespace,
        default_filter: true,
        init: false,
        keyring: None,
        direct: None,
    };
    Plan::new(spec, &request, facts)
}

#[test]
fn a_container_on_v1_is_cloned_by_the_zygote() {
    insta::assert_snapshot!(lower(&spec(), None, &v1()).unwrap());
}

#[test]
fn a_container_under_a_user_namespace_has_a_helper() {
    insta::assert_snapshot!(lower(&spec(), Some(SUBORDINATE), &v2()).unwrap());
}

/// Everything that `linux.resources` can ask of both versions.
fn bounded() -> Spec {
    let device = |rate: u64| serde_json::json!([{ "major": 8, "minor": 0, "rate": rate }]);
    let resources = serde_json::json!({
        "devices": [{ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }],
        "memory": { "limit": 1 << 20, "swap": 2 << 20, "reservation": 1 << 19 },
        "cpu": { "shares": 512, "quota": 20_000, "period": 50_000, "burst": 1000, "cpus": "0-1", "mems": "0" },
        "pids": { "limit": 32 },
        "blockIO": { "weight": 500, "throttleReadBpsDevice": device(600), "throttleWriteIOPSDevice": device(0) },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }],
        "rdma": { "mlx5_1": { "hcaHandles": 3 } },
    });
    let mut spec = spec();
    spec.linux_mut().as_mut().unwrap().set_resources(Some(serde_json::from_value(resources).unwrap()));
    spec
}

#[test]
fn a_container_is_bounded_on_v1_in_a_hierarchy_each() {
    let all = ["memory", "cpu", "cpuacct", "pids", "devices", "cpuset", "blkio", "hugetlb", "rdma"];
    let facts = facts(all.map(|name| hierarchy(&format!("/sys/fs/cgroup/{name}"), &[name], false)).to_vec());
    insta::assert_snapshot!(lower(&bounded(), None, &facts).unwrap());
}

#[test]
fn a_container_is_bounded_on_v2_in_one_group() {
    let all = ["memory", "cpu", "pids", "cpuset", "io", "hugetlb", "rdma"];
    let mut spec = bounded();
    let unified = [("memory.high".to_owned(), "786432".to_owned())].into();
    spec.linux_mut().as_mut().unwrap().resources_mut().as_mut().unwrap().set_unified(Some(unified));
    insta::assert_snapshot!(lower(&spec, None, &facts(vec![hierarchy("/sys/fs/cgroup", &all, true)])).unwrap());
}

/// Only where it can see and write it, and on v2.
#[test]
fn a_container_owns_its_group_where_it_may_write_to_it() {
    let mut spec = spec();
    let cgroup = |mode: &str| serde_json::json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [mode] });
    let namespaces = ["pid", "mount", "user", "cgroup"].map(|kind| serde_json::json!({ "type": kind }));
    let namespaces = serde_json::from_value(serde_json::json!(namespaces)).unwrap();
    spec.linux_mut().as_mut().unwrap().set_namespaces(Some(namespaces));
    let mut gives = |mode: &str, facts: &Facts| {
        spec.set_mounts(Some(vec![serde_json::from_value(cgroup(mode)).unwrap()]));
        let plan = lower(&spec, Some(SUBORDINATE), facts).unwrap().to_string();
        plan.contains("give cgroup `/sys/fs/cgroup/proa-1/c` to uid 100000")
    };
    assert!(gives("rw", &v2()));
    assert!(!gives("ro", &v2()));
    assert!(!gives("rw", &v1()));
}

#[test]
fn a_worker_ends_in_enter() {
    let confinement = Confinement {
        group: "proa-1/worker-default",
        entry: "worker",
        argument: b"",
        descriptors: 2,
        syscalls: &["read", "futex"],
        memory: None,
        cpu_quota: None,
        pids: Some(64),
    };
    insta::assert_snapshot!("worker_as_root", Plan::confine(&confinement, &v2()).unwrap());
    insta::assert_snapshot!("worker_of_an_ordinary_user", Plan::confine(&confinement, &ordinary_user()).unwrap());
}

#[test]
fn one_more_process_joins_by_a_helper() {
    let process = spec().process().clone().unwrap();
    let streams = Streams::Pipes { stdin: false };
    let join = Join {
        seccomp: None,
        default_filter: true,
        streams,
        group: "proa-1/c",
        in_user: true,
        linux: None,
        keyring: None,
        direct: None,
    };
    insta::assert_snapshot!(Plan::join(&process, &join, &v1()).unwrap());
}

#[test]
fn a_plan_survives_the_wire() {
    let plan = lower(&spec(), Some(SUBORDINATE), &v2()).unwrap();
    let bytes = proa_linux::zygote::protocol::encode(&plan).unwrap();
    assert_eq!(proa_linux::zygote::protocol::decode::<Plan>(&bytes).unwrap(), plan);
}

#[test]
fn what_cannot_be_lowered_is_refused_in_a_sentence() {
    let check = |change: &dyn Fn(&mut Spec), sentence: &str| {
        let mut spec = spec();
        change(&mut spec);
        assert_eq!(lower(&spec, None, &v1()).unwrap_err().to_string(), sentence);
    };
    check(&|spec| _ = spec.set_process(None), "the specification has no process");
    check(
        &|spec| {
            let process = spec.process_mut().as_mut().unwrap();
            process.user_mut().set_uid(u32::MAX);
        },
        "user and group ids end at 4294967294",
    );
    check(
        &|spec| {
            let process = spec.process_mut().as_mut().unwrap();
            process.set_cwd("relative".into());
        },
        "working directory `relative` is not absolute",
    );
    let unlimited = lower(&spec(), None, &facts(Vec::new())).unwrap_err().to_string();
    assert_eq!(
        unlimited,
        "`linux.resources.memory`: no cgroup of the controller `memory` can be made here by this user"
    );
}
