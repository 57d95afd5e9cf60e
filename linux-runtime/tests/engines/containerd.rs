//! containerd, asked by its own client: `ctr run --runc-binary`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{self, Output};
use crate::engine::{IMAGE, runtime};
use crate::{Case, image, left, wait};

/// The cgroup below which its containers are.
const PARENT: &str = "proa-test-containerd";

pub(crate) const CASES: [Case<Containerd>; 5] = [
    ("output and status", output_and_status),
    ("exec, pause, resume, kill, removal", life),
    ("a terminal", terminal),
    ("a user namespace", user_namespace),
    ("a root that is read-only, and namespaces of the machine's", options),
];

/// A containerd of its own folders, with the image in its store.
#[derive(Debug)]
pub(crate) struct Containerd {
    folder: TempDir,
    daemon: Mutex<Option<Child>>,
}

impl Containerd {
    pub(crate) fn start() -> Result<Containerd> {
        let folder = tempfile::Builder::new().prefix("proa-test-containerd-").tempdir()?;
        let path = folder.path();
        let settings = path.join("config.toml");
        // The last is a Kubernetes runtime's: it wants a network of its own.
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            path.join("root"),
            path.join("run"),
            path.join("containerd.sock"),
        );
        fs::write(&settings, text)?;
        let log = File::create(path.join("log"))?;
        let mut daemon = command::program("containerd")?;
        daemon.arg("--config").arg(settings).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let daemon = daemon.spawn()?;
        let containerd = Containerd { folder, daemon: Mutex::new(Some(daemon)) };
        wait::until("containerd answers", || Ok(containerd.ask(&["version"])?.code == Some(0)))?;
        let layout = image::layout(containerd.folder.path(), IMAGE)?;
        let layout = layout.to_string_lossy();
        containerd.ask(&["images", "import", "--snapshotter", "native", &layout])?.text()?;
        Ok(containerd)
    }

    /// `ctr WORDS`, to its end.
    fn ask(&self, words: &[&str]) -> Result<Output> {
        let mut ctr = command::program("ctr")?;
        ctr.arg("--address").arg(self.folder.path().join("containerd.sock")).args(words);
        command::run(&ctr)
    }

    /// `ctr run OPTIONS IMAGE NAME PROGRAM`, on the runtime under test.
    fn run(&self, name: &str, options: &[&str], program: &[&str]) -> Result<Output> {
        let runtime = runtime();
        let (runtime, state) = (runtime.to_string_lossy(), self.state());
        let cgroup = format!("/{PARENT}/{name}");
        let own = ["run", "--snapshotter", "native", "--runc-binary", &runtime, "--runc-root", &state];
        self.ask(&[&own[..], &["--cgroup", &cgroup], options, &[IMAGE, name], program].concat())
    }

    fn state(&self) -> String {
        self.folder.path().join("state").to_string_lossy().into_owned()
    }

    /// What `ctr tasks list` says of one.
    fn status(&self, name: &str) -> Result<String> {
        let all = self.ask(&["tasks", "list"])?.text()?;
        let line = all.lines().find(|line| line.split_whitespace().next() == Some(name));
        Ok(line.and_then(|line| line.split_whitespace().last()).unwrap_or_default().to_owned())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.ask(&["tasks", "delete", "--force", name])?.text()?;
        self.ask(&["containers", "delete", name])?.text()?;
        left::nothing(name, Path::new(&self.state()))
    }

    /// Ends the daemon, which must leave nothing.
    pub(crate) fn end(&self) -> Result<()> {
        let word = self.folder.path().to_string_lossy().into_owned();
        if let Some(mut daemon) = self.daemon.lock().expect("no case panics while it holds this").take() {
            kill_process(Pid::from_child(&daemon), Signal::TERM)?;
            daemon.wait()?;
        }
        wait::until("its processes are gone", || Ok(left::processes(&word).is_empty()))?;
        left::remove_parents(PARENT);
        let mounts = left::mounts(&word)?;
        ensure!(mounts.is_empty(), "mounts are left: {mounts:?}");
        // Nothing drops a static's folder.
        Ok(fs::remove_dir_all(self.folder.path())?)
    }
}

fn output_and_status(containerd: &Containerd) -> Result<()> {
    let options = ["--rm", "--memory-limit", "50331648", "--env", "SHIP=proa", "--cwd", "/tmp"];
    let script = "pwd; echo $SHIP; echo err >&2; exit 7";
    let output = containerd.run("ctr-output", &options, &["sh", "-c", script])?;
    ensure!(output.code == Some(7) && output.out == "/tmp\nproa\n", "{output}");
    ensure!(output.err.ends_with("err\n"), "{output}");
    left::nothing("ctr-output", Path::new(&containerd.state()))?;
    let output = containerd.run("ctr-missing", &["--rm"], &["/no/such/program"])?;
    ensure!(output.code == Some(1) && output.err.contains("/no/such/program"), "{output}");
    left::nothing("ctr-missing", Path::new(&containerd.state()))
}

fn life(containerd: &Containerd) -> Result<()> {
    containerd.run("ctr-life", &["--detach", "--memory-limit", "50331648"], &["sleep", "1000"])?.text()?;
    let limits = left::cgroups("ctr-life").into_iter().flat_map(|group| {
        ["memory.limit_in_bytes", "memory.max"].map(|name| fs::read_to_string(group.join(name)).unwrap_or_default())
    });
    ensure!(limits.into_iter().any(|limit| limit.trim() == "50331648"), "its limit");
    let exec = ["tasks", "exec", "--exec-id", "second", "ctr-life", "sh", "-c"];
    let output = containerd.ask(&[&exec[..], &["cat /proc/1/comm; echo err >&2; exit 9"]].concat())?;
    ensure!(output.code == Some(9) && output.out == "sleep\n" && output.err.contains("err\n"), "{output}");
    containerd.ask(&["tasks", "pause", "ctr-life"])?.text()?;
    ensure!(containerd.status("ctr-life")? == "PAUSED");
    containerd.ask(&["tasks", "resume", "ctr-life"])?.text()?;
    ensure!(containerd.status("ctr-life")? == "RUNNING");
    let listed = containerd.ask(&["tasks", "ps", "ctr-life"])?.text()?;
    ensure!(listed.lines().count() == 2, "one process: {listed}");
    containerd.ask(&["tasks", "kill", "--signal", "KILL", "ctr-life"])?.text()?;
    wait::until("it has stopped", || Ok(containerd.status("ctr-life")? == "STOPPED"))?;
    let deleted = containerd.ask(&["tasks", "delete", "ctr-life"])?;
    ensure!(deleted.err.contains("137"), "the status of a killed task: {deleted}");
    containerd.ask(&["containers", "delete", "ctr-life"])?.text()?;
    left::nothing("ctr-life", Path::new(&containerd.state()))
}

fn terminal(containerd: &Containerd) -> Result<()> {
    let mut line = command::program("script")?;
    let folder = containerd.folder.path().join("containerd.sock");
    let words = format!(
        "ctr --address {} run --rm --tty --snapshotter native --cgroup /{PARENT}/ctr-tty --runc-binary {} --runc-root {} \
         {IMAGE} ctr-tty sh -c 'while [ \"$(stty size)\" != \"31 93\" ]; do sleep 0.02; done; tty; exit 5'",
        folder.display(),
        runtime().display(),
        containerd.state(),
    );
    line.args(["--quiet", "--return", "--command"]).arg(format!("stty cols 93 rows 31; {words}")).arg("/dev/null");
    let output = command::run(&line)?;
    ensure!(output.code == Some(5) && output.out.contains("/dev/pts/0"), "{output}");
    Ok(())
}

fn user_namespace(containerd: &Containerd) -> Result<()> {
    let options = ["--detach", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    containerd.run("ctr-mapped", &options, &["sleep", "1000"])?.text()?;
    let exec = ["tasks", "exec", "--exec-id", "second", "ctr-mapped", "cat", "/proc/self/uid_map"];
    let map = containerd.ask(&exec)?.text()?;
    ensure!(map.split_whitespace().eq(["0", "100000", "65536"]), "{map}");
    containerd.remove("ctr-mapped")
}

fn options(containerd: &Containerd) -> Result<()> {
    let options = ["--rm", "--read-only", "--net-host", "--seccomp"];
    let script = "touch /made; readlink /proc/self/ns/net; grep ^Seccomp: /proc/self/status";
    let output = containerd.run("ctr-options", &options, &["sh", "-c", script])?;
    let own = fs::read_link("/proc/self/ns/net")?;
    ensure!(output.out == format!("{}\nSeccomp:\t2\n", own.display()), "{output}");
    ensure!(output.err.contains("Read-only file system"), "{output}");
    Ok(())
}
