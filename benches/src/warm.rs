//! The warm zygote with a network namespace that is there already, beside a bare program that makes the same system calls.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::Spec;
use proa_linux::zygote::protocol::Request;
use proa_linux::zygote::{self, Client};
use proa_linux::{Facts, Files, Plan, Prepared, Streams, cgroup};
use serde_json::json;
use tempfile::TempDir;

use crate::Samples;
use crate::peers::oci_bundle;

const PARENT: &str = "proa-bench";
const FLOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/floor/floor.c");

/// Both, in turns of ten rounds.
///
/// # Errors
/// When the machine lacks a compiler, a privilege or a busybox.
pub fn measure(rounds: usize, pause: Duration) -> Result<Vec<Samples>> {
    let folder = tempfile::tempdir()?;
    let network = Network::make(folder.path())?;
    let place = network.path.to_string_lossy().into_owned();
    let bundle = oci_bundle::busybox_true(|spec| {
        for namespace in spec["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
            if namespace["type"] == "network" {
                namespace["path"] = json!(place);
            }
        }
    })?;
    let floor = Floor::build(folder.path(), &bundle, &network)?;
    let mut zygote = Zygote::start(folder.path(), &bundle)?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    zygote.once()?;
    for turn in 0..rounds.div_ceil(10) {
        for _ in 0..10 {
            thread::sleep(pause); // part of what is measured: a start after quiet is what users see (sparse)
            ours.push(zygote.once()?);
        }
        // The first of its process warms it.
        bare.extend(floor.run(11, pause).with_context(|| format!("turn {turn}"))?.split_off(1));
    }
    zygote.end()?;
    Ok(vec![
        Samples::new("warm zygote: request to exit collected", true, ours),
        Samples::new("floor: a bare C program, clone3 to reaped", false, bare),
    ])
}

/// A network namespace kept by a bind mount.
struct Network {
    path: PathBuf,
}

impl Network {
    fn make(folder: &Path) -> Result<Network> {
        let path = folder.join("network");
        fs::write(&path, "")?;
        let made = Command::new("unshare").arg(format!("--net={}", path.display())).arg("true").output()?;
        ensure!(made.status.success(), "unshare --net: {}", String::from_utf8_lossy(&made.stderr).trim());
        Ok(Network { path })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

/// A zygote in a process of its own, asked as a host asks it.
struct Zygote {
    client: Client,
    facts: Facts,
    spec: Spec,
    root: PathBuf,
    count: usize,
}

impl Zygote {
    fn start(folder: &Path, bundle: &TempDir) -> Result<Zygote> {
        let run = folder.join("run");
        fs::create_dir(&run)?;
        zygote::spawn(&run)?;
        let (client, facts) = Client::connect(&run)?;
        let spec = Spec::load(bundle.path().join("config.json"))?;
        Ok(Zygote { client, facts, spec, root: bundle.path().join("rootfs"), count: 0 })
    }

    /// One container; what is prepared before the request and removed after the exit does not count.
    fn once(&mut self) -> Result<Duration> {
        self.count += 1;
        let id = format!("warm-{}-{}", std::process::id(), self.count);
        let group = format!("{PARENT}/{id}");
        let request = proa_linux::Request {
            group: &group,
            files: Files::Root(&self.root),
            streams: Streams::Pipes { stdin: false },
            user_namespace: None,
            default_filter: false,
            init: false,
            keyring: Some("_ses.warm"),
            direct: None,
        };
        let plan = Plan::new(&self.spec, &request, &self.facts)?;
        let prepared = Prepared::new(&plan)?;
        let descriptors: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
        let (name, given) = (id.clone(), prepared.slots);
        let begun = Instant::now();
        self.client.ask(|ticket| Request::Create { ticket, id: name.clone(), plan, given }, &descriptors)?;
        self.client.ask(|ticket| Request::Start { ticket, id: name.clone() }, &[])?;
        let exit = self.client.exit(&id)?;
        let took = begun.elapsed();
        if exit.code != 0 {
            bail!("busybox true under the zygote ended with {}", exit.code);
        }
        self.client.ask(|ticket| Request::Acknowledge { ticket, id: name.clone() }, &[])?;
        cgroup::remove(&self.facts.cgroups, &group)?;
        Ok(took)
    }

    fn end(mut self) -> Result<()> {
        self.client.ask(|ticket| Request::Stop { ticket }, &[])?;
        cgroup::remove_parent(&self.facts.cgroups, PARENT);
        Ok(())
    }
}

/// The bare program, with groups in the hierarchies that the plan joins.
struct Floor {
    program: PathBuf,
    root: PathBuf,
    network: PathBuf,
    groups: Vec<PathBuf>,
}

impl Floor {
    fn build(folder: &Path, bundle: &TempDir, network: &Network) -> Result<Floor> {
        let program = folder.join("floor");
        let built = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(FLOOR).output();
        let built = built.context("run the C compiler `cc`")?;
        ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr).trim());
        let mut groups = Vec::new();
        for controller in ["memory", "pids", "cpu", "cpuacct", "devices"] {
            let top = Path::new("/sys/fs/cgroup").join(controller);
            if top.is_dir() {
                let group = top.join(format!("{PARENT}-floor"));
                fs::create_dir_all(&group)?;
                groups.push(group);
            }
        }
        let root = bundle.path().join("rootfs");
        Ok(Floor { program, root, network: network.path.clone(), groups })
    }

    fn run(&self, rounds: usize, pause: Duration) -> Result<Vec<Duration>> {
        let mut command = Command::new(&self.program);
        command.arg(&self.root).arg(&self.network).arg(rounds.to_string()).arg(pause.as_millis().to_string());
        let output = command.args(self.groups.iter().map(|group| group.join("tasks"))).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| Ok(Duration::from_nanos(line.parse()?))).collect()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        for group in &self.groups {
            let _ = fs::remove_dir(group);
        }
    }
}
