//! What a request may take back of a native container's confinement, or add to it: seen from inside and from outside.

use std::fs;

use anyhow::{Context, Result, ensure};
use proa_tests::created::body;
use proa_tests::{Isolation, Need, Node, Suite, Under, cases, guest};
use serde_json::{Value, json};

use super::NATIVE;
use super::options::{made, printed, probe};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        NATIVE,
        &[Need::Peer("busybox")],
        cases![
            capabilities_follow_docker_s_rules,
            the_filter_follows_the_capabilities,
            new_privileges_are_forbidden_unless_allowed,
            seccomp_may_be_a_profile_or_none,
            system_paths_may_be_open,
            more_processes_stand_under_the_container_s_filter,
            a_device_is_there_with_the_access_asked_for,
            a_privileged_container_is_one_or_is_refused,
            namespaces_of_the_node_are_shared_when_asked_for,
            a_container_s_namespaces_are_joined,
        ],
    );
    suite
        .add(&[Need::Isolation(Isolation::Linux), Need::Peer("busybox")], cases![policy_forbids_what_takes_walls_down]);
}

/// Bits of linux/capability.h.
const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;

fn bounding(under: &Under, host: &Value) -> Result<u64> {
    let text = printed(under, host, "grep CapBnd /proc/self/status")?;
    Ok(u64::from_str_radix(text.split_whitespace().last().unwrap_or_default(), 16)?)
}

fn capabilities_follow_docker_s_rules(under: &Under) -> Result<()> {
    let default = bounding(under, &json!({}))?;
    ensure!(bounding(under, &json!({ "CapAdd": ["NET_RAW"] }))? == default | NET_RAW);
    ensure!(
        bounding(under, &json!({ "CapAdd": ["cap_net_raw"], "CapDrop": ["CAP_KILL"] }))? == default & !KILL | NET_RAW
    );
    ensure!(bounding(under, &json!({ "CapDrop": ["ALL"] }))? == 0);
    ensure!(bounding(under, &json!({ "CapDrop": ["all"], "CapAdd": ["CHOWN"] }))? == CHOWN);
    let all = bounding(under, &json!({ "CapAdd": ["ALL"], "CapDrop": ["NET_RAW"] }))?;
    ensure!(all & SYS_ADMIN != 0 && all & NET_RAW == 0 && all & default == default, "{all:#x}");
    // Added wins over dropped.
    ensure!(bounding(under, &json!({ "CapAdd": ["KILL"], "CapDrop": ["KILL"] }))? == default);
    Ok(())
}

fn the_filter_follows_the_capabilities(under: &Under) -> Result<()> {
    let script = "unshare -m true && echo made || echo refused";
    ensure!(printed(under, &json!({}), script)?.contains("refused"));
    ensure!(printed(under, &json!({ "CapAdd": ["SYS_ADMIN"] }), script)? == "made");
    Ok(())
}

fn new_privileges_are_forbidden_unless_allowed(under: &Under) -> Result<()> {
    let flag = |host: Value| printed(under, &host, "grep NoNewPrivs /proc/self/status");
    ensure!(flag(json!({}))?.ends_with('1'));
    ensure!(flag(json!({ "SecurityOpt": ["no-new-privileges"] }))?.ends_with('1'));
    ensure!(flag(json!({ "SecurityOpt": ["no-new-privileges:true"] }))?.ends_with('1'));
    ensure!(flag(json!({ "SecurityOpt": ["no-new-privileges:false"] }))?.ends_with('0'));
    let inspect = made(under, "true", &json!({ "SecurityOpt": ["no-new-privileges:false"] }))?.container.inspect()?;
    ensure!(inspect["HostConfig"]["SecurityOpt"] == json!(["no-new-privileges:false"]), "{inspect}");
    Ok(())
}

fn seccomp_may_be_a_profile_or_none(under: &Under) -> Result<()> {
    let option = |value: &str| json!({ "SecurityOpt": [format!("seccomp={value}")] });
    let state = "grep ^Seccomp: /proc/self/status";
    ensure!(printed(under, &option("unconfined"), state)?.ends_with('0'));
    ensure!(printed(under, &option("builtin"), state)?.ends_with('2'));
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": [] }],
        "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [], "comment": "", "includes": {},
              "excludes": {} },
            { "names": ["rename", "renameat", "renameat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
              "excludes": { "caps": ["CAP_NET_RAW"] } },
        ],
    })
    .to_string();
    let script = "mkdir /tmp/x 2>/dev/null && echo made || echo refused; touch /tmp/a; mv /tmp/a /tmp/b 2>/dev/null && echo moved || echo stays";
    let text = printed(under, &option(&profile), script)?;
    ensure!(text == "refused\nstays", "{text}");
    let mut host = option(&profile);
    host["CapAdd"] = json!(["NET_RAW"]);
    let text = printed(under, &host, script)?;
    ensure!(text == "refused\nmoved", "{text}");
    for bad in ["{}", "not json", "{\"defaultAction\":\"SCMP_ACT_ODD\"}"] {
        let (status, sentence) = under.node.refuses(&probe(under, &option(bad))?)?;
        ensure!(status == 400 && sentence.starts_with("decoding seccomp profile failed"), "{sentence}");
    }
    for other in ["apparmor=docker-default", "label=type:container_t"] {
        let (status, sentence) = under.node.refuses(&probe(under, &json!({ "SecurityOpt": [other] }))?)?;
        ensure!(status == 501 && sentence.contains("cannot be applied"), "{sentence}");
    }
    under.node.create(&probe(under, &json!({ "SecurityOpt": ["apparmor=unconfined", "label=disable"] }))?)?;
    Ok(())
}

fn system_paths_may_be_open(under: &Under) -> Result<()> {
    let script = "grep -c ' /proc/' /proc/mounts";
    ensure!(printed(under, &json!({}), script)? != "0");
    for host in
        [json!({ "SecurityOpt": ["systempaths=unconfined"] }), json!({ "MaskedPaths": [], "ReadonlyPaths": [] })]
    {
        let (_, text) = made(under, script, &host)?.run()?;
        ensure!(text.trim() == "0", "{host}: {text}");
    }
    Ok(())
}

fn more_processes_stand_under_the_container_s_filter(under: &Under) -> Result<()> {
    let host = json!({ "SecurityOpt": ["seccomp=unconfined"], "CapDrop": ["ALL"] });
    let created = made(under, "exec sleep 1000", &host)?;
    created.container.proa(&["start"])?.success()?;
    let seen =
        under.node.proa(&["exec", created.container.id(), "grep", "-E", "^(Seccomp|CapBnd):", "/proc/self/status"])?;
    let text = seen.success()?.text();
    ensure!(text.contains("Seccomp:\t0") && text.contains("CapBnd:\t0000000000000000"), "{text}");
    Ok(())
}

fn a_device_is_there_with_the_access_asked_for(under: &Under) -> Result<()> {
    let mapped = |target: &str, access: &str| json!({ "Devices": [{ "PathOnHost": "/dev/kmsg", "PathInContainer": target, "CgroupPermissions": access }] });
    let script = "ls -l /dev/deep/log | cut -c1; true < /dev/deep/log 2>/dev/null && echo read; \
                  true 2>/dev/null >> /dev/deep/log && echo wrote; true";
    let text = printed(under, &mapped("/dev/deep/log", "r"), script)?;
    ensure!(text.starts_with('c') && !text.contains("wrote"), "{text}");
    let text = printed(under, &json!({}), "ls /dev/kmsg 2>/dev/null || echo none")?;
    ensure!(text == "none", "{text}");
    for (target, access) in [("/elsewhere", "rwm"), ("/dev/x", "rx"), ("/dev/shm/x", "rwm")] {
        let (status, sentence) = under.node.refuses(&probe(under, &mapped(target, access))?)?;
        ensure!((400..=501).contains(&status), "{target} {access}: {sentence}");
    }
    let missing = json!({ "Devices": [{ "PathOnHost": "/dev/nosuch", "PathInContainer": "/dev/nosuch" }] });
    let (status, sentence) = under.node.refuses(&probe(under, &missing)?)?;
    let expected =
        "error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory";
    ensure!(status == 400 && sentence == expected, "{sentence}");
    // A rule of its own opens what the container makes, if it may make it.
    let host = json!({ "DeviceCgroupRules": ["c 1:11 rwm"] });
    made(under, "true", &host)?.run()?;
    Ok(())
}

fn a_privileged_container_is_one_or_is_refused(under: &Under) -> Result<()> {
    let host = json!({ "Privileged": true });
    if under.isolation == Isolation::LinuxUserns {
        let (status, sentence) = under.node.refuses(&probe(under, &host)?)?;
        ensure!(
            status == 400 && sentence.starts_with("privileged mode is incompatible with user namespaces"),
            "{sentence}"
        );
        return Ok(());
    }
    let script = "grep -E '^(CapBnd|Seccomp|NoNewPrivs):' /proc/self/status | cut -f2; ls /dev/kmsg; \
                  mount -t tmpfs x /tmp && echo mounted; head -c0 /dev/kmsg && echo opened; \
                  grep ' /sys ' /proc/mounts | cut -d' ' -f4 | cut -c1-2; grep -c ' /proc/' /proc/mounts; true";
    let text = printed(under, &host, script)?;
    let lines: Vec<&str> = text.lines().collect();
    let caps = u64::from_str_radix(lines.get(1).copied().unwrap_or_default(), 16).unwrap_or(0)
        | u64::from_str_radix(lines.first().copied().unwrap_or_default(), 16).unwrap_or(0);
    ensure!(caps & SYS_ADMIN != 0, "{text}");
    for line in ["0", "/dev/kmsg", "mounted", "opened", "rw"] {
        ensure!(lines.contains(&line), "`{line}` is not in {text}");
    }
    let inspect = made(under, "true", &host)?.container.inspect()?;
    ensure!(inspect["HostConfig"]["Privileged"] == true, "{inspect}");
    ensure!(inspect["HostConfig"]["SecurityOpt"] == json!(["label=disable"]), "{inspect}");
    ensure!(inspect["HostConfig"]["MaskedPaths"].is_null(), "{inspect}");
    Ok(())
}

fn own(kind: &str) -> Result<String> {
    Ok(fs::read_link(format!("/proc/self/ns/{kind}"))?.to_string_lossy().into_owned())
}

fn namespaces_of_the_node_are_shared_when_asked_for(under: &Under) -> Result<()> {
    let see = |host: Value, kind: &str| printed(under, &host, &format!("readlink /proc/self/ns/{kind}"));
    ensure!(see(json!({ "IpcMode": "host" }), "ipc")? == own("ipc")?);
    ensure!(see(json!({ "UTSMode": "host" }), "uts")? == own("uts")?);
    ensure!(see(json!({ "CgroupnsMode": "host" }), "cgroup")? == own("cgroup")?);
    for (mode, kind) in [("IpcMode", "ipc"), ("UTSMode", "uts"), ("PidMode", "pid")] {
        let host = json!({ mode: "" });
        ensure!(see(host, kind)? != own(kind)?, "{kind} is shared without being asked");
    }
    let own_name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    ensure!(printed(under, &json!({ "UTSMode": "host" }), "hostname")? == own_name.trim_end());
    let host = json!({ "PidMode": "host" });
    if under.isolation == Isolation::LinuxUserns {
        let (status, sentence) = under.node.refuses(&probe(under, &host)?)?;
        ensure!(status == 400 && sentence.starts_with("cannot share the host PID namespace"), "{sentence}");
        let (status, _) = under.node.refuses(&probe(under, &json!({ "UsernsMode": "host" }))?)?;
        ensure!(status == 400);
        return Ok(());
    }
    ensure!(see(host.clone(), "pid")? == own("pid")?);
    ensure!(printed(under, &host, &format!("test -d /proc/{} && echo seen", std::process::id()))? == "seen");
    // Nothing of it lives on after its end, though there is no first process whose end would take the rest along.
    let created = made(under, "sleep 4242 & echo $!; exec sleep 1000", &host)?;
    created.container.proa(&["start"])?.success()?;
    created.container.shows("its child", |logs| logs.ends_with(|c: char| c.is_ascii_digit()))?;
    let child: u32 = created.container.logs()?.text().trim().parse()?;
    created.container.proa(&["kill"])?.success()?;
    created.container.wait()?;
    proa_tests::wait::until("the child is gone too", || Ok(!proa_tests::outside::Outside::new(child).lives()))?;
    under.node.create(&probe(under, &json!({ "UsernsMode": "host" }))?)?;
    Ok(())
}

fn a_container_s_namespaces_are_joined(under: &Under) -> Result<()> {
    let donor = made(under, "exec sleep 1000", &json!({ "IpcMode": "shareable" }))?;
    let (id, node) = (donor.container.id().to_owned(), under.node);
    let joined = made(under, "readlink /proc/self/ns/ipc", &json!({ "IpcMode": format!("container:{id}") }))?;
    let early = joined.container.proa(&["start"])?;
    ensure!(early.code() != Some(0) && early.complaint().contains("not running"), "{early}");
    donor.container.proa(&["start"])?.success()?;
    let (code, text) = joined.run()?;
    let ipc = donor.container.outside()?.namespace("ipc")?;
    ensure!(code == 0 && text.trim() == ipc, "{text} is not {ipc}");
    node.proa(&["exec", &id, "sh", "-c", "echo shared > /dev/shm/word"])?.success()?;
    let sharing = json!({ "IpcMode": format!("container:{id}") });
    let text = printed(
        under,
        &sharing,
        "cat /dev/shm/word; echo answered > /dev/shm/word; grep -c ' /dev/shm ' /proc/mounts",
    )?;
    ensure!(text == "shared\n1", "{text}");
    let answer = node.proa(&["exec", &id, "cat", "/dev/shm/word"])?.success()?;
    ensure!(answer.text() == "answered", "{answer}");
    let pids = json!({ "PidMode": format!("container:{id}") });
    if under.isolation == Isolation::LinuxUserns {
        let (status, _) = node.refuses(&probe(under, &pids)?)?;
        ensure!(status == 400);
    } else {
        let text = printed(under, &pids, "cat /proc/1/comm; test $$ -ne 1 && echo second")?;
        ensure!(text == "sleep\nsecond", "{text}");
    }
    let private = made(under, "exec sleep 1000", &json!({}))?;
    private.container.proa(&["start"])?.success()?;
    let refused = made(under, "true", &json!({ "IpcMode": format!("container:{}", private.container.id()) }))?;
    let refused = refused.container.proa(&["start"])?;
    ensure!(refused.complaint().contains("non-shareable IPC"), "{refused}");
    let nobody = made(under, "true", &json!({ "IpcMode": "container:nosuchcontainer" }))?;
    let nobody = nobody.container.proa(&["start"])?;
    ensure!(nobody.complaint().to_lowercase().contains("no such container"), "{nobody}");
    Ok(())
}

fn policy_forbids_what_takes_walls_down() -> Result<()> {
    let node = Node::asleep()?;
    let policy = node.scratch().join("policy.toml");
    fs::write(
        &policy,
        "[default.options]\nforbid = [\"privileged\", \"host-namespaces\", \"devices\", \"unconfined\"]\n",
    )?;
    node.wake_with(&["--policy", policy.to_str().context("a path in UTF-8")?])?;
    let busybox = guest::busybox(&node)?;
    let asked = |host: Value| body(Isolation::Linux, &busybox, &["true"], &host);
    for host in [
        json!({ "Privileged": true }),
        json!({ "PidMode": "host" }),
        json!({ "NetworkMode": "host" }),
        json!({ "Devices": [{ "PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg" }] }),
        json!({ "SecurityOpt": ["seccomp=unconfined"] }),
    ] {
        let (status, sentence) = node.refuses(&asked(host.clone()))?;
        ensure!(status == 403 && sentence.starts_with("policy does not allow tenant `default`"), "{host}: {sentence}");
    }
    node.create(&asked(json!({ "CapAdd": ["NET_RAW"] })))?;
    node.close()
}
