//! A bundle with a busybox, and the program under test on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Failed;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proa-linux");

/// Numbers of bundles, so that ids are unique on the machine.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Why no case can run here.
pub(crate) fn lacks() -> Option<String> {
    if busybox().is_none() {
        return Some("there is no static busybox: apt install busybox-static".to_owned());
    }
    let tried = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    let allowed = tried.is_ok_and(|output| output.status.success());
    (!allowed).then(|| "this user may not make namespaces: CAP_SYS_ADMIN is missing".to_owned())
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists())
}

/// A bundle, and where its container's state is kept.
pub(crate) struct Bundle {
    folder: tempfile::TempDir,
    /// config.json, to be changed before it is used.
    pub(crate) spec: Value,
    /// Its container's id.
    pub(crate) id: String,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) error: String,
}

impl Bundle {
    pub(crate) fn new() -> Result<Bundle, Failed> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("rootfs");
        for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::copy(busybox().ok_or("no busybox")?, root.join("bin/busybox"))?;
        for name in
            ["sh", "true", "cat", "id", "ls", "ps", "sleep", "echo", "tty", "readlink", "kill", "grep", "stty", "mkdir"]
        {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
        }
        let id = format!("verbs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut bundle = Bundle { folder, spec: Value::Null, id };
        let made = bundle.program(&["spec", "--bundle", &bundle.path("")])?;
        if made.code != Some(0) {
            return Err(made.error.into());
        }
        bundle.spec = serde_json::from_str(&fs::read_to_string(bundle.path("config.json"))?)?;
        bundle.spec["process"]["terminal"] = json!(false);
        Ok(bundle)
    }

    /// A path in the bundle's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn runs(&mut self, command: &[&str]) -> &mut Bundle {
        self.spec["process"]["args"] = json!(command);
        self
    }

    /// Writes config.json as it stands.
    pub(crate) fn write(&self) -> Result<(), Failed> {
        Ok(fs::write(self.path("config.json"), self.spec.to_string())?)
    }

    /// The program with these words, its state in the bundle's folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--root").arg(self.path("state")).args(words).current_dir(self.folder.path());
        command
    }

    /// Runs it to its end. A file takes its output: a detached guest keeps a pipe open.
    pub(crate) fn program(&self, words: &[&str]) -> Result<Ended, Failed> {
        self.end(&mut self.command(words))
    }

    pub(crate) fn end(&self, command: &mut Command) -> Result<Ended, Failed> {
        let (output, error) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
        let status = command.stdin(Stdio::null()).stdout(output.reopen()?).stderr(error.reopen()?).status()?;
        let text = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Ended { code: status.code(), output: text(output.path())?, error: text(error.path())? })
    }

    /// Writes config.json and runs the container to its end.
    pub(crate) fn run(&mut self, command: &[&str]) -> Result<Ended, Failed> {
        self.runs(command).write()?;
        self.program(&["run", &self.id])
    }

    /// Writes config.json, and has a container that runs `command`.
    pub(crate) fn started(&mut self, command: &[&str]) -> Result<(), Failed> {
        self.runs(command).write()?;
        self.program(&["create", &self.id])?.succeeded()?;
        self.program(&["start", &self.id])?.succeeded().map(drop)
    }

    pub(crate) fn status(&self) -> Result<String, Failed> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn state(&self) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.program(&["state", &self.id])?.succeeded()?.output)?)
    }

    /// Waits until its container has that status.
    pub(crate) fn becomes(&self, status: &str) -> Result<(), Failed> {
        for _ in 0..2000 {
            if self.status()? == status {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Err(format!("it is {} and never becomes {status}", self.status()?).into())
    }

    /// No state, no cgroup and no mount of the container's.
    pub(crate) fn leaves_nothing(&self) -> Result<(), Failed> {
        self.program(&["delete", "--force", &self.id])?.succeeded()?;
        let left: Vec<_> =
            fs::read_dir(self.path("state")).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, Vec::<std::ffi::OsString>::new(), "state is left");
        for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
            let group = hierarchy.path().join(format!("proa-linux-{}", self.id));
            assert!(!group.exists(), "{} is left", group.display());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        assert!(!mounts.contains(&self.path("")), "a mount is left: {mounts}");
        Ok(())
    }
}

impl Drop for Bundle {
    /// A case that failed leaves nothing running either.
    fn drop(&mut self) {
        drop(self.program(&["delete", "--force", &self.id]));
    }
}

impl Ended {
    pub(crate) fn succeeded(self) -> Result<Ended, Failed> {
        if self.code == Some(0) { Ok(self) } else { Err(format!("it failed: {self:?}").into()) }
    }

    /// It failed, and said so in one line with these words in it.
    pub(crate) fn refused(&self, words: &str) {
        assert_ne!(self.code, Some(0), "{self:?}");
        assert!(self.error.contains(words), "`{words}` is not in {self:?}");
        assert_eq!(self.error.trim_end().lines().count(), 1, "{self:?}");
    }
}
