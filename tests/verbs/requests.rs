//! The same words mean the same to docker and to proa: what each asks of a host, and with which code each ends.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::recorder::{Recorder, Request};

/// Flags of `create` and what they hold, a container each.
const CREATE: &[&[&str]] = &[
    &["img"],
    &["img", "sh", "-c", "a b"],
    &["--rm=true", "-it", "--init=false", "--privileged=false", "img"],
    &["-e", "A=1", "-e", "A=2", "-e", "NO_SUCH_NAME", "-l", "a=b", "-l", "c", "-w", "/x", "-u", "1:2", "img"],
    &["--entrypoint", "", "--name", "foo", "--platform", "linux/arm64", "--env-file", "/dev/null", "img"],
    &[
        "--label-file",
        "/dev/null",
        "--annotation",
        "a=b",
        "--read-only",
        "--stop-signal",
        "INT",
        "--stop-timeout",
        "5",
        "img",
    ],
    &[
        "-v",
        "named:/b",
        "-v",
        "/x:/y:ro",
        "-v",
        "/anon",
        "--volumes-from",
        "a",
        "--volumes-from",
        "b:ro",
        "--volume-driver",
        "d",
        "img",
    ],
    &["--mount", "type=bind,src=/a,dst=/b,ro,bind-propagation=rslave,bind-recursive=disabled", "img"],
    &["--mount", "type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770", "--mount", "target=/z", "img"],
    &[
        "--mount",
        "source=v,target=/v,volume-nocopy,volume-opt=type=nfs,volume-opt=o=a,volume-label=x=y,volume-driver=local,volume-subpath=s",
        "img",
    ],
    &["--mount", "type=image,src=i,dst=/i,image-subpath=q", "img"],
    &["--tmpfs", "/a:rw,size=1m", "--tmpfs", "/b", "--shm-size", "1g", "--storage-opt", "size=1g", "img"],
    &["--ulimit", "nofile=1024:2048", "--ulimit", "core=0", "--sysctl", "net.a=1", "--group-add", "g", "img"],
    &[
        "--device",
        "/dev/null",
        "--device",
        "/dev/zero:/dev/x:r",
        "--device",
        "vendor.com/class=name",
        "--device-cgroup-rule",
        "c 1:3 rwm",
        "img",
    ],
    &["--gpus", "all", "img"],
    &["--gpus", "\"device=1,2\",driver=nvidia", "img"],
    &[
        "--health-cmd",
        "true x",
        "--health-interval",
        "3s",
        "--health-retries",
        "2",
        "--health-timeout",
        "1m30s",
        "--health-start-period",
        "500ms",
        "--health-start-interval",
        "1s",
        "img",
    ],
    &["--no-healthcheck", "img"],
    &[
        "--network",
        "net1",
        "--ip",
        "1.2.3.4",
        "--network-alias",
        "al",
        "--link-local-ip",
        "169.254.1.1",
        "--mac-address",
        "02:42:ac:11:00:02",
        "--link",
        "c:d",
        "img",
    ],
    &["--network", "name=net2,alias=x,ip=1.2.3.5,driver-opt=a=b", "img"],
    &["--network", "a", "--network", "b", "img"],
    &[
        "-P",
        "--expose",
        "80-82",
        "--expose",
        "90/udp",
        "-p",
        "8000-8002:9000-9002/udp",
        "-p",
        "127.0.0.1::77",
        "-p",
        "9000-9010:99",
        "img",
    ],
    &["--restart", "on-failure:3", "--log-driver", "json-file", "--log-opt", "max-size=1m", "img"],
    &[
        "--pid",
        "host",
        "--ipc",
        "private",
        "--uts",
        "host",
        "--userns",
        "host",
        "--cgroupns",
        "private",
        "--cgroup-parent",
        "/x",
        "img",
    ],
    &[
        "--dns",
        "1.1.1.1",
        "--dns-search",
        "a.b",
        "--dns-option",
        "ndots:2",
        "--add-host",
        "h:1.2.3.4",
        "--add-host",
        "k=host-gateway",
        "--hostname",
        "h",
        "--domainname",
        "d",
        "img",
    ],
    &[
        "-m",
        "64m",
        "--memory-swap",
        "-1",
        "--memory-swappiness",
        "10",
        "--memory-reservation",
        "32m",
        "--kernel-memory",
        "50m",
        "img",
    ],
    &[
        "--cpu-shares",
        "2",
        "--cpu-period",
        "100",
        "--cpu-quota",
        "200",
        "--cpus",
        "1.5",
        "--cpuset-cpus",
        "0-1",
        "--cpuset-mems",
        "0",
        "img",
    ],
    &[
        "--blkio-weight",
        "100",
        "--blkio-weight-device",
        "/dev/x:200",
        "--device-read-bps",
        "/dev/x:1m",
        "--device-write-iops",
        "/dev/x:7",
        "img",
    ],
    &[
        "--oom-kill-disable",
        "--oom-score-adj",
        "5",
        "--pids-limit",
        "7",
        "--runtime",
        "r",
        "--init",
        "--privileged",
        "img",
    ],
    &[
        "--cap-add",
        "net_raw",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--security-opt",
        "apparmor:foo",
        "img",
    ],
    &["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined", "img"],
    &["-a", "stdin", "-a", "stdout", "-i", "img"],
    &["--log-driver", "none", "img"],
];

/// Verbs that ask one thing.
const VERBS: &[&[&str]] = &[
    &["volume", "create", "--label", "a=b", "-o", "x=y", "-d", "local", "v"],
    &["volume", "create"],
    &["volume", "rm", "-f", "v"],
    &["volume", "inspect", "v"],
    &["volume", "prune", "-f"],
    &["container", "prune", "-f"],
    &["network", "prune", "-f"],
    &["network", "connect", "n", "c"],
    &["network", "disconnect", "-f", "n", "c"],
    &["system", "df"],
    &["update", "--restart", "always", "-m", "5m", "--cpus", "2", "c"],
    &["top", "c", "aux"],
    &["top", "c"],
    &["stats", "--no-stream", "c"],
    &["export", "c"],
    &["save", "a", "b"],
    &["save", "--platform", "linux/amd64", "a"],
    &["history", "a"],
    &["rename", "a", "b"],
    &["restart", "-t", "3", "-s", "INT", "a"],
    &["stop", "-t", "3", "c"],
    &["pause", "a"],
    &["unpause", "a"],
    &["diff", "c"],
    &["port", "c"],
    &["rmi", "--no-prune", "--platform", "linux/amd64", "x"],
    &["rm", "-fvl", "c"],
    &["kill", "-s", "INT", "c"],
    &["tag", "a", "b:c"],
    &["pull", "-a", "x"],
    &["pull", "x:y"],
    &["push", "x:y"],
    &["push", "-a", "x"],
    &["inspect", "-s", "x"],
    &["image", "inspect", "x"],
    &["container", "inspect", "x"],
    &["network", "inspect", "x"],
    &["cp", "c:/x", "-"],
    &["ps", "-s"],
];

/// Lines that mean nothing, and lines that ask for help by saying too little.
const WRONG: &[&[&str]] = &[
    &[],
    &["container"],
    &["volume"],
    &["bogus"],
    &["container", "bogus"],
    &["rm"],
    &["run"],
    &["create"],
    &["logs"],
    &["exec", "c"],
    &["cp", "a"],
    &["cp", "a", "b"],
    &["port"],
    &["wait"],
    &["rename", "a"],
    &["ps", "extra"],
    &["ps", "--bogus"],
    &["run", "--bogus", "x"],
    &["stop", "-t", "x", "c"],
    &["update", "c"],
    &["start", "-a", "x", "y"],
    &["run", "-it", "img"],
    &["run", "-d", "-a", "stdout", "img"],
    &["run", "-m", "x", "img"],
    &["run", "-p", "x:80", "img"],
    &["run", "--pull", "foo", "img"],
    &["run", "--mount", "type=foo", "img"],
    &["run", "--ulimit", "foo", "img"],
    &["run", "--rm", "--restart", "always", "img"],
    &["create", "--restart", "on-failure:x", "img"],
    &["create", "--health-interval", "3", "img"],
    &["create", "--oom-score-adj", "x", "img"],
    &["create", "--env", "=x", "img"],
    &["create", "-a", "foo", "img"],
    &["create", "--network", "host", "--network-alias", "x", "img"],
    &["create", "--pid", "foo", "img"],
    &["create", "--device", "x:y:z", "img"],
    &["create", "--security-opt", "seccomp=/no", "img"],
    &["create", "--cidfile", "/dev/null", "img"],
    &["create", "--dns", "x", "img"],
    &["create", "--label", "=x", "img"],
    &["create", "--memory-swappiness", "101", "img"],
    &["create", "--log-driver", "none", "--log-opt", "a=b", "img"],
    &["events", "--filter", "x"],
    &["ps", "--format", "{{.Foo"],
    &["login", "-p"],
    &["history"],
];

pub(crate) fn every_flag_of_create_is_sent_as_docker_sends_it() -> Result<()> {
    let recorder = Recorder::open()?;
    for flags in CREATE {
        let line = [&["create"], *flags].concat();
        let (docker, proa) = (recorder.docker(&line)?, recorder.proa(&line)?);
        let (asked, ours) = (plain(docker.0), plain(proa.0));
        ensure!(asked == ours, "`{}`\n docker asks {asked:?}\n proa asks {ours:?}\n{}", line.join(" "), proa.1);
    }
    Ok(())
}

pub(crate) fn verbs_ask_what_docker_asks() -> Result<()> {
    let recorder = Recorder::open()?;
    for line in VERBS {
        let (docker, proa) = (recorder.docker(line)?, recorder.proa(line)?);
        let (asked, ours) = (plain(docker.0), plain(proa.0));
        ensure!(asked == ours, "`{}`\n docker asks {asked:?}\n proa asks {ours:?}\n{}", line.join(" "), proa.1);
        let (theirs, own) = (docker.1.code(), proa.1.code());
        ensure!(theirs == own, "`{}` ends with {theirs:?} and {own:?}", line.join(" "));
    }
    Ok(())
}

pub(crate) fn wrong_lines_end_with_docker_s_codes_and_one_sentence() -> Result<()> {
    let recorder = Recorder::open()?;
    for line in WRONG {
        let (docker, proa) = (recorder.docker(line)?.1, recorder.proa(line)?.1);
        let typed = line.join(" ");
        ensure!(docker.code() == proa.code(), "`{typed}` ends with {:?} and {:?}\n{proa}", docker.code(), proa.code());
        if proa.code() != Some(0) {
            let complaint = proa.complaint();
            let told: Vec<&str> = complaint.lines().filter(|line| !line.starts_with("hint: ")).collect();
            ensure!(told.len() == 1 && told[0].starts_with("proa: "), "`{typed}` says {complaint:?}");
        }
    }
    Ok(())
}

/// Without what Docker writes for nothing: no restart, no swappiness, no console, and ports that the bindings name too.
fn plain(requests: Vec<Request>) -> Vec<Request> {
    let mut requests = requests;
    for request in &mut requests {
        if let Value::Object(body) = &mut request.body {
            body.remove("ExposedPorts");
            if let Some(Value::Object(host)) = body.get_mut("HostConfig") {
                host.remove("ConsoleSize");
                if host.get("RestartPolicy") == Some(&json!({ "Name": "no" })) {
                    host.remove("RestartPolicy");
                }
                if host.get("MemorySwappiness") == Some(&json!(-1)) {
                    host.remove("MemorySwappiness");
                }
            }
        }
    }
    requests
}
