//! Nothing that a specification asks is passed over in silence: what this runtime lacks is refused by its field.

use std::path::Path;

use oci_spec::runtime::Spec;
use proa_linux::cgroup::{Hierarchy, Layout};
use proa_linux::{Facts, Files, IdMap, Lower, Plan, Request, Streams};
use serde_json::{Value, json};

fn facts(unified: bool) -> Facts {
    let controllers = ["memory", "cpu", "pids"].map(str::to_owned).to_vec();
    let hierarchy = Hierarchy { mount: "/sys/fs/cgroup".into(), controllers, unified, writable: true };
    Facts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        namespaces: true,
        mapped_namespaces: true,
        own_namespace: true,
        overlay: Some(Lower::Detached),
        cgroups: Layout { hierarchies: vec![hierarchy] },
        capabilities: u64::MAX,
        apparmor: false,
        selinux: false,
        devices: true,
    }
}

/// The least that runs, with `value` at `pointer` (RFC 6901).
fn spec_with(pointer: &str, value: Value) -> Spec {
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
    });
    let mut place = &mut spec;
    for name in pointer.split('/').skip(1) {
        place = &mut place[name];
    }
    *place = value;
    serde_json::from_value(spec).unwrap()
}

fn lower(spec: &Spec, files: Files<'_>, user_namespace: Option<IdMap>, unified: bool) -> Result<Plan, String> {
    let streams = Streams::Pipes { stdin: false };
    let request = Request {
        group: "proa-1/c",
        files,
        streams,
        user_namespace,
        default_filter: false,
        init: false,
        keyring: None,
        direct: None,
    };
    Plan::new(spec, &request, &facts(unified)).map_err(|error| error.to_string())
}

fn refusal(pointer: &str, value: Value) -> Result<Plan, String> {
    lower(&spec_with(pointer, value), Files::Root(Path::new("/bundle/rootfs")), None, true)
}

#[test]
fn a_field_without_an_executor_is_refused_by_its_name() {
    let hook = json!([{ "path": "/bin/true" }]);
    let cases = [
        ("/vm", json!({ "kernel": { "path": "/vmlinuz" } }), "vm"),
        ("/hooks/prestart", hook.clone(), "hooks.prestart"),
        ("/hooks/createRuntime", hook.clone(), "hooks.createRuntime"),
        ("/hooks/createContainer", hook.clone(), "hooks.createContainer"),
        ("/hooks/startContainer", hook.clone(), "hooks.startContainer"),
        ("/hooks/poststart", hook.clone(), "hooks.poststart"),
        ("/hooks/poststop", hook, "hooks.poststop"),
        ("/linux/cgroupsPath", json!("/elsewhere"), "linux.cgroupsPath"),
        ("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0"), "linux.mountLabel"),
        ("/linux/intelRdt", json!({ "closID": "a" }), "linux.intelRdt"),
    ];
    for (pointer, value, name) in cases {
        let said = refusal(pointer, value).map(|plan| plan.to_string());
        assert_eq!(said.unwrap_err(), format!("`{name}` is not supported yet"));
    }
}

#[test]
fn a_value_without_an_executor_is_refused_in_a_sentence() {
    let cases = [
        ("/ociVersion", json!("2.0.0"), "version `2.0.0` of the runtime specification is not known here"),
        (
            "/linux/namespaces",
            json!([{ "type": "user" }]),
            "a user namespace needs `linux.uidMappings` and `linux.gidMappings`",
        ),
        (
            "/linux/uidMappings",
            json!([{ "containerID": 0, "hostID": 1, "size": 1 }]),
            "`linux.uidMappings` and `linux.gidMappings` need a user namespace",
        ),
        (
            "/linux/resources/memory",
            json!({ "swappiness": 10 }),
            "`linux.resources.memory.swappiness`: cgroups v2 have no swappiness of their own",
        ),
        (
            "/linux/resources/memory",
            json!({ "disableOOMKiller": true }),
            "`linux.resources.memory.disableOOMKiller`: cgroups v2 cannot disable the OOM killer",
        ),
        (
            "/linux/resources/blockIO",
            json!({ "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 1 }] }),
            "`linux.resources.blockIO`: no cgroup of the controller `io` can be made here by this user",
        ),
    ];
    for (pointer, value, sentence) in cases {
        assert_eq!(refusal(pointer, value).map(|plan| plan.to_string()).unwrap_err(), sentence);
    }
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    let cases = [
        ("/annotations", json!({ "org.example.anything": "passed over, as the specification says" })),
        ("/hooks", json!({ "poststart": [] })),
        ("/process/apparmorProfile", json!("unconfined")),
        ("/process/selinuxLabel", json!("")),
        ("/linux/personality", json!({ "domain": "LINUX" })),
        ("/linux/rootfsPropagation", json!("rprivate")),
        ("/linux/resources/memory", json!({ "disableOOMKiller": false, "useHierarchy": true })),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_TSYNC"] })),
    ];
    for (pointer, value) in cases {
        refusal(pointer, value).unwrap();
    }
}

#[test]
fn swappiness_is_a_file_of_v1() {
    let spec = spec_with("/linux/resources/memory", json!({ "swappiness": 10 }));
    let plan = lower(&spec, Files::Root(Path::new("/r")), None, false).unwrap();
    assert!(plan.to_string().contains("memory.swappiness"), "{plan}");
}

#[test]
fn a_missing_working_directory_is_made_before_the_root_is_read_only() {
    let mut spec = spec_with("/process/cwd", json!("/work/here"));
    spec.root_mut().as_mut().unwrap().set_readonly(Some(true));
    let plan = lower(&spec, Files::Root(Path::new("/r")), None, true).unwrap().to_string();
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("no `{text}` in {plan}"));
    assert!(at("make directory `/work/here`") < at("restrict `/` to ro"), "{plan}");
    assert!(at("restrict `/` to ro") < at("change directory to `/work/here`"), "{plan}");
}
