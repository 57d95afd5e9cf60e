//! One more process in a container.

use std::fs;

use libtest_mimic::Failed;
use serde_json::json;

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("exec joins every namespace and gives output and exit status", joins),
    ("exec takes user, environment and directory from its flags", flags),
    ("exec takes a process from a document", document),
    ("exec that cannot execute fails with 255", fails),
    ("exec --detach comes back at once with a pid", detached),
    ("exec gives no capability to inherit", capabilities),
];

fn joins(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let ended = bundle.program(&["exec", &bundle.id, "sh", "-c", "ps | grep -c sleep; echo err >&2; exit 9"])?;
    assert_eq!((ended.code, ended.error.as_str()), (Some(9), "err\n"), "{ended:?}");
    let pid = bundle.state()?["pid"].to_string();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let inside =
            bundle.program(&["exec", &bundle.id, "readlink", &format!("/proc/self/ns/{kind}")])?.succeeded()?;
        let outside = fs::read_link(format!("/proc/{pid}/ns/{kind}"))?;
        assert_eq!(inside.output.trim(), outside.display().to_string(), "{kind}");
    }
    let groups = bundle.program(&["exec", &bundle.id, "cat", "/proc/self/cgroup"])?.succeeded()?.output;
    let first = bundle.program(&["exec", &bundle.id, "cat", "/proc/1/cgroup"])?.succeeded()?.output;
    assert_eq!(groups, first);
    Ok(())
}

fn flags(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let words = ["exec", "--user", "12:34", "-g", "56,78", "--env", "A=b c", "--cwd", "/tmp", &bundle.id];
    let command = ["sh", "-c", "id -u; id -G; echo $A; pwd"];
    let ended = bundle.program(&[&words[..], &command].concat())?.succeeded()?;
    assert_eq!(ended.output, "12\n34 56 78\nb c\n/tmp\n");
    bundle.program(&["exec", "--user", "root", &bundle.id, "true"])?.refused("--user `root`: a number is wanted");
    bundle.program(&["exec", "--cap", "CAP_FLY", &bundle.id, "true"])?.refused("no such capability");
    bundle.program(&["exec", &bundle.id])?.refused("exec needs a command");
    Ok(())
}

fn document(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let process = json!({
        "args": ["sh", "-c", "id -u; echo $X"], "cwd": "/", "user": { "uid": 5, "gid": 5 }, "env": ["PATH=/bin", "X=y"],
    });
    fs::write(bundle.path("process.json"), process.to_string())?;
    let ended = bundle.program(&["exec", "--process", &bundle.path("process.json"), &bundle.id])?.succeeded()?;
    assert_eq!(ended.output, "5\ny\n");
    fs::write(bundle.path("process.json"), "{")?;
    bundle.program(&["exec", "-p", &bundle.path("process.json"), &bundle.id])?.refused("read the process from");
    Ok(())
}

fn fails(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let ended = bundle.program(&["exec", &bundle.id, "no-such-program"])?;
    ended.refused("execute `no-such-program`: no such file or directory");
    assert_eq!(ended.code, Some(255));
    assert_eq!(bundle.status()?, "running");
    Ok(())
}

fn detached(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let file = bundle.path("exec-pid");
    bundle.program(&["exec", "--detach", "--pid-file", &file, &bundle.id, "sleep", "999"])?.succeeded()?;
    let pid = fs::read_to_string(file)?;
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline"))?, "sleep\0999\0");
    Ok(())
}

fn capabilities(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.started(&["sleep", "1000"])?;
    let ended =
        bundle.program(&["exec", "--cap", "NET_RAW", &bundle.id, "grep", "Cap", "/proc/self/status"])?.succeeded()?;
    let set = |name: &str| {
        let line = ended.output.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok())
    };
    let net_raw = 1 << 13;
    assert_eq!(set("CapInh:"), Some(0), "{ended:?}");
    assert_eq!(set("CapAmb:"), Some(0), "{ended:?}");
    assert_eq!(set("CapEff:").map(|bits| bits & net_raw), Some(net_raw), "{ended:?}");
    Ok(())
}
