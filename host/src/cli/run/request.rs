//! What was typed, turned into what it means: the one step that looks at the caller's files, folder and environment.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Serialize;

use super::args::{ContainerArgs, Pull};
use super::{environment, mounts, ports, quantity};
use crate::cli::image::Image;
use crate::cli::query::Query;

/// A container to be made, ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) image: Image,
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) pull: Pull,
    pub(crate) quiet: bool,
    /// Its image is filled in last, because a file's image has no name before it is loaded.
    pub(crate) body: Body,
}

/// The body of `POST /containers/create` (Docker Engine API 1.51), as far as the command line fills it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Body {
    pub(crate) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    stdin_once: bool,
    env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    pub(crate) host_config: HostConfig,
}

/// The part of the body that is about this node.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    binds: Vec<String>,
    network_mode: String,
    port_bindings: BTreeMap<String, Vec<ports::Binding>>,
    pub(crate) auto_remove: bool,
    readonly_rootfs: bool,
    memory: u64,
    memory_reservation: u64,
    nano_cpus: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

#[derive(Debug, Default, Serialize)]
struct Empty {}

impl Request {
    /// Lowers `args`; `attached` when the caller stays for the output.
    pub(crate) fn new(args: ContainerArgs, attached: bool) -> anyhow::Result<Request> {
        let mut words = args.image_and_command.into_iter();
        let image = Image::parse(&words.next().context("no image was given")?)?;
        let published = ports::parse(&args.publish)?;
        let (mut binds, volumes) = mounts::volumes(&args.volume)?;
        binds.extend(mounts::directories(&args.dir)?);
        let body = Body {
            image: String::new(),
            hostname: args.hostname,
            user: args.user,
            attach_stdin: attached && args.interactive,
            attach_stdout: attached,
            attach_stderr: attached,
            tty: args.tty,
            open_stdin: args.interactive,
            stdin_once: attached && args.interactive,
            env: environment::collect(&args.env_file, &args.env)?,
            cmd: words.collect(),
            // An empty entrypoint resets the image's, which the API wants to hear as a list of one empty word.
            entrypoint: args.entrypoint.map(|program| vec![program]),
            working_dir: args.workdir,
            labels: labels(&args.label, args.tenant)?,
            volumes: volumes.into_iter().map(|target| (target, Empty {})).collect(),
            exposed_ports: published.keys().map(|port| (port.clone(), Empty {})).collect(),
            host_config: HostConfig {
                binds,
                network_mode: args.network.unwrap_or_else(|| "default".to_owned()),
                port_bindings: published,
                auto_remove: args.rm,
                readonly_rootfs: args.read_only,
                memory: args.memory.as_deref().map_or(Ok(0), quantity::bytes).context("read --memory")?,
                memory_reservation: args
                    .memory_reservation
                    .as_deref()
                    .map_or(Ok(0), quantity::bytes)
                    .context("read --memory-reservation")?,
                nano_cpus: args.cpus.as_deref().map_or(Ok(0), quantity::nano_cpus).context("read --cpus")?,
                pids_limit: args.pids_limit,
                isolation: args.isolation.map(|model| isolation(&model)).transpose()?,
                console_size: if args.tty { crate::cli::terminal::size() } else { None },
            },
        };
        Ok(Request { image, name: args.name, platform: args.platform, pull: args.pull, quiet: args.quiet, body })
    }

    /// The path of the request that creates it.
    pub(crate) fn path(&self) -> String {
        Query::new("/containers/create")
            .maybe("name", self.name.as_deref())
            .maybe("platform", self.platform.as_deref())
            .into_path()
    }
}

/// The model's name, if it is one; `auto` is the absence of a wish.
fn isolation(model: &str) -> anyhow::Result<String> {
    if !matches!(model, "auto" | "default") {
        model.parse::<proa_sandbox::Isolation>()?;
    }
    Ok(model.to_owned())
}

fn labels(given: &[String], tenant: Option<String>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for label in given {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        if name.is_empty() {
            bail!("the label `{label}` has no name");
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    labels.extend(tenant.map(|tenant| ("proa.tenant".to_owned(), tenant)));
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::super::Lean;
    use super::*;

    fn lower(typed: &[&str]) -> anyhow::Result<Request> {
        let args = Lean::try_parse_from([&["run"], typed].concat())?.args;
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
        check(&["-e", "A=1", "--env", "B=x=y", "busybox"], "/Env", json!(["A=1", "B=x=y"]));
        check(&["-v", "/a:/b:ro", "busybox"], "/HostConfig/Binds", json!(["/a:/b:ro"]));
        check(&["-v", "/b", "busybox"], "/Volumes", json!({"/b": {}}));
        check(&["--dir", "/a::/b", "busybox"], "/HostConfig/Binds", json!(["/a:/b"]));
        check(&["-w", "/x", "busybox"], "/WorkingDir", json!("/x"));
        check(&["-u", "1:2", "busybox"], "/User", json!("1:2"));
        check(&["--entrypoint", "", "busybox"], "/Entrypoint", json!([""]));
        check(&["-h", "boat", "busybox"], "/Hostname", json!("boat"));
        check(&["busybox"], "/HostConfig/NetworkMode", json!("default"));
        check(&["--net=none", "busybox"], "/HostConfig/NetworkMode", json!("none"));
        check(&["-p", "8080:80", "busybox"], "/HostConfig/PortBindings/80~1tcp/0/HostPort", json!("8080"));
        check(&["-p", "8080:80", "busybox"], "/ExposedPorts", json!({"80/tcp": {}}));
        check(&["-m", "64m", "busybox"], "/HostConfig/Memory", json!(64 << 20));
        check(&["--cpus=1.5", "busybox"], "/HostConfig/NanoCpus", json!(1_500_000_000));
        check(&["--pids-limit", "-1", "busybox"], "/HostConfig/PidsLimit", json!(-1));
        check(&["--read-only", "busybox"], "/HostConfig/ReadonlyRootfs", json!(true));
        check(&["--isolation", "linux-userns", "busybox"], "/HostConfig/Isolation", json!("linux-userns"));
        check(&["--tenant", "blue", "-l", "a", "busybox"], "/Labels", json!({"a": "", "proa.tenant": "blue"}));
    }

    #[test]
    fn name_and_platform_go_into_the_path() {
        let request = lower(&["--name", "a b", "--platform", "wasi/wasm", "busybox"]).expect("a request");
        assert_eq!(request.path(), "/containers/create?name=a%20b&platform=wasi%2Fwasm");
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
            &[],
        ] {
            assert!(lower(typed).is_err(), "{typed:?}");
        }
    }
}
