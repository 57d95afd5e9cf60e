//! Where a filter stands in a plan: ours and a listener's before the process waits for its start, a stranger's behind, since
//! it may forbid what waiting needs.

use std::path::Path;

use oci_spec::runtime::Spec;
use proa_linux::cgroup::Layout;
use proa_linux::{Facts, Files, Plan, Request, Streams};
use serde_json::{Value, json};

fn plan(no_new_privileges: bool, seccomp: Value) -> String {
    let spec = json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 }, "noNewPrivileges": no_new_privileges },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }], "seccomp": seccomp },
    });
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let facts = Facts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        namespaces: true,
        mapped_namespaces: true,
        own_namespace: true,
        overlay: None,
        apparmor: false,
        selinux: false,
        devices: true,
        capabilities: u64::MAX,
        cgroups: Layout { hierarchies: Vec::new() },
    };
    let request = Request {
        group: "proa-1/c",
        files: Files::Root(Path::new("/bundle/rootfs")),
        streams: Streams::Pipes { stdin: false },
        user_namespace: None,
        default_filter: true,
        init: false,
        keyring: None,
        direct: None,
    };
    let plan = Plan::new(&spec, &request, &facts).unwrap();
    let last = |text: &str| text.lines().rev().take(9).map(str::to_owned).collect::<Vec<_>>();
    let mut lines = last(&plan.to_string());
    lines.reverse();
    lines.join("\n")
}

fn flags() -> Value {
    let flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"];
    let syscalls = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }]);
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": syscalls })
}

fn listener() -> Value {
    let syscalls = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]);
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock", "syscalls": syscalls })
}

#[test]
fn a_filter_with_flags_is_loaded_after_the_wait() {
    insta::assert_snapshot!("filter_after_the_wait", plan(true, flags()));
    insta::assert_snapshot!("filter_before_rights_are_dropped", plan(false, flags()));
}

#[test]
fn a_filter_with_a_listener_is_loaded_before_the_wait() {
    insta::assert_snapshot!("filter_with_a_listener", plan(true, listener()));
}
