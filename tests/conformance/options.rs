//! What a create request may ask of a native container besides its confinement: each option is seen to hold from inside.

use anyhow::{Context, Result, ensure};
use proa_tests::created::{Created, body};
use proa_tests::{Need, Suite, Under, cases, guest};
use serde_json::{Value, json};

use super::NATIVE;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        NATIVE,
        &[Need::Peer("busybox")],
        cases![
            init_reaps_and_passes_signals_on,
            init_keeps_its_memory_and_program_to_itself,
            a_stop_signal_and_a_stop_timeout_are_kept_to,
            a_tmpfs_has_the_options_asked_for,
            shared_memory_has_the_size_asked_for,
            limits_of_processes_hold,
            parameters_of_own_namespaces_are_set,
            names_and_name_servers_are_written,
            groups_are_added,
            a_missing_working_directory_is_made,
            a_working_directory_through_a_link_stays_inside,
            a_read_only_root_has_writable_mounts,
            block_devices_and_processors_are_bounded_as_far_as_the_machine_can,
            a_block_device_s_rate_holds_for_later_processes_too,
            inspect_shows_what_dockerd_fills_in,
        ],
    );
    suite.under_all(&[], cases![labels_are_the_container_s_own]);
}

/// Makes a busybox that runs `script`.
pub(crate) fn made<'a>(under: &'a Under, script: &str, host: &Value) -> Result<Created<'a>> {
    let busybox = guest::busybox(under.node)?;
    under.node.create(&body(under.isolation, &busybox, &["sh", "-c", script], host))
}

/// What `script` prints in a container with `host`; it must end with 0.
pub(crate) fn printed(under: &Under, host: &Value, script: &str) -> Result<String> {
    let (code, text) = made(under, script, host)?.run()?;
    ensure!(code == 0, "{host}: `{script}` ended with {code}: {text}");
    Ok(text.trim_end().to_owned())
}

/// The body of a probe with `host`, for what is judged before anything runs.
pub(crate) fn probe(under: &Under, host: &Value) -> Result<Value> {
    Ok(body(under.isolation, under.node.probe()?, &["out", "x"], host))
}

fn init_reaps_and_passes_signals_on(under: &Under) -> Result<()> {
    let text = printed(under, &json!({ "Init": true }), "cat /proc/1/comm; echo $$; ls /sbin 2>&1 | grep -c init")
        .or_else(|_| printed(under, &json!({ "Init": true }), "cat /proc/1/comm; echo $$; echo 0"))?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines.first() == Some(&"init") && lines.get(1) != Some(&"1") && lines.last() == Some(&"0"), "{text}");
    // As process 1 it would ignore TERM and be killed after the grace.
    let made = made(under, "exec sleep 1000", &json!({ "Init": true }))?;
    made.container.proa(&["start"])?.success()?;
    made.container.proa(&["stop", "-t", "30"])?.success()?;
    ensure!(made.container.wait()? == 143, "{}", made.container.inspect()?["State"]);
    ensure!(made.container.inspect()?["HostConfig"]["Init"] == true);
    Ok(())
}

/// It is a copy of the process that makes containers: nothing of that may be read from it, nor its program reached
/// (CVE-2019-5736).
fn init_keeps_its_memory_and_program_to_itself(under: &Under) -> Result<()> {
    let script = "cat /proc/1/environ 2>/dev/null | wc -c; readlink /proc/1/exe || echo hidden; \
                  ls /proc/1/fd 2>/dev/null | wc -l; head -c1 /proc/1/mem 2>/dev/null | wc -c; \
                  cat /proc/1/maps 2>/dev/null | wc -c; grep -E '^(Seccomp|NoNewPrivs):' /proc/1/status";
    let text = printed(under, &json!({ "Init": true }), script)?;
    ensure!(text == "0\nhidden\n0\n0\n0\nNoNewPrivs:\t1\nSeccomp:\t2", "{text}");
    Ok(())
}

fn a_stop_signal_and_a_stop_timeout_are_kept_to(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let script = "trap 'echo usr1; exit 4' USR1; trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut asked = body(under.isolation, &busybox, &["sh", "-c", script], &json!({}));
    (asked["StopSignal"], asked["StopTimeout"]) = (json!("SIGUSR1"), json!(30));
    let made = under.node.create(&asked)?;
    made.container.proa(&["start"])?.success()?;
    made.container.shows("that it is up", |logs| logs.contains("up"))?;
    made.container.proa(&["stop"])?.success()?;
    ensure!(made.container.wait()? == 4, "{}", made.container.logs()?);
    asked["StopSignal"] = json!("SIGNONSENSE");
    ensure!(under.node.refuses(&asked)? == (400, "invalid signal: SIGNONSENSE".to_owned()));
    Ok(())
}

fn a_tmpfs_has_the_options_asked_for(under: &Under) -> Result<()> {
    let script = "grep ' /t ' /proc/mounts; stat -c %a /t; cp /bin/busybox /t/echo && /t/echo ran; grep ' /m ' /proc/mounts; \
                  dd if=/dev/zero of=/m/big bs=64k count=64 2>&1 | grep -c 'No space'";
    let host = json!({
        "Tmpfs": { "/t": "size=4m,mode=1750,exec" },
        "Mounts": [{ "Type": "tmpfs", "Target": "/m", "TmpfsOptions": { "SizeBytes": 1_048_576, "Mode": 448 } }],
    });
    let text = printed(under, &host, script)?;
    let lines: Vec<&str> = text.lines().collect();
    let [first, mode, ran, second, full] = lines[..] else { anyhow::bail!("{text}") };
    ensure!(first.contains("size=4096k") && first.contains("nosuid,nodev") && !first.contains("noexec"), "{first}");
    ensure!(mode == "1750" && ran == "ran" && full == "1", "{text}");
    ensure!(second.contains("noexec") && second.contains("size=1024k") && second.contains("mode=700"), "{second}");
    for (target, options) in [("/t", "size=lots"), ("/t", "nonsense"), ("relative", ""), ("/", ""), ("/t", "context=x")]
    {
        let (status, sentence) = under.node.refuses(&probe(under, &json!({ "Tmpfs": { target: options } }))?)?;
        ensure!(status == 400, "{target} {options}: {sentence}");
    }
    Ok(())
}

fn shared_memory_has_the_size_asked_for(under: &Under) -> Result<()> {
    let size = |host: Value| printed(under, &host, "grep ' /dev/shm ' /proc/mounts");
    ensure!(size(json!({ "ShmSize": 1_048_576 }))?.contains("size=1024k"));
    ensure!(size(json!({}))?.contains("size=65536k"), "Docker's 64 MiB");
    ensure!(printed(under, &json!({ "IpcMode": "none" }), "grep -c ' /dev/shm ' /proc/mounts; true")? == "0");
    Ok(())
}

fn limits_of_processes_hold(under: &Under) -> Result<()> {
    let host = json!({ "Ulimits": [{ "Name": "nofile", "Soft": 100, "Hard": 200 }, { "Name": "core", "Soft": 0, "Hard": 0 }],
        "OomScoreAdj": 500 });
    let text = printed(under, &host, "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj")?;
    ensure!(text == "100\n200\n0\n500", "{text}");
    let few = json!({ "Init": true, "Ulimits": [{ "Name": "nofile", "Soft": 4, "Hard": 4 }] });
    ensure!(printed(under, &few, "ulimit -n")? == "4", "the steps of a start need more than its program may have");
    let limit = |name: &str, soft: i64, hard: i64| json!({ "Ulimits": [{ "Name": name, "Soft": soft, "Hard": hard }] });
    let (status, sentence) = under.node.refuses(&probe(under, &limit("nosuch", 1, 1))?)?;
    ensure!(status == 400 && sentence == "invalid ulimit type: nosuch", "{sentence}");
    let (status, sentence) = under.node.refuses(&probe(under, &limit("nofile", 20, 10))?)?;
    ensure!(status == 400 && sentence.contains("soft limit must be less than or equal to hard limit"), "{sentence}");
    // Above the machine's own only with CAP_SYS_RESOURCE, which tells so by its absence.
    let answer = under.node.create(&probe(under, &limit("nofile", 1 << 40, 1 << 40))?);
    if let Err(error) = answer {
        ensure!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error}");
    }
    let (status, sentence) = under.node.refuses(&probe(under, &json!({ "OomScoreAdj": 2000 }))?)?;
    ensure!(status == 400 && sentence.contains("range for oom score adj is [-1000, 1000]"), "{sentence}");
    Ok(())
}

fn parameters_of_own_namespaces_are_set(under: &Under) -> Result<()> {
    let host = json!({ "Sysctls": { "net.core.somaxconn": "77", "kernel.shmmax": "4096000" } });
    let text = printed(under, &host, "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmax")?;
    ensure!(text == "77\n4096000", "{text}");
    for (name, network) in [("kernel.core_pattern", "none"), ("vm.swappiness", "none"), ("net.core.somaxconn", "host")]
    {
        let host = json!({ "Sysctls": { name: "1" }, "NetworkMode": network });
        let (status, sentence) = under.node.refuses(&probe(under, &host)?)?;
        ensure!(status == 400 && sentence.contains(name), "{sentence}");
    }
    Ok(())
}

fn names_and_name_servers_are_written(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let host = json!({ "Dns": ["192.0.2.1"], "DnsSearch": ["example.org"], "DnsOptions": ["ndots:3"],
        "ExtraHosts": ["db:192.0.2.7", "six:2001:db8::1"] });
    let script = "hostname; cat /proc/sys/kernel/domainname; cat /etc/resolv.conf; cat /etc/hosts";
    let mut asked = body(under.isolation, &busybox, &["sh", "-c", script], &host);
    (asked["Hostname"], asked["Domainname"]) = (json!("boat"), json!("sea.example"));
    let (code, text) = under.node.create(&asked)?.run()?;
    let lines = [
        "boat",
        "sea.example",
        "nameserver 192.0.2.1",
        "search example.org",
        "options ndots:3",
        "192.0.2.7\tdb",
        "2001:db8::1\tsix",
        "127.0.0.1\tboat.sea.example boat",
    ];
    for line in lines {
        ensure!(code == 0 && text.lines().any(|found| found == line), "`{line}` is not in {text}");
    }
    asked["Hostname"] = json!("a\nb");
    ensure!(under.node.refuses(&asked)?.0 == 400, "a host name of two lines");
    for host in [
        json!({ "Dns": ["x"] }),
        json!({ "ExtraHosts": ["nowhere"] }),
        json!({ "ExtraHosts": ["a:host-gateway"] }),
        json!({ "ExtraHosts": ["a\nb:1.2.3.4"] }),
    ] {
        let (status, sentence) = under.node.refuses(&probe(under, &host)?)?;
        ensure!(status == 400, "{host}: {sentence}");
    }
    Ok(())
}

fn groups_are_added(under: &Under) -> Result<()> {
    let text = printed(under, &json!({ "GroupAdd": ["extra", "1234"] }), "id -G")?;
    let groups: Vec<&str> = text.split_whitespace().collect();
    ensure!(groups.contains(&"2000") && groups.contains(&"1234"), "{text}");
    let busybox = guest::busybox(under.node)?;
    let asked = body(under.isolation, &busybox, &["true"], &json!({ "GroupAdd": ["nosuchgroup"] }));
    ensure!(under.node.refuses(&asked)?.0 == 400);
    Ok(())
}

fn a_missing_working_directory_is_made(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let mut asked = body(under.isolation, &busybox, &["sh", "-c", "pwd; stat -c '%u %a' ."], &json!({}));
    asked["WorkingDir"] = json!("/not/there/yet");
    let (code, text) = under.node.create(&asked)?.run()?;
    ensure!(code == 0 && text == "/not/there/yet\n0 755\n", "{text}");
    asked["WorkingDir"] = json!("relative");
    let (status, sentence) = under.node.refuses(&asked)?;
    ensure!(status == 400 && sentence.contains("it needs to be an absolute path"), "{sentence}");
    Ok(())
}

/// CVE-2024-21626 and CVE-2026-55686: a descriptor of the host's, or a link that leads out.
fn a_working_directory_through_a_link_stays_inside(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    for (folder, number) in
        [("/proc/self/fd/7", 7), ("/proc/self/fd/3", 3), ("/proc/1/root", 0), ("/proc/self/cwd/x", 1)]
    {
        let mut asked = body(under.isolation, &busybox, &["sh", "-c", "pwd; ls -a"], &json!({}));
        asked["WorkingDir"] = json!(folder);
        let made = under.node.create(&asked)?;
        let started = made.container.proa(&["start"])?;
        if started.code() == Some(0) {
            made.container.wait()?;
            let text = made.container.logs()?.text();
            ensure!(!text.contains("containers") && !text.contains("zygote"), "{folder} {number}: {text}");
        } else {
            started.keeps_its_composure()?;
        }
    }
    Ok(())
}

fn a_read_only_root_has_writable_mounts(under: &Under) -> Result<()> {
    let host = json!({ "ReadonlyRootfs": true, "Tmpfs": { "/run": "" } });
    let text = printed(
        under,
        &host,
        "touch /x 2>/dev/null || echo fixed; touch /run/x && echo run; touch /dev/shm/x && echo shm",
    )?;
    ensure!(text == "fixed\nrun\nshm", "{text}");
    Ok(())
}

fn block_devices_and_processors_are_bounded_as_far_as_the_machine_can(under: &Under) -> Result<()> {
    let host = json!({ "CpuShares": 512, "CpuPeriod": 50_000, "CpuQuota": 25_000, "CpusetCpus": "0", "MemoryReservation": 8_388_608,
        "Memory": 67_108_864, "MemorySwap": 134_217_728, "PidsLimit": 64, "BlkioWeight": 300 });
    let created = made(under, "grep Cpus_allowed_list /proc/self/status", &host)?;
    let (code, text) = created.run()?;
    ensure!(code == 0 && text.trim_end().ends_with("\t0"), "{text}");
    let inspect = created.container.inspect()?["HostConfig"].clone();
    ensure!(
        inspect["CpuShares"] == 512 && inspect["PidsLimit"] == 64 && inspect["MemorySwap"] == 134_217_728,
        "{inspect}"
    );
    // Taken out with a warning, or held.
    let discarded = created.warnings.iter().any(|warning| warning.contains("Block I/O weight"));
    ensure!(discarded == (inspect["BlkioWeight"] == 0), "{:?} {inspect}", created.warnings);
    Ok(())
}

fn a_block_device_s_rate_holds_for_later_processes_too(under: &Under) -> Result<()> {
    let host = json!({ "BlkioDeviceReadBps": [{ "Path": "/dev/loop0", "Rate": 1_048_576 }], "CpusetCpus": "0" });
    if !std::path::Path::new("/dev/loop0").exists() {
        return Ok(());
    }
    let created = made(under, "exec sleep 1000", &host)?;
    if created.warnings.iter().any(|warning| warning.contains("BPS read limit discarded")) {
        return Ok(());
    }
    created.container.proa(&["start"])?.success()?;
    let groups = created.container.outside()?.read("cgroup")?;
    let blkio = groups.lines().find_map(|line| line.split_once(":blkio:").map(|(_, path)| path.to_owned()));
    if let Some(path) = blkio {
        let file = format!("/sys/fs/cgroup/blkio{path}/blkio.throttle.read_bps_device");
        let rate = std::fs::read_to_string(&file)?;
        ensure!(rate.trim() == "7:0 1048576", "{file}: {rate}");
    }
    let seen = under.node.proa(&["exec", created.container.id(), "grep", "Cpus_allowed_list", "/proc/self/status"])?;
    ensure!(seen.clone().success()?.text().ends_with("\t0"), "{seen}");
    let bad = json!({ "BlkioDeviceReadBps": [{ "Path": "/dev/null", "Rate": 1 }] });
    let (status, sentence) = under.node.refuses(&probe(under, &bad)?)?;
    ensure!(status == 400 && sentence.contains("/dev/null"), "{sentence}");
    Ok(())
}

fn inspect_shows_what_dockerd_fills_in(under: &Under) -> Result<()> {
    let created = made(under, "true", &json!({ "Memory": 16_777_216 }))?;
    let inspect = created.container.inspect()?;
    let host = &inspect["HostConfig"];
    let expected = json!({
        "ShmSize": 67_108_864, "LogConfig": { "Type": "json-file", "Config": {} }, "NetworkMode": "bridge",
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }, "IpcMode": "private", "CgroupnsMode": "private",
        "PidMode": "", "UTSMode": "", "UsernsMode": "", "Privileged": false, "CapAdd": null, "CapDrop": null,
        "SecurityOpt": null, "MemorySwap": 33_554_432, "PidsLimit": null, "Runtime": "proa", "OomScoreAdj": 0,
        "ReadonlyRootfs": false, "AutoRemove": false, "PortBindings": {}, "ConsoleSize": [0, 0],
    });
    for (name, value) in expected.as_object().context("an object")? {
        ensure!(host[name] == *value, "{name} is {}, not {value}", host[name]);
    }
    ensure!(host["MaskedPaths"].as_array().is_some_and(|paths| paths.contains(&json!("/proc/kcore"))), "{host}");
    ensure!(host["ReadonlyPaths"].as_array().is_some_and(|paths| paths.contains(&json!("/proc/sys"))), "{host}");
    ensure!(host.get("Init").is_none() && inspect["State"].get("Health").is_none(), "{inspect}");
    Ok(())
}

fn labels_are_the_container_s_own(under: &Under) -> Result<()> {
    let mut asked = probe(under, &json!({ "Annotations": { "org.example.a": "1" } }))?;
    asked["Labels"] = json!({ "a": "1", "b.c": "" });
    let inspect = under.node.create(&asked)?.container.inspect()?;
    ensure!(inspect["Config"]["Labels"]["a"] == "1" && inspect["Config"]["Labels"]["b.c"] == "", "{inspect}");
    ensure!(inspect["HostConfig"]["Annotations"]["org.example.a"] == "1", "{inspect}");
    Ok(())
}
