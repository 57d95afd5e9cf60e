//! Namespaces that are made, joined and inherited.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::Case;
use super::bundle::Bundle;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("every namespace is the container's own", own),
    ("what is not listed is inherited", inherited),
    ("namespaces of another container are joined by path", joined),
    ("a user namespace is joined with those that belong to it", joined_with_user),
    ("a user namespace is joined with those of the machine", joined_user_alone),
    ("a mount namespace is joined, and whoever lives there keeps its root", joined_mounts),
    ("the path of a namespace of another kind is refused", wrong_kind),
    ("network devices move with their addresses", net_devices),
    ("clocks of a time namespace are ahead, for exec as well", clocks),
];

/// By the names of their files in /proc/PID/ns.
const FILES: [(&str, &str); 8] = [
    ("mount", "mnt"),
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

/// A user namespace, and every other that is not listed yet.
pub(crate) fn confine(bundle: &mut Bundle) {
    let kinds = FILES.map(|(kind, _)| json!({ "type": kind }));
    bundle.spec["linux"]["namespaces"] = json!(kinds);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
}

pub(crate) fn pid(bundle: &Bundle) -> Result<u64, Failed> {
    Ok(bundle.state()?["pid"].as_u64().ok_or("no pid")?)
}

fn of(process: &str, file: &str) -> Result<String, Failed> {
    Ok(fs::read_link(format!("/proc/{process}/ns/{file}"))?.display().to_string())
}

fn own(bundle: &mut Bundle) -> Result<(), Failed> {
    confine(bundle);
    bundle.started(&["sleep", "1000"])?;
    let pid = pid(bundle)?.to_string();
    for (_, file) in FILES {
        assert_ne!(of(&pid, file)?, of("self", file)?, "{file}");
        let inside = bundle.program(&["exec", &bundle.id, "readlink", &format!("/proc/self/ns/{file}")])?;
        assert_eq!(inside.succeeded()?.output.trim(), of(&pid, file)?, "{file}");
    }
    Ok(())
}

fn inherited(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["linux"]["namespaces"] = json!([{ "type": "mount" }]);
    bundle.spec["hostname"] = Value::Null;
    bundle.started(&["sleep", "1000"])?;
    let pid = pid(bundle)?.to_string();
    for (_, file) in FILES.iter().filter(|(kind, _)| *kind != "mount") {
        assert_eq!(of(&pid, file)?, of("self", file)?, "{file}");
    }
    let seen = bundle.program(&["exec", &bundle.id, "cat", "/proc/1/comm"])?.succeeded()?.output;
    assert_eq!(seen, fs::read_to_string("/proc/1/comm")?, "the machine's processes");
    Ok(())
}

/// Lists those of `kinds` by the paths of process `donor`, and a mount namespace.
fn join(bundle: &mut Bundle, donor: u64, kinds: &[&str]) {
    let files = FILES.iter().filter(|(kind, _)| kinds.contains(kind));
    let joined = files.map(|(kind, file)| json!({ "type": kind, "path": format!("/proc/{donor}/ns/{file}") }));
    bundle.spec["linux"]["namespaces"] = joined.chain([json!({ "type": "mount" })]).collect();
    bundle.spec["hostname"] = Value::Null;
}

fn joined(bundle: &mut Bundle) -> Result<(), Failed> {
    let mut donor = Bundle::new()?;
    donor.spec["linux"]["namespaces"] = json!(FILES.map(|(kind, _)| json!({ "type": kind }))[..7]);
    donor.started(&["sleep", "1000"])?;
    let first = pid(&donor)?;
    let own = ["network", "ipc", "uts", "cgroup"];
    let all = ["network", "ipc", "uts", "cgroup", "pid", "time"];
    for kinds in [&own[..], &all[..], &["pid"][..]] {
        join(bundle, first, kinds);
        bundle.started(&["sleep", "1000"])?;
        let second = pid(bundle)?.to_string();
        for (kind, file) in FILES {
            let whose = if kinds.contains(&kind) { first.to_string() } else { "self".to_owned() };
            assert_eq!(of(&second, file)? == of(&whose, file)?, kind != "mount", "{kind} of {kinds:?}");
        }
        bundle.leaves_nothing()?;
    }
    donor.leaves_nothing()
}

fn joined_with_user(bundle: &mut Bundle) -> Result<(), Failed> {
    let mut donor = Bundle::new()?;
    confine(&mut donor);
    donor.started(&["sleep", "1000"])?;
    let kinds = ["user", "network", "ipc", "uts", "cgroup", "pid", "time"];
    join(bundle, pid(&donor)?, &kinds);
    bundle.started(&["sleep", "1000"])?;
    let (first, second) = (pid(&donor)?.to_string(), pid(bundle)?.to_string());
    for (_, file) in FILES.iter().filter(|(kind, _)| kinds.contains(kind)) {
        assert_eq!(of(&second, file)?, of(&first, file)?, "{file}");
    }
    let ids = fs::read_to_string(format!("/proc/{second}/status"))?;
    assert!(ids.contains("Uid:\t100000\t100000\t100000\t100000"), "{ids}");
    bundle.leaves_nothing()?;
    donor.leaves_nothing()
}

/// The others are the machine's, over which a process of that user namespace has no rights: they are entered before.
fn joined_user_alone(bundle: &mut Bundle) -> Result<(), Failed> {
    let mut donor = Bundle::new()?;
    confine(&mut donor);
    donor.started(&["sleep", "1000"])?;
    join(bundle, pid(&donor)?, &["user"]);
    let network = json!({ "type": "network", "path": format!("/proc/{}/ns/net", std::process::id()) });
    // What shows the machine's network is not a stranger's to mount.
    let mounts = bundle.spec["mounts"].as_array_mut().ok_or("no mounts")?;
    mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|place| place.starts_with("/sys")));
    let own = ["pid", "ipc", "cgroup"].map(|kind| json!({ "type": kind }));
    bundle.spec["linux"]["namespaces"].as_array_mut().ok_or("no list")?.extend(own.into_iter().chain([network]));
    let ended =
        bundle.run(&["sh", "-c", "echo $$; cat /proc/self/uid_map; readlink /proc/self/ns/net"])?.succeeded()?;
    let words: Vec<&str> = ended.output.split_whitespace().collect();
    assert_eq!(words, ["1", "0", "100000", "65536", &of("self", "net")?]);
    donor.leaves_nothing()
}

fn joined_mounts(bundle: &mut Bundle) -> Result<(), Failed> {
    // It tells when it has its namespace.
    let script = "echo there; exec sleep 1000";
    let mut donor = Command::new("unshare").args(["--mount", "sh", "-c", script]).stdout(Stdio::piped()).spawn()?;
    let mut told = [0; 6];
    donor.stdout.as_mut().ok_or("no output")?.read_exact(&mut told)?;
    let path = format!("/proc/{}/ns/mnt", donor.id());
    bundle.spec["linux"]["namespaces"] =
        json!([{ "type": "mount", "path": path }, { "type": "pid" }, { "type": "ipc" }]);
    bundle.spec["hostname"] = Value::Null;
    let ended = bundle.run(&["sh", "-c", "readlink /proc/self/ns/mnt; ls /bin/tty; ls -d /home; pwd"])?;
    let passwd = fs::metadata(format!("/proc/{}/root/etc/passwd", donor.id()));
    let expected = format!("{}\n/bin/tty\n/\n", fs::read_link(&path)?.display());
    donor.kill()?;
    donor.wait()?;
    assert_eq!(ended.output, expected, "{ended:?}");
    passwd?;
    Ok(())
}

fn wrong_kind(bundle: &mut Bundle) -> Result<(), Failed> {
    let path = format!("/proc/{}/ns/net", std::process::id());
    let namespaces = json!([{ "type": "mount" }, { "type": "pid", "path": path }]);
    bundle.spec["linux"]["namespaces"] = namespaces;
    bundle.spec["hostname"] = Value::Null;
    let refused = bundle.run(&["true"])?;
    refused.refused(&format!("open the pid namespace `{path}`"));
    refused.refused("it is a namespace of type `network`");
    bundle.spec["linux"]["namespaces"][1]["path"] = json!(bundle.path("config.json"));
    bundle.run(&["true"])?.refused("it is no namespace");
    Ok(())
}

fn clocks(bundle: &mut Bundle) -> Result<(), Failed> {
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().ok_or("no list")?;
    namespaces.push(json!({ "type": "time" }));
    bundle.spec["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000, "nanosecs": 7 } });
    bundle.started(&["sleep", "1000"])?;
    let uptime = |text: &str| text.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
    let outside = uptime(&fs::read_to_string("/proc/uptime")?).ok_or("no uptime")?;
    let inside = bundle.program(&["exec", &bundle.id, "cat", "/proc/uptime"])?.succeeded()?.output;
    let ahead = uptime(&inside).ok_or("no uptime inside")? - outside;
    assert!((1_000_000..1_000_100).contains(&ahead), "{ahead}");
    let offsets = fs::read_to_string(format!("/proc/{}/timens_offsets", pid(bundle)?))?;
    assert!(offsets.lines().any(|line| line.split_whitespace().eq(["boottime", "1000000", "7"])), "{offsets}");
    Ok(())
}

/// Two ends of a cable in a network namespace of the test's own, where the runtime runs.
fn net_devices(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["linux"]["netDevices"] = json!({ "near": { "name": "inside" } });
    let links = "cat /proc/net/dev; /bin/busybox ip addr show inside";
    for confined in [false, true] {
        if confined {
            confine(bundle);
        }
        bundle.runs(&["sh", "-c", links]).write()?;
        let script = format!(
            "ip link add near type veth peer name far && ip addr add 192.0.2.7/24 dev near && \
             ip addr add 2001:db8::7/64 dev near nodad && ip link set far up && exec {} --root {} run {}",
            env!("CARGO_BIN_EXE_proa-linux"),
            bundle.path("state"),
            bundle.id
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]).current_dir(bundle.path(""));
        let seen = bundle.end(&mut command)?.succeeded()?.output;
        for part in ["inside:", "192.0.2.7/24", "2001:db8::7/64", "UP"] {
            assert!(seen.contains(part), "`{part}` is not in {seen}");
        }
        assert!(!seen.contains("near") && !seen.contains("far"), "{seen}");
    }
    bundle.spec["linux"]["netDevices"] = json!({ "proa-nowhere": {} });
    bundle.run(&["true"])?.refused("move network device `proa-nowhere` into the container as `proa-nowhere`");
    Ok(())
}
