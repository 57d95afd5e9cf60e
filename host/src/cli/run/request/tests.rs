use clap::{CommandFactory, FromArgMatches};
use serde_json::{Value, json};

use super::super::Lean;
use super::*;

fn lower(typed: &[&str]) -> anyhow::Result<Request> {
    let matches = crate::cli::parse::adapt(Lean::command()).try_get_matches_from([&["run"], typed].concat())?;
    let args = Lean::from_arg_matches(&matches)?.args;
    Request::new(args.container, !args.detach)
}

/// What is typed gives a body in which `pointer` holds `expected`.
fn check(typed: &[&str], pointer: &str, expected: Value) {
    let request = lower(typed).unwrap_or_else(|error| panic!("{typed:?}: {error:#}"));
    let body = serde_json::to_value(&request.body).expect("a body");
    assert_eq!(body.pointer(pointer).unwrap_or(&Value::Null), &expected, "{typed:?} at {pointer}");
}

#[test]
fn flags_become_fields_of_the_body() {
    check(&["busybox"], "/Cmd", Value::Null);
    check(&["busybox", "ls", "-l", "--rm"], "/Cmd", json!(["ls", "-l", "--rm"]));
    check(&["busybox", "ls", "-l", "--rm"], "/HostConfig/AutoRemove", json!(false));
    check(&["--rm", "busybox", "--", "x"], "/HostConfig/AutoRemove", json!(true));
    check(&["-it", "busybox"], "/Tty", json!(true));
    check(&["-it", "busybox"], "/StdinOnce", json!(true));
    check(&["-id", "busybox"], "/StdinOnce", json!(false));
    check(&["-id", "busybox"], "/OpenStdin", json!(true));
    check(&["-d", "busybox"], "/AttachStdout", json!(false));
    check(&["-a", "stderr", "busybox"], "/AttachStdout", json!(false));
    check(&["-a", "STDERR", "busybox"], "/AttachStderr", json!(true));
    check(
        &["-e", "A=1", "--env", "B=x=y", "-e", "PROA_NO_SUCH", "busybox"],
        "/Env",
        json!(["A=1", "B=x=y", "PROA_NO_SUCH"]),
    );
    check(&["-v", "/a:/b:ro", "busybox"], "/HostConfig/Binds", json!(["/a:/b:ro"]));
    check(&["-v", "/b", "busybox"], "/Volumes", json!({"/b": {}}));
    check(&["--dir", "/a::/b", "busybox"], "/HostConfig/Binds", json!(["/a:/b"]));
    check(&["-w", "/x", "busybox"], "/WorkingDir", json!("/x"));
    check(&["-u", "1:2", "busybox"], "/User", json!("1:2"));
    check(&["--entrypoint", "", "busybox"], "/Entrypoint", json!([""]));
    check(&["-h", "boat", "busybox"], "/Hostname", json!("boat"));
    check(&["--stop-signal", "INT", "busybox"], "/StopSignal", json!("INT"));
    check(&["--stop-timeout", "-1", "busybox"], "/StopTimeout", json!(-1));
    check(&["--tenant", "blue", "-l", "a", "busybox"], "/Labels", json!({"a": "", "proa.tenant": "blue"}));
    check(&["--health-cmd", "x y", "busybox"], "/Healthcheck/Test", json!(["CMD-SHELL", "x y"]));
    check(&["--health-interval", "1m30s", "busybox"], "/Healthcheck", json!({"Interval": 90_000_000_000_i64}));
    check(&["--no-healthcheck", "busybox"], "/Healthcheck/Test", json!(["NONE"]));
}

#[test]
fn flags_become_fields_of_the_host_s_part() {
    let at = |typed: &[&str], field: &str, expected: Value| check(typed, &format!("/HostConfig/{field}"), expected);
    at(&["busybox"], "NetworkMode", json!("default"));
    at(&["--net=none", "busybox"], "NetworkMode", json!("none"));
    at(&["-p", "8080:80", "busybox"], "PortBindings/80~1tcp/0/HostPort", json!("8080"));
    check(&["-p", "8080:80", "--expose", "90", "busybox"], "/ExposedPorts", json!({"80/tcp": {}, "90/tcp": {}}));
    at(&["-P", "busybox"], "PublishAllPorts", json!(true));
    at(&["-m", "64m", "busybox"], "Memory", json!(64 << 20));
    at(&["--memory-swap", "-1", "busybox"], "MemorySwap", json!(-1));
    at(&["--cpus=1.5", "busybox"], "NanoCpus", json!(1_500_000_000));
    at(&["--pids-limit", "-1", "busybox"], "PidsLimit", json!(-1));
    at(&["--read-only", "busybox"], "ReadonlyRootfs", json!(true));
    at(&["--isolation", "linux-userns", "busybox"], "Isolation", json!("linux-userns"));
    at(&["--init", "busybox"], "Init", json!(true));
    at(&["busybox"], "Init", Value::Null);
    at(&["--tmpfs", "/a:size=1m", "--tmpfs", "/b", "busybox"], "Tmpfs", json!({"/a": "size=1m", "/b": ""}));
    at(&["--ulimit", "nofile=1:2", "busybox"], "Ulimits", json!([{"Name": "nofile", "Soft": 1, "Hard": 2}]));
    at(&["--sysctl", "net.a=1", "busybox"], "Sysctls", json!({"net.a": "1"}));
    at(&["--cap-add", "net_raw", "busybox"], "CapAdd", json!(["CAP_NET_RAW"]));
    at(&["--device", "/dev/null:r", "busybox"], "Devices/0/CgroupPermissions", json!("r"));
    at(&["--shm-size", "1g", "busybox"], "ShmSize", json!(1 << 30));
    at(&["--log-opt", "max-size=1m", "busybox"], "LogConfig/Config", json!({"max-size": "1m"}));
    at(
        &["--restart", "on-failure:3", "busybox"],
        "RestartPolicy",
        json!({"Name": "on-failure", "MaximumRetryCount": 3}),
    );
    at(&["--security-opt", "systempaths=unconfined", "busybox"], "MaskedPaths", json!([]));
    at(&["--add-host", "a=::1", "busybox"], "ExtraHosts", json!(["a:::1"]));
    at(
        &["--device-read-bps", "/dev/a:1m", "busybox"],
        "BlkioDeviceReadBps",
        json!([{"Path": "/dev/a", "Rate": 1 << 20}]),
    );
}

#[test]
fn name_and_platform_go_into_the_path() {
    let request = lower(&["--name", "a b", "--platform", "wasi/wasm", "busybox"]).expect("a request");
    assert_eq!(request.path(), "/containers/create?name=a%20b&platform=wasi%2Fwasm");
}

#[test]
fn networks_have_settings_where_any_were_typed() {
    check(&["--network", "a", "busybox"], "/NetworkingConfig", Value::Null);
    check(
        &["--network", "a", "--ip", "1.2.3.4", "--network-alias", "b", "busybox"],
        "/NetworkingConfig/EndpointsConfig",
        json!({"a": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}, "Aliases": ["b"]}}),
    );
    check(
        &["--network", "name=a,alias=x,driver-opt=k=v", "busybox"],
        "/NetworkingConfig/EndpointsConfig",
        json!({"a": {"Aliases": ["x"], "DriverOpts": {"k": "v"}}}),
    );
}

#[test]
fn what_means_nothing_is_refused() {
    for typed in [
        &["--isolation", "vm", "busybox"][..],
        &["-m", "much", "busybox"],
        &["--cpus", "-1", "busybox"],
        &["-p", "x:80", "busybox"],
        &["-l", "=x", "busybox"],
        &["--env-file", "/nonexistent", "busybox"],
        &["--no-such-flag", "busybox"],
        &["--restart", "sometimes", "busybox"],
        &["--restart", "always:3", "busybox"],
        &["--rm", "--restart", "always", "busybox"],
        &["--no-healthcheck", "--health-cmd", "x", "busybox"],
        &["--health-interval", "3", "busybox"],
        &["--ulimit", "nofile=3:2", "busybox"],
        &["--ulimit", "bogus=1", "busybox"],
        &["--device", "x:y:z", "busybox"],
        &["--pid", "foo", "busybox"],
        &["--uts", "foo", "busybox"],
        &["--cgroupns", "foo", "busybox"],
        &["--dns", "x", "busybox"],
        &["--mac-address", "x", "busybox"],
        &["--network", "a", "--network", "a", "busybox"],
        &["--network", "host", "--network-alias", "x", "busybox"],
        &["--log-driver", "none", "--log-opt", "a=b", "busybox"],
        &["--storage-opt", "x", "busybox"],
        &["-a", "foo", "busybox"],
        &["--blkio-weight-device", "/dev/x:5", "busybox"],
        &["--memory-swappiness", "101", "busybox"],
        &[],
    ] {
        assert!(lower(typed).is_err(), "{typed:?}");
    }
}
