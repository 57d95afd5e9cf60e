//! Hooks: where and when each runs, and what its failure brings (runtime.md, "Lifecycle").

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("hooks run in order, each with the state it is promised", order),
    ("hooks run in the namespaces the specification says", places),
    ("a hook that fails before the start undoes the container", failing),
    ("a hook that takes too long is killed", slow),
    ("a poststart hook that fails ends the container", poststart),
    ("a startContainer hook runs as the container's user", user),
];

fn hook(bundle: &Bundle, script: &str) -> Value {
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", script.replace("OUT", &bundle.path("out"))] }])
}

fn told(bundle: &Bundle) -> Result<String, Failed> {
    Ok(fs::read_to_string(bundle.path("out")).unwrap_or_default())
}

fn order(bundle: &mut Bundle) -> Result<(), Failed> {
    let mut hooks = json!({});
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        hooks[kind] = hook(bundle, &format!("printf '{kind} ' >>OUT; cat >>OUT; echo >>OUT"));
    }
    bundle.spec["hooks"] = hooks;
    bundle.started(&["sleep", "1000"])?;
    let pid = bundle.state()?["pid"].clone();
    bundle.program(&["delete", "--force", &bundle.id])?.succeeded()?;
    let text = told(bundle)?;
    let mut seen = Vec::new();
    for line in text.lines() {
        let (kind, state) = line.split_once(' ').ok_or("no state")?;
        let state: Value = serde_json::from_str(state)?;
        assert_eq!(state["id"], bundle.id.as_str(), "{kind}");
        assert!(state["ociVersion"].is_string() && state["bundle"].is_string(), "{kind}: {state}");
        if kind != "poststop" {
            assert_eq!(state["pid"], pid, "{kind}");
        }
        seen.push(format!("{kind}={}", state["status"].as_str().unwrap_or_default()));
    }
    let wanted = "prestart=creating createRuntime=creating createContainer=creating poststart=running poststop=stopped";
    assert_eq!(seen.join(" "), wanted);
    Ok(())
}

fn places(bundle: &mut Bundle) -> Result<(), Failed> {
    let show = |kind: &str| format!("echo {kind} $(readlink /proc/self/ns/mnt) >>OUT");
    bundle.spec["hooks"] = json!({
        "createRuntime": hook(bundle, &show("createRuntime")),
        "createContainer": hook(bundle, &show("createContainer")),
        // Its file system is the container's.
        "startContainer": [{ "path": "/bin/busybox", "args": ["sh", "-c", "readlink /proc/self/ns/mnt >/tmp/out"] }],
    });
    bundle.spec["root"]["readonly"] = json!(false);
    bundle.started(&["sleep", "1000"])?;
    let own = fs::read_link("/proc/self/ns/mnt")?.display().to_string();
    let pid = bundle.state()?["pid"].to_string();
    let container = fs::read_link(format!("/proc/{pid}/ns/mnt"))?.display().to_string();
    assert_eq!(told(bundle)?, format!("createRuntime {own}\ncreateContainer {container}\n"));
    assert_eq!(fs::read_to_string(bundle.path("rootfs/tmp/out"))?.trim(), container);
    Ok(())
}

fn failing(bundle: &mut Bundle) -> Result<(), Failed> {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let _ = fs::remove_file(bundle.path("out"));
        bundle.spec["hooks"] = json!({ kind: hook(bundle, "exit 3"), "poststop": hook(bundle, "echo poststop >>OUT") });
        bundle.runs(&["true"]).write()?;
        bundle.program(&["create", &bundle.id])?.refused(&format!("{kind} hook `/bin/sh`"));
        bundle.program(&["state", &bundle.id])?.refused("does not exist");
        assert_eq!(told(bundle)?, "poststop\n", "{kind}");
    }
    bundle.spec["hooks"] = json!({ "startContainer": [{ "path": "/bin/false-one" }] });
    bundle.runs(&["sh", "-c", "echo ran"]).write()?;
    let ended = bundle.program(&["run", &bundle.id])?;
    ended.refused("run startContainer hook `/bin/false-one`");
    assert_eq!(ended.output, "");
    bundle.program(&["create", &bundle.id])?.succeeded()?;
    bundle.program(&["start", &bundle.id])?.refused("run startContainer hook `/bin/false-one`");
    bundle.becomes("stopped")
}

fn slow(bundle: &mut Bundle) -> Result<(), Failed> {
    for kind in ["createRuntime", "createContainer"] {
        bundle.spec["hooks"] = json!({ kind: [{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }] });
        bundle.runs(&["true"]).write()?;
        bundle.program(&["create", &bundle.id])?.refused("longer than its timeout");
    }
    bundle.spec["hooks"] = json!({ "createRuntime": [{ "path": "sleep" }] });
    bundle.write()?;
    bundle.program(&["create", &bundle.id])?.refused("its path is not absolute");
    Ok(())
}

fn poststart(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["hooks"] = json!({ "poststart": hook(bundle, "exit 1") });
    bundle.runs(&["sleep", "1000"]).write()?;
    bundle.program(&["create", &bundle.id])?.succeeded()?;
    bundle.program(&["start", &bundle.id])?.refused("poststart hook");
    bundle.becomes("stopped")
}

fn user(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["hooks"] = json!({ "startContainer": [{ "path": "/bin/busybox", "args": ["sh", "-c", "id -u; grep CapEff /proc/self/status"] }] });
    bundle.spec["process"]["user"] = json!({ "uid": 1234, "gid": 1234 });
    let ended = bundle.run(&["echo", "ran"])?.succeeded()?;
    assert_eq!(ended.output, "1234\nCapEff:\t0000000000000000\nran\n");
    Ok(())
}
