//! What a create request is told about options that are not honoured: a sentence in Docker's words with its status, or a
//! warning where an option has nothing it could apply to.

use anyhow::{Result, ensure};
use proa_tests::{Suite, Under, cases};
use serde_json::{Value, json};

use super::WASM;
use super::options::probe;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(WASM, &[], cases![a_wasm_guest_is_told_what_has_no_effect, power_is_not_given_to_a_wasm_guest]);
    suite.under_all(&[], cases![what_docker_refuses_is_refused_in_its_words]);
}

fn what_docker_refuses_is_refused_in_its_words(under: &Under) -> Result<()> {
    let native: &[(Value, u16, &str)] = &[
        (json!({ "CapAdd": ["NOPE"] }), 400, "invalid CapAdd: unknown capability: \"CAP_NOPE\""),
        (json!({ "CapDrop": ["NOPE"] }), 400, "invalid CapDrop: unknown capability: \"CAP_NOPE\""),
        (json!({ "PidMode": "odd" }), 400, "invalid PID mode: odd"),
        (json!({ "IpcMode": "odd" }), 400, "invalid IPC mode: odd"),
        (json!({ "UTSMode": "odd" }), 400, "invalid UTS mode: odd"),
        (json!({ "SecurityOpt": ["odd"] }), 400, "invalid --security-opt: \"odd\""),
        (json!({ "DeviceCgroupRules": ["odd"] }), 400, "invalid device cgroup rule format: 'odd'"),
    ];
    let every: &[(Value, u16, &str)] = &[
        (json!({ "Memory": 1000 }), 400, "Minimum memory limit allowed is 6MB"),
        (
            json!({ "MemorySwap": 1000 }),
            400,
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (json!({ "ShmSize": -1 }), 400, "SHM size can not be less than 0"),
        (json!({ "CgroupnsMode": "odd" }), 400, "invalid cgroup namespace mode: odd"),
        (json!({ "Runtime": "kata" }), 400, "unknown or invalid runtime name: kata"),
        (json!({ "LogConfig": { "Type": "odd" } }), 400, "logger: no log driver named 'odd' is registered"),
        (
            json!({ "RestartPolicy": { "Name": "odd" } }),
            400,
            "invalid restart policy: unknown policy 'odd'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            json!({ "RestartPolicy": { "Name": "always" }, "AutoRemove": true }),
            400,
            "can't create 'AutoRemove' container with restart policy",
        ),
        (json!({ "NetworkMode": "odd" }), 404, "network odd not found"),
        (json!({ "Links": ["a:b"] }), 501, "--link is not supported: name the other container in --add-host"),
        (
            json!({ "DeviceRequests": [{ "Count": -1 }] }),
            501,
            "--gpus is not supported: name the devices with --device",
        ),
    ];
    let native = if under.isolation.is_wasm() { &[] } else { native };
    for (host, status, expected) in native.iter().chain(every) {
        let (found, sentence) = under.node.refuses(&probe(under, host)?)?;
        ensure!(found == *status && sentence == *expected, "{host}: {found} {sentence}");
    }
    let mut asked = probe(under, &json!({ "UTSMode": "host" }))?;
    asked["Hostname"] = json!("boat");
    if !under.isolation.is_wasm() {
        ensure!(under.node.refuses(&asked)?.1 == "conflicting options: hostname and the UTS mode");
    }
    Ok(())
}

fn a_wasm_guest_is_told_what_has_no_effect(under: &Under) -> Result<()> {
    let host = json!({ "Init": true, "PidsLimit": 5, "ShmSize": 1_048_576, "Ulimits": [{ "Name": "nofile", "Soft": 1, "Hard": 1 }],
        "GroupAdd": ["1"], "Dns": ["192.0.2.1"], "OomScoreAdj": 5, "NetworkMode": "host" });
    let mut asked = probe(under, &host)?;
    (asked["User"], asked["WorkingDir"], asked["Hostname"]) = (json!("1000"), json!("/x"), json!("boat"));
    asked["StopSignal"] = json!("SIGQUIT");
    let created = under.node.create(&asked)?;
    for option in [
        "--init",
        "--pids-limit",
        "--shm-size",
        "--ulimit",
        "--group-add",
        "--dns",
        "--oom-score-adj",
        "--network host",
        "--user",
        "--workdir",
        "--hostname",
        "SIGQUIT",
    ] {
        ensure!(created.warnings.iter().any(|warning| warning.contains(option)), "{option}: {:?}", created.warnings);
    }
    let (code, text) = created.run()?;
    ensure!(code == 0 && text.contains('x'), "{text}");
    let created = under.node.create(&probe(under, &json!({ "ReadonlyRootfs": true, "CapDrop": ["ALL"] }))?)?;
    ensure!(created.warnings.is_empty(), "what holds anyway: {:?}", created.warnings);
    Ok(())
}

fn power_is_not_given_to_a_wasm_guest(under: &Under) -> Result<()> {
    for host in [
        json!({ "Privileged": true }),
        json!({ "CapAdd": ["NET_ADMIN"] }),
        json!({ "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "r" }] }),
        json!({ "Sysctls": { "net.core.somaxconn": "1" } }),
        json!({ "PidMode": "host" }),
        json!({ "IpcMode": "host" }),
        json!({ "UTSMode": "host" }),
        json!({ "SecurityOpt": ["seccomp=unconfined"] }),
        json!({ "Tmpfs": { "/t": "" } }),
    ] {
        let (status, sentence) = under.node.refuses(&probe(under, &host)?)?;
        ensure!(status == 400 && sentence.contains("has no meaning for a Wasm container"), "{host}: {sentence}");
    }
    let mut asked = probe(under, &json!({}))?;
    asked["Entrypoint"] = json!(["/other.wasm"]);
    let (status, sentence) = under.node.refuses(&asked)?;
    ensure!(status == 400 && sentence.contains("/other.wasm"), "{sentence}");
    Ok(())
}
