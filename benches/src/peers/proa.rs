//! proa itself: one host in a scratch root, asked by `proa run --rm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::oci_bundle;
use crate::round::{Contender, Found};

/// A host of its own root with the hello image in its store; ends with everything it runs when dropped.
#[derive(Debug)]
pub struct Node {
    program: PathBuf,
    socket: String,
    host: Child,
    root: TempDir,
}

impl Node {
    /// Starts `program host` and packs the hello sample as one index of Wasm and Linux.
    pub fn start(program: &Path) -> Result<Rc<Node>> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("proa.sock");
        let host = Command::new(program)
            .arg("host")
            .arg("--root")
            .arg(root.path())
            .arg("--socket")
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start `{} host`: has `.ci/dist` been run?", program.display()))?;
        let node = Node { program: program.to_owned(), socket: format!("unix://{}", path.display()), host, root };
        node.wait_until_ready(&path)?;
        node.load_hello()?;
        Ok(Rc::new(node))
    }

    /// `proa ARGS` against this host.
    pub fn proa(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("PROA_HOST", &self.socket).args(args);
        command
    }

    /// The folder of everything it keeps.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Imports busybox as `bench/busybox:latest`.
    pub fn load_busybox(&self) -> Result<()> {
        let bundle = oci_bundle::busybox_true(|_| ())?;
        let archive = bundle.path().join("image.tar");
        oci_bundle::pack(&bundle, &archive)?;
        let imported = self.proa(&["import"]).arg(&archive).arg("bench/busybox:latest").output()?;
        ensure!(imported.status.success(), "proa import: {}", String::from_utf8_lossy(&imported.stderr).trim());
        Ok(())
    }

    /// A container that sleeps until the node ends.
    pub fn idle(&self, name: &str) -> Result<()> {
        let words = ["run", "--detach", "--isolation", "linux", "--network", "none", "--name", name];
        let run = self.proa(&words).args(["bench/busybox:latest", "/bin/sleep", "1000000"]).output()?;
        ensure!(run.status.success(), "proa run: {}", String::from_utf8_lossy(&run.stderr).trim());
        Ok(())
    }

    fn wait_until_ready(&self, socket: &Path) -> Result<()> {
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            if start.elapsed() > Duration::from_secs(30) {
                bail!("the host did not come up within 30 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn load_hello(&self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let wasm = folder.path().join("hello.wasm");
        let linux = folder.path().join("hello");
        let layout = folder.path().join("layout");
        fs::write(&wasm, proa_samples::HELLO_COMPONENT)?;
        fs::write(&linux, proa_samples::HELLO_LINUX)?;
        let packed = self
            .proa(&["package"])
            .arg(&wasm)
            .arg("--with-linux")
            .arg(&linux)
            .args(["-t", "bench/hello:latest", "-o"])
            .arg(&layout)
            .output()?;
        ensure!(packed.status.success(), "proa package: {}", String::from_utf8_lossy(&packed.stderr).trim());
        let first = self.proa(&["run", "--rm", &format!("oci:{}", layout.display())]).output()?;
        ensure!(first.status.success(), "proa run: {}", String::from_utf8_lossy(&first.stderr).trim());
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.proa(&["system", "stop"]).output();
        let _ = self.host.wait();
    }
}

/// `proa run --rm --isolation MODEL` of the hello image.
pub fn run(node: &Rc<Node>, isolation: &'static str) -> Result<Found> {
    let name = format!("proa run --rm --isolation {isolation}");
    let keep = Rc::clone(node);
    let node = Rc::clone(node);
    let command = move |_| node.proa(&["run", "--rm", "--isolation", isolation, "bench/hello:latest"]);
    let trial = command(0).output()?;
    if !trial.status.success() {
        let reason = String::from_utf8_lossy(&trial.stderr).trim().to_owned();
        return Ok(Found::Missing { name, reason });
    }
    Ok(Found::Ready(Contender { name, ours: true, command: Box::new(command), keep: Box::new(keep) }))
}

/// `proa run --rm --network none` of busybox true.
pub fn run_busybox(node: &Rc<Node>) -> Found {
    let keep = Rc::clone(node);
    let node = Rc::clone(node);
    let words = ["run", "--rm", "--isolation", "linux", "--network", "none", "bench/busybox:latest", "/bin/true"];
    Found::Ready(Contender {
        name: "proa run --rm --network none".into(),
        ours: true,
        command: Box::new(move |_| node.proa(&words)),
        keep: Box::new(keep),
    })
}

/// The client's own floor: `proa version --client`, which connects to nobody.
pub fn client_floor(node: &Rc<Node>) -> Found {
    let keep = Rc::clone(node);
    let node = Rc::clone(node);
    Found::Ready(Contender {
        name: "proa --version (load and exit)".into(),
        ours: false,
        command: Box::new(move |_| node.proa(&["--version"])),
        keep: Box::new(keep),
    })
}
