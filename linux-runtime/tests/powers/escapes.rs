//! Known ways out of containers that go through who a process is, each tried.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::json;

use super::Case;
use super::bundle::Bundle;
use super::namespaces::confine;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("no group of the runtime's starter is left (CVE-2018-7169, CVE-2022-2995)", groups),
    ("no inherited capability outlives the runtime (CVE-2022-24769, CVE-2022-29162)", inheritable),
    ("keys of the runtime's starter are not in the session", keyring),
    ("sockets with abstract names are another network's (CVE-2020-15257)", abstract_sockets),
    ("no id overflows to root (CVE-2024-40635)", overflow),
    ("a guest whose user namespaces are counted out makes none", no_more_user_namespaces),
    ("a label's or a parameter's name does not lead out of /proc", climbing),
];

fn groups(bundle: &mut Bundle) -> Result<(), Failed> {
    for confined in [false, true] {
        if confined {
            confine(bundle);
        }
        bundle.runs(&["sh", "-c", "id -G; grep Groups /proc/self/status"]).write()?;
        let mut starter = Command::new("setpriv");
        starter.args(["--groups", "4,24,100", env!("CARGO_BIN_EXE_proa-linux"), "--root", &bundle.path("state")]);
        let ended = bundle.end(starter.args(["run", "--bundle", &bundle.path(""), &bundle.id]))?.succeeded()?;
        assert_eq!(ended.output.replace(' ', ""), "0\nGroups:\t\n", "confined {confined}");
    }
    Ok(())
}

fn inheritable(bundle: &mut Bundle) -> Result<(), Failed> {
    let sets = ["bounding", "permitted", "effective"];
    for set in sets {
        bundle.spec["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_NET_RAW"]);
    }
    for set in ["inheritable", "ambient"] {
        bundle.spec["process"]["capabilities"][set] = json!([]);
    }
    bundle.runs(&["grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"]).write()?;
    let mut starter = Command::new("setpriv");
    starter.args(["--inh-caps", "+net_raw,+kill", "--ambient-caps", "+net_raw,+kill"]);
    starter.args([env!("CARGO_BIN_EXE_proa-linux"), "--root", &bundle.path("state")]);
    let ended = bundle.end(starter.args(["run", "--bundle", &bundle.path(""), &bundle.id]))?.succeeded()?;
    assert_eq!(ended.output, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n");
    Ok(())
}

/// /proc/keys shows whom the reader's session holds.
fn keyring(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["linux"]["maskedPaths"] = json!([]);
    let name = format!("_ses.{}", bundle.id);
    bundle.runs(&["cat", "/proc/keys"]).write()?;
    let keys = bundle.program(&["run", "--no-new-keyring", &bundle.id])?.succeeded()?.output;
    assert!(!keys.contains(&name), "{keys}");
    for confined in [false, true] {
        if confined {
            confine(bundle);
        }
        bundle.started(&["sleep", "1000"])?;
        let keys = bundle.program(&["exec", &bundle.id, "cat", "/proc/keys"])?.succeeded()?.output;
        assert_eq!(keys.lines().filter(|line| line.contains(&format!(" {name}: "))).count(), 1, "{keys}");
        bundle.leaves_nothing()?;
    }
    Ok(())
}

fn abstract_sockets(bundle: &mut Bundle) -> Result<(), Failed> {
    let name = format!("proa-linux-test-{}", bundle.id);
    let _listening = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let listed = fs::read_to_string("/proc/net/unix")?;
    assert!(listed.contains(&name));
    let seen = bundle.run(&["cat", "/proc/net/unix"])?.succeeded()?.output;
    assert!(seen.starts_with("Num") && !seen.contains(&name), "{seen}");
    Ok(())
}

fn overflow(bundle: &mut Bundle) -> Result<(), Failed> {
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
        bundle.spec["process"]["user"] = json!({ "uid": uid, "gid": gid });
        bundle.run(&["id"])?.refused("user and group ids end at 4294967294");
    }
    bundle.spec["process"]["user"] = json!({ "uid": u64::from(u32::MAX) + 1, "gid": 0 });
    bundle.run(&["id"])?.refused("config.json");
    bundle.spec["process"]["user"] = json!({ "uid": u32::MAX - 1, "gid": u32::MAX - 1 });
    assert_eq!(bundle.run(&["id", "-u"])?.succeeded()?.output, "4294967294\n");
    Ok(())
}

fn no_more_user_namespaces(bundle: &mut Bundle) -> Result<(), Failed> {
    let unshare = ["/bin/busybox", "unshare", "-U", "echo", "made"];
    confine(bundle);
    assert_eq!(bundle.run(&unshare)?.succeeded()?.output, "made\n", "it may where nobody forbids it");
    bundle.spec["linux"]["sysctl"] = json!({ "user.max_user_namespaces": "0" });
    let ended = bundle.run(&unshare)?;
    assert_ne!(ended.code, Some(0), "{ended:?}");
    Ok(())
}

fn climbing(bundle: &mut Bundle) -> Result<(), Failed> {
    for name in ["net/../kernel/core_pattern", "net/../../kcore", "../../../etc/passwd"] {
        bundle.spec["linux"]["sysctl"] = json!({ name: "x" });
        bundle.run(&["true"])?.refused(&format!("sysctl `{name}` is not in a separate kernel namespace"));
    }
    Ok(())
}
