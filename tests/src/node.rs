//! One running host with a root and a socket of its own, under our eyes as a child process.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::api::{self, Answer};
use crate::command::{self, Output};
use crate::container::Container;
use crate::guest;
use crate::harness;
use crate::isolation::Isolation;
use crate::leftovers;
use crate::wait::{self, PATIENCE};

/// A host, its root, and what was written down while it ran. A case that owns one ends with [`close`](Node::close),
/// which checks that nothing is left.
#[derive(Debug)]
pub struct Node {
    scratch: TempDir,
    root: PathBuf,
    socket: PathBuf,
    host: Mutex<Option<Child>>,
    probe: OnceLock<String>,
    closed: Mutex<bool>,
}

static SHARED: OnceLock<Result<Node, String>> = OnceLock::new();
static NAMES: AtomicU32 = AtomicU32::new(1);

/// A name no other container of this process has.
pub fn fresh_name(prefix: &str) -> String {
    format!("{prefix}-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// Stops the shared node, if any case started it.
pub(crate) fn close_shared() -> Result<()> {
    match SHARED.get() {
        Some(Ok(node)) => {
            let closed = node.close();
            // A static is never dropped.
            let _ = fs::remove_dir_all(node.scratch());
            closed
        }
        _ => Ok(()),
    }
}

impl Node {
    /// Starts a host on a fresh root and waits until it listens.
    ///
    /// # Errors
    /// With the host's own words when it does not come up.
    pub fn start() -> Result<Node> {
        let node = Node::asleep()?;
        node.wake()?;
        Ok(node)
    }

    /// A root and a socket without a host.
    ///
    /// # Errors
    /// When no scratch folder can be made.
    pub fn asleep() -> Result<Node> {
        Node::below("")
    }

    /// As [`asleep`](Node::asleep), with the root below the folders `way`.
    ///
    /// # Errors
    /// When no scratch folder can be made.
    pub fn below(way: &str) -> Result<Node> {
        let scratch = tempfile::Builder::new().prefix("proa-test-").tempdir()?;
        let base = scratch.path().canonicalize()?;
        fs::create_dir(base.join("home"))?;
        // The socket of a client has to fit into 108 bytes; a root does not.
        let socket = if way.is_empty() { base.join("root").join("proa.sock") } else { base.join("proa.sock") };
        let base = if way.is_empty() { base } else { base.join(way) };
        fs::create_dir_all(&base)?;
        Ok(Node {
            root: base.join("root"),
            socket,
            scratch,
            host: Mutex::new(None),
            probe: OnceLock::new(),
            closed: Mutex::new(false),
        })
    }

    /// The node that all cases of a suite share.
    ///
    /// # Errors
    /// When it did not start; every case is told the same.
    pub fn shared() -> Result<&'static Node> {
        let node = SHARED.get_or_init(|| Node::start().map_err(|error| format!("{error:?}")));
        node.as_ref().map_err(|error| anyhow!("the shared node did not start: {error}"))
    }

    /// Starts the host again after [`kill`](Node::kill) or [`terminate`](Node::terminate), and waits until it listens.
    ///
    /// # Errors
    /// With the host's own words when it does not come up.
    pub fn wake(&self) -> Result<()> {
        self.wake_with(&[])
    }

    /// As [`wake`](Node::wake), with more flags for the host.
    ///
    /// # Errors
    /// As [`wake`](Node::wake).
    pub fn wake_with(&self, flags: &[&str]) -> Result<()> {
        let line = ["host", "--root", self.text(&self.root), "--socket", self.text(&self.socket)];
        let mut command = self.command(&line);
        command.args(flags);
        self.wake_by(&mut command)
    }

    /// As [`wake_with`](Node::wake_with) for a root that is a disk of its own, in the host's memory and of `megabytes`: it is
    /// mounted for the host alone, and gone with the last process of the node. The node must stand [`below`](Node::below) a
    /// folder.
    ///
    /// # Errors
    /// As [`wake`](Node::wake).
    pub fn wake_on_disk(&self, megabytes: u32) -> Result<()> {
        let disk = self.root.parent().context("a root has a parent")?;
        let mount = format!("mount -t tmpfs -o size={megabytes}m,mode=0755 disk \"$1\" && shift && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &mount, "sh", self.text(disk)]);
        command.arg(harness::program());
        command.args(["host", "--root", self.text(&self.root), "--socket", self.text(&self.socket)]);
        self.own_home(&mut command);
        self.wake_by(&mut command)
    }

    /// A path as the host sees it.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn seen_by_host(&self, path: &Path) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.pid()?)).join(path.strip_prefix("/")?))
    }

    fn wake_by(&self, command: &mut Command) -> Result<()> {
        let mut host = self.host();
        ensure!(host.is_none(), "the host runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let listens = wait::found("the host listens", PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                bail!("the host ended with {status} instead of listening");
            }
            Ok(UnixStream::connect(&self.socket).ok())
        });
        *host = Some(child);
        listens.map(drop).with_context(|| self.said())
    }

    /// SIGKILL to the host, and waits until it is gone. What it ran goes on.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::KILL).map(drop)
    }

    /// SIGTERM to the host, and waits until it is gone; its exit code must be 0.
    ///
    /// # Errors
    /// When it was not running, does not end, or ends with another code.
    pub fn terminate(&self) -> Result<()> {
        let code = self.end(Signal::TERM)?;
        ensure!(code == Some(0), "SIGTERM ended the host with {code:?}; {}", self.said());
        Ok(())
    }

    fn end(&self, signal: Signal) -> Result<Option<i32>> {
        let mut child = self.host().take().context("the host does not run")?;
        kill_process(Pid::from_child(&child), signal)?;
        self.reap(&mut child)
    }

    fn reap(&self, child: &mut Child) -> Result<Option<i32>> {
        if !command::ends_by(child, Instant::now() + Duration::from_secs(20))? {
            child.kill()?;
            child.wait()?;
            bail!("the host did not end within 20 s; {}", self.said());
        }
        Ok(child.wait()?.code())
    }

    /// Waits for the end of a host that was told to stop by a command.
    ///
    /// # Errors
    /// When it was not running or does not end.
    pub fn forget(&self) -> Result<()> {
        let mut child = self.host().take().context("the host does not run")?;
        self.reap(&mut child).map(drop)
    }

    /// SIGKILL to the host and a new one in its place.
    ///
    /// # Errors
    /// As [`kill`](Node::kill) and [`wake`](Node::wake).
    pub fn restart(&self) -> Result<()> {
        self.kill()?;
        self.wake()
    }

    /// The host's process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.host().as_ref().context("the host does not run")?.id())
    }

    fn host(&self) -> MutexGuard<'_, Option<Child>> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A folder beside the root for whatever a case needs; removed with the node.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// What the host wrote to its standard error.
    pub fn said(&self) -> String {
        format!("the host said: {}", fs::read_to_string(self.log()).unwrap_or_default())
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("host.log")
    }

    fn text<'a>(&self, path: &'a Path) -> &'a str {
        path.to_str().expect("scratch folders have names in UTF-8")
    }

    /// The program with `args`, its environment set for this node.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(harness::program());
        command.args(args).env("PROA_HOST", format!("unix://{}", self.socket.display()));
        self.own_home(&mut command);
        command
    }

    /// Gives `command` this node's home folder, and nothing that would lead it to another host.
    pub fn own_home(&self, command: &mut Command) {
        let home = self.scratch.path().join("home");
        command.env("HOME", &home).env("XDG_DATA_HOME", home.join("data")).env_remove("PROA_ROOT");
        for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"] {
            command.env_remove(name);
        }
    }

    /// `proa ARGS` to its end.
    ///
    /// # Errors
    /// When it does not end in time; an exit code other than 0 is no error here.
    pub fn proa(&self, args: &[&str]) -> Result<Output> {
        command::run(&mut self.command(args), PATIENCE)
    }

    /// `proa ARGS` to its end, with `input` on its standard input.
    ///
    /// # Errors
    /// As [`proa`](Node::proa).
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Result<Output> {
        command::feed(&mut self.command(args), input.to_vec(), PATIENCE)
    }

    /// `proa run --rm --isolation ISOLATION FLAGS probe ARGS`.
    ///
    /// # Errors
    /// As [`proa`](Node::proa).
    pub fn run(&self, isolation: Isolation, flags: &[&str], args: &[&str]) -> Result<Output> {
        self.proa(&self.run_line(isolation, flags, args)?)
    }

    /// The arguments of [`run`](Node::run).
    ///
    /// # Errors
    /// When the probe cannot be packed or loaded.
    pub fn run_line<'a>(&'a self, isolation: Isolation, flags: &[&'a str], args: &[&'a str]) -> Result<Vec<&'a str>> {
        Ok([&["run", "--rm", "--isolation", isolation.name()], flags, &[self.probe()?], args].concat())
    }

    /// A container of the probe that runs in the background.
    ///
    /// # Errors
    /// When it does not start.
    pub fn detached(&self, isolation: Isolation, flags: &[&str], args: &[&str]) -> Result<Container<'_>> {
        let flags = [&["--isolation", isolation.name()], flags].concat();
        self.detached_image(&flags, self.probe()?, args)
    }

    /// A container of `image` that runs in the background.
    ///
    /// # Errors
    /// When it does not start.
    pub fn detached_image(&self, flags: &[&str], image: &str, args: &[&str]) -> Result<Container<'_>> {
        let output = self.proa(&[&["run", "-d"], flags, &[image], args].concat())?.success()?;
        let id = output.text();
        ensure!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "not a container's id: {output}");
        Ok(Container::new(self, id))
    }

    /// The reference of the probe, which is loaded on its first use.
    ///
    /// # Errors
    /// When it cannot be packed or loaded.
    pub fn probe(&self) -> Result<&str> {
        if self.probe.get().is_none() {
            let reference = self.load(guest::probe_layout(self)?)?;
            let _ = self.probe.set(reference);
        }
        Ok(self.probe.get().expect("it was just set"))
    }

    /// Loads an OCI layout into the host's store and returns the reference it got.
    ///
    /// # Errors
    /// When the host refuses it or names no reference.
    pub fn load(&self, layout: &Path) -> Result<String> {
        let answer = self.post("/images/load?quiet=1", "application/x-tar", &guest::tar_of(layout)?)?.success()?;
        let said = answer.text();
        let reference = said.lines().find_map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            let text = value["stream"].as_str()?.trim();
            let name = text.strip_prefix("Loaded image: ").or_else(|| text.strip_prefix("Loaded image ID: "))?;
            Some(name.to_owned())
        });
        reference.with_context(|| format!("the host loaded nothing by name: {said}"))
    }

    /// A GET to the API.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn get(&self, target: &str) -> Result<Answer> {
        api::request(&self.socket, "GET", target, "application/json", b"")
    }

    /// A POST to the API.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn post(&self, target: &str, media_type: &str, body: &[u8]) -> Result<Answer> {
        api::request(&self.socket, "POST", target, media_type, body)
    }

    /// `proa system stop`, and then nothing is left: no process, mount, cgroup or file in the run directory.
    ///
    /// # Errors
    /// Lists what is left.
    pub fn close(&self) -> Result<()> {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let stopped = if self.host().is_some() { self.proa(&["system", "stop"])?.success().map(drop) } else { Ok(()) };
        let ended = match self.host().take() {
            Some(mut child) if stopped.is_ok() => self.reap(&mut child).map(drop),
            Some(mut child) => child.kill().and_then(|()| child.wait()).map(drop).map_err(Into::into),
            None => Ok(()),
        };
        let nothing = stopped.and(ended).and_then(|()| leftovers::none(&self.root));
        leftovers::sweep(&self.root);
        nothing.with_context(|| self.said())
    }
}

impl Drop for Node {
    /// A case that failed half-way has its own reason, which must not be hidden by what its node left behind.
    fn drop(&mut self) {
        let closed = *self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed {
            return;
        }
        if let Err(error) = self.close() {
            eprintln!("after a failed case: {error:#}");
        }
    }
}
