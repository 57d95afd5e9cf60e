//! config.json and process.json, whatever bytes they are: what is understood is lowered to a plan or refused in a sentence, and
//! a plan can be printed, sent, and names only slots and paths that are its own.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use proa_linux::cgroup::{Hierarchy, Layout};
use proa_linux::zygote::protocol::{decode, encode};
use proa_linux::{
    Action, Beneath, Direct, Facts, Files, Join, Lower, Plan, Request, SUBORDINATE, Streams, read_container, read_process,
};

/// The kernel's BPF_MAXINSNS.
const LONGEST_FILTER: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    for facts in [facts(false), facts(true)] {
        container(bytes, &facts);
        process(bytes, &facts);
    }
});

fn container(bytes: &[u8], facts: &Facts) {
    let Ok((spec, _)) = read_container(bytes) else { return };
    let direct = Request {
        group: "proa/c",
        files: Files::Root(Path::new("/bundle/rootfs")),
        streams: Streams::Inherited,
        user_namespace: None,
        default_filter: false,
        init: false,
        keyring: Some("_ses.c"),
        direct: Some(Direct { detached: true, preserve: 2, no_pivot: true }),
    };
    let layers = ["/layers/a".into(), "/layers/b".into()];
    let files = Files::Layers { lower: &layers, scratch: Path::new("/scratch") };
    let zygote = Request {
        files,
        streams: Streams::Pipes { stdin: true },
        user_namespace: Some(SUBORDINATE),
        default_filter: true,
        init: true,
        keyring: None,
        direct: None,
        ..direct
    };
    for request in [direct, zygote] {
        judge(Plan::new(&spec, &request, facts));
    }
}

fn process(bytes: &[u8], facts: &Facts) {
    let Ok((process, _)) = read_process(bytes) else { return };
    let join = Join {
        seccomp: None,
        default_filter: true,
        streams: Streams::Terminal,
        group: "proa/c",
        in_user: true,
        linux: None,
        keyring: Some("_ses.c"),
        direct: Some(Direct { detached: false, preserve: 0, no_pivot: false }),
    };
    judge(Plan::join(&process, &join, facts));
}

fn judge(plan: Result<Plan, proa_linux::Error>) {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(plan.to_string().lines().count() >= plan.steps.len());
    for (at, step) in plan.steps.iter().enumerate() {
        assert!(plan.describe(at + 1).starts_with("step "));
        match &step.action {
            Action::Filter { program, .. } => assert!((1..=LONGEST_FILTER).contains(&program.len())),
            Action::Mount { target, .. } | Action::Attach { target, .. } => {
                assert!(target.base.0 < plan.slots, "{}", step.action);
                contained(&target.path);
            }
            Action::Mask { path, .. } | Action::ReadOnly { path, .. } | Action::WorkingDirectory { path } => contained(path),
            _ => {}
        }
    }
    // What was left out is told by whoever lowers, and not sent.
    let plan = Plan { warnings: Vec::new(), ..plan };
    let bytes = encode(&plan).expect("a plan can be sent");
    assert_eq!(decode::<Plan>(&bytes).expect("what was sent is received"), plan);
}

/// Every component is a name.
fn contained(path: &Beneath) {
    for name in &path.names {
        assert!(!name.is_empty() && !name.as_bytes().contains(&b'/'), "{path}");
        assert!(name.as_bytes() != b".." && name.as_bytes() != b".", "{path}");
    }
}

/// A machine that has everything, with cgroups of one version.
fn facts(unified: bool) -> Facts {
    let controllers = ["memory", "cpu", "cpuset", "pids", "io", "hugetlb"].map(str::to_owned).to_vec();
    let hierarchy = Hierarchy { mount: "/sys/fs/cgroup".into(), controllers, unified, writable: true };
    Facts {
        kernel: (6, 18),
        uid: 0,
        gid: 0,
        namespaces: true,
        mapped_namespaces: true,
        own_namespace: true,
        overlay: Some(Lower::Detached),
        devices: true,
        cgroups: Layout { hierarchies: vec![hierarchy] },
        apparmor: true,
        selinux: true,
        capabilities: u64::MAX,
    }
}
