//! A process's powers, limits and place in the kernel's queues.

use std::fs;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::json;

use super::Case;
use super::bundle::Bundle;
use super::namespaces::{confine, pid};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("the five sets of capabilities are those that are given", capabilities),
    ("a user who is not root has what is ambient", ambient),
    ("a capability that nobody has to give is left out", left_out),
    ("limits, umask and the score of memory are those that are given", limits),
    ("personality, scheduler and I/O class are those that are given", queues),
    ("one more process runs on its own CPUs", cpus),
    ("memory comes from the nodes that are given", nodes),
    ("parameters of the kernel are the container's alone", parameters),
    ("HOME is the user's by the root's passwd, if nobody names one", home),
    ("labels without their security module are refused by the field", labels),
];

fn status(bundle: &mut Bundle, command: &[&str]) -> Result<String, Failed> {
    Ok(bundle.run(command)?.succeeded()?.output)
}

fn capabilities(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    for user in [0, 1000] {
        bundle.spec["process"]["user"] = json!({ "uid": user, "gid": user });
        bundle.started(&["sleep", "1000"])?;
        let found = fs::read_to_string(format!("/proc/{}/status", pid(bundle)?))?;
        // Root's are what is bounding as soon as it executes something, but no more than it had (no_new_privs).
        let held = if user == 0 { "0000000000002021" } else { "0000000000000020" };
        let sets = [
            ("Bnd", "00000000000020a1"),
            ("Prm", held),
            ("Eff", held),
            ("Inh", "0000000000000020"),
            ("Amb", "0000000000000020"),
        ];
        for (name, bits) in sets {
            assert!(found.contains(&format!("Cap{name}:\t{bits}\n")), "{name} of {user} in {found}");
        }
        bundle.leaves_nothing()?;
    }
    Ok(())
}

fn ambient(bundle: &mut Bundle) -> Result<(), Failed> {
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        bundle.spec["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
    }
    bundle.spec["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    bundle.spec["root"]["readonly"] = json!(false);
    let written = bundle.run(&["sh", "-c", "echo mine > /etc/written && cat /etc/written"])?.succeeded()?;
    assert_eq!(written.output, "mine\n");
    bundle.spec["process"]["capabilities"]["ambient"] = json!([]);
    let denied = bundle.run(&["sh", "-c", "echo mine > /etc/denied"])?;
    assert!(denied.code != Some(0) && denied.error.contains("Permission denied"), "{denied:?}");
    Ok(())
}

/// A list that was made for a newer kernel or for more privilege still runs.
fn left_out(bundle: &mut Bundle) -> Result<(), Failed> {
    let own = fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).ok_or("no capabilities")?;
    let has_resource = u64::from_str_radix(own, 16)? >> 24 & 1 == 1;
    for set in ["bounding", "permitted", "effective"] {
        bundle.spec["process"]["capabilities"][set] = json!(["CAP_SYS_RESOURCE", "CAP_KILL"]);
    }
    bundle.spec["process"]["capabilities"]["ambient"] = json!(["CAP_FLY"]);
    let warned = bundle.run(&["true"])?.succeeded()?.error;
    assert!(warned.contains("warning: capability `CAP_FLY` is unknown and is left out\n"), "{warned}");
    let held = status(bundle, &["grep", "CapEff", "/proc/self/status"])?;
    assert_eq!(held, if has_resource { "CapEff:\t0000000001000020\n" } else { "CapEff:\t0000000000000020\n" });
    Ok(())
}

fn limits(bundle: &mut Bundle) -> Result<(), Failed> {
    let kinds = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let limit = |kind: &str| {
        // Those that are 0 by default cannot be raised without privilege.
        let (soft, hard) = if ["NICE", "RTPRIO"].contains(&kind) { (0, 0) } else { (1000, 1001) };
        let bytes = if ["DATA", "STACK", "AS", "FSIZE"].contains(&kind) { 1 << 20 } else { 1 };
        json!({ "type": format!("RLIMIT_{kind}"), "soft": soft * bytes, "hard": hard * bytes })
    };
    let mut all: Vec<_> = kinds.iter().map(|kind| limit(kind)).collect();
    // The kernel's own default for these may be lower than what is asked.
    all.retain(|limit| !["RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE"].contains(&limit["type"].as_str().unwrap_or_default()));
    bundle.spec["process"]["rlimits"] = json!(all);
    bundle.spec["process"]["user"]["umask"] = json!(0o27);
    bundle.spec["process"]["oomScoreAdj"] = json!(321);
    bundle.started(&["sleep", "1000"])?;
    let process = format!("/proc/{}", pid(bundle)?);
    let limits = fs::read_to_string(format!("{process}/limits"))?;
    let line = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    for name in [
        "Max cpu time",
        "Max core file size",
        "Max processes",
        "Max open files",
        "Max file locks",
        "Max pending signals",
    ] {
        let line = line(name).ok_or("no such limit")?;
        assert!(line.split_whitespace().take(2).eq(["1000", "1001"]), "{name} is {line}");
    }
    let stack = line("Max stack size").ok_or("no stack")?;
    assert!(stack.split_whitespace().take(2).eq(["1048576000", "1049624576"]), "{stack}");
    assert!(fs::read_to_string(format!("{process}/status"))?.contains("Umask:\t0027\n"));
    assert_eq!(fs::read_to_string(format!("{process}/oom_score_adj"))?, "321\n");
    Ok(())
}

fn queues(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["linux"]["personality"] = json!({ "domain": "LINUX32" });
    bundle.spec["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 19 });
    bundle.spec["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    for confined in [false, true] {
        if confined {
            confine(bundle);
        }
        bundle.started(&["sleep", "1000"])?;
        let pid = pid(bundle)?.to_string();
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/personality"))?, "00000008\n");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // The third field of proc_pid_stat(5) is the first behind the name: nice is the 19th, policy the 41st.
        assert_eq!((fields[16], fields[38]), ("19", "3"), "{stat}");
        let class = Command::new("ionice").args(["-p", &pid]).output()?;
        assert_eq!(String::from_utf8(class.stdout)?.trim(), "best-effort: prio 6");
        let exec = bundle.program(&["exec", &bundle.id, "cat", "/proc/self/personality"])?.succeeded()?;
        assert_eq!(exec.output, "00000008\n");
        bundle.leaves_nothing()?;
    }
    Ok(())
}

fn cpus(bundle: &mut Bundle) -> Result<(), Failed> {
    let every = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let last = every.trim().rsplit(['-', ',']).next().unwrap_or("0").to_owned();
    bundle.started(&["sleep", "1000"])?;
    let process = json!({
        "args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "user": { "uid": 0, "gid": 0 },
        "env": ["PATH=/bin"], "execCPUAffinity": { "initial": "0", "final": last },
    });
    fs::write(bundle.path("process.json"), process.to_string())?;
    let ended = bundle.program(&["exec", "--process", &bundle.path("process.json"), &bundle.id])?.succeeded()?;
    assert_eq!(ended.output, format!("Cpus_allowed_list:\t{last}\n"));
    // Whoever starts the runtime may be bound to fewer than the container.
    let mut bound = Command::new("taskset");
    bound.args([
        "--cpu-list",
        "0",
        env!("CARGO_BIN_EXE_proa-linux"),
        "--root",
        &bundle.path("state"),
        "exec",
        &bundle.id,
    ]);
    bound.args(["grep", "Cpus_allowed_list", "/proc/self/status"]);
    let allowed = fs::read_to_string("/proc/self/status")?;
    let allowed = allowed.lines().find(|line| line.starts_with("Cpus_allowed_list")).ok_or("no CPUs")?;
    assert_eq!(bundle.end(&mut bound)?.succeeded()?.output.trim_end(), allowed);
    Ok(())
}

fn nodes(bundle: &mut Bundle) -> Result<(), Failed> {
    bundle.spec["linux"]["memoryPolicy"] =
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    bundle.started(&["sleep", "1000"])?;
    let maps = fs::read_to_string(format!("/proc/{}/numa_maps", pid(bundle)?))?;
    assert!(maps.lines().any(|line| line.contains(" bind=static:0")), "{maps}");
    Ok(())
}

fn parameters(bundle: &mut Bundle) -> Result<(), Failed> {
    let files = ["/proc/sys/kernel/msgmax", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/mqueue/msg_max"];
    let before: Vec<String> = files.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    bundle.spec["linux"]["sysctl"] =
        json!({ "kernel.msgmax": "12345", "net.ipv4.ip_forward": "1", "fs/mqueue/msg_max": "17" });
    let inside = status(bundle, &[&["cat"], &files[..]].concat())?;
    assert_eq!(inside, "12345\n1\n17\n");
    let after: Vec<String> = files.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    assert_eq!(before, after);
    bundle.spec["linux"]["sysctl"] = json!({ "kernel.core_pattern": "|/bin/evil" });
    bundle.run(&["true"])?.refused("sysctl `kernel.core_pattern` is not in a separate kernel namespace");
    Ok(())
}

fn labels(bundle: &mut Bundle) -> Result<(), Failed> {
    let apparmor = fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    let selinux = fs::exists("/sys/fs/selinux/enforce")?;
    if !apparmor {
        bundle.spec["process"]["apparmorProfile"] = json!("no-such-profile");
        bundle.run(&["true"])?.refused("`process.apparmorProfile` `no-such-profile`: this kernel has no AppArmor");
    }
    if !selinux {
        bundle.spec["process"]["apparmorProfile"] = json!("unconfined");
        bundle.spec["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
        bundle.run(&["true"])?.refused("`process.selinuxLabel` `system_u:system_r:container_t:s0`: this kernel has no");
    }
    Ok(())
}

fn home(bundle: &mut Bundle) -> Result<(), Failed> {
    let long = format!("long:x:9:9:{}:/long:/bin/sh\n", "x".repeat(2000));
    let passwd =
        format!("root:x:0:0::/root:/bin/sh\nbroken\n{long}other:x:7:7:a b:/home/other:/bin/sh\nlast:x:8:8::/last");
    fs::write(bundle.path("rootfs/etc/passwd"), passwd)?;
    for (uid, home) in [(0, "/root"), (7, "/home/other"), (8, "/last"), (9, "/"), (77, "/")] {
        bundle.spec["process"]["user"] = json!({ "uid": uid, "gid": uid });
        assert_eq!(status(bundle, &["sh", "-c", "echo $HOME"])?, format!("{home}\n"), "{uid}");
    }
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/named"]);
    assert_eq!(status(bundle, &["sh", "-c", "echo $HOME"])?, "/named\n");
    bundle.spec["process"]["env"] = json!(["PATH=/bin"]);
    // A pipe that nobody writes to, and a link out of the root.
    let file = bundle.path("rootfs/etc/passwd");
    fs::remove_file(&file)?;
    assert!(Command::new("mkfifo").arg(&file).status()?.success());
    assert_eq!(status(bundle, &["sh", "-c", "echo $HOME"])?, "/\n");
    fs::remove_file(&file)?;
    std::os::unix::fs::symlink("../../../../etc/passwd", &file)?;
    bundle.spec["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    bundle.started(&["sh", "-c", "exec sleep 1000"])?;
    assert_eq!(bundle.program(&["exec", &bundle.id, "sh", "-c", "echo $HOME"])?.succeeded()?.output, "/\n");
    Ok(())
}
