//! podman and docker: two engines with one command line, each with storage, state and cgroups of its own.

pub(crate) mod docker;
pub(crate) mod podman;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::command::{self, Output};
use crate::{image, left, wait};

/// What the image is called.
pub(crate) const IMAGE: &str = "localhost/proa-test-busybox:latest";

/// The runtime under test.
pub(crate) fn runtime() -> PathBuf {
    std::env::var_os("PROA_TEST_RUNTIME").map_or_else(|| env!("CARGO_BIN_EXE_proa-linux").into(), PathBuf::from)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Podman,
    Docker,
    /// A daemon whose containers are all in a user namespace.
    RemappedDocker,
}

/// One engine with the image in its store.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) kind: Kind,
    folder: TempDir,
    daemon: Mutex<Option<Child>>,
}

impl Engine {
    /// Starts what has to run, and imports the image.
    pub(crate) fn start(kind: Kind) -> Result<Engine> {
        let folder = tempfile::Builder::new().prefix("proa-test-engine-").tempdir()?;
        // Root of a user namespace finds its own root file system in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let archive = image::archive(folder.path())?;
        let daemon = match kind {
            Kind::Podman => None,
            Kind::Docker => Some(docker::start(folder.path(), false)?),
            Kind::RemappedDocker => Some(docker::start(folder.path(), true)?),
        };
        let engine = Engine { kind, folder, daemon: Mutex::new(daemon) };
        engine.wait_until_ready()?;
        engine.ask(&["import", &archive.to_string_lossy(), IMAGE])?.text()?;
        Ok(engine)
    }

    /// The engine's command line, with what makes it ours.
    pub(crate) fn command(&self) -> Result<Command> {
        match self.kind {
            Kind::Podman => podman::command(self.path()),
            Kind::Docker | Kind::RemappedDocker => docker::command(self.path()),
        }
    }

    /// `ENGINE WORDS`, to its end.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Output> {
        command::run(self.command()?.args(words))
    }

    /// `ENGINE run --rm OPTIONS IMAGE PROGRAM`, to its end.
    pub(crate) fn run(&self, options: &[&str], program: &[&str]) -> Result<Output> {
        self.ask(&self.words(&["run", "--rm"], options, program))
    }

    /// What [`Engine::run`] asks, at a terminal of its own: as a person would.
    pub(crate) fn at_a_terminal(&self, words: &[&str], before: &str) -> Result<Output> {
        let mut line = self.command()?;
        line.args(words);
        let quoted: Vec<String> = std::iter::once(line.get_program())
            .chain(line.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let mut script = command::program("script")?;
        script.args(["--quiet", "--return", "--command"]).arg(format!("{before}; {}", quoted.join(" ")));
        script.arg("/dev/null").envs(line.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command::run(&script)
    }

    /// All words of `VERB OPTIONS IMAGE PROGRAM`.
    pub(crate) fn words<'w>(&self, verb: &[&'w str], options: &[&'w str], program: &[&'w str]) -> Vec<&'w str> {
        let own = match self.kind {
            Kind::Podman => &podman::OPTIONS[..],
            Kind::Docker | Kind::RemappedDocker => &docker::OPTIONS[..],
        };
        [verb, own, options, &[IMAGE], program].concat()
    }

    /// `ENGINE run --detach`: a container that is removed by force when dropped.
    pub(crate) fn detached(&self, options: &[&str], program: &[&str]) -> Result<Container<'_>> {
        let id = self.ask(&self.words(&["run", "--detach"], options, program))?.text()?;
        Ok(Container { engine: self, id })
    }

    /// `ENGINE create`, as [`Engine::detached`].
    pub(crate) fn created(&self, options: &[&str], program: &[&str]) -> Result<Container<'_>> {
        let id = self.ask(&self.words(&["create"], options, program))?.text()?;
        Ok(Container { engine: self, id })
    }

    /// The folder of this engine alone.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the runtime keeps its state for this engine.
    pub(crate) fn state(&self) -> PathBuf {
        match self.kind {
            Kind::Podman => podman::state(),
            Kind::Docker | Kind::RemappedDocker => docker::state(self.path()),
        }
    }

    /// Ends what was started, which must leave nothing.
    pub(crate) fn end(&self) -> Result<()> {
        let word = self.path().to_string_lossy().into_owned();
        if let Some(mut daemon) = self.daemon.lock().expect("no case panics while it holds this").take() {
            rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), rustix::process::Signal::TERM)?;
            daemon.wait()?;
            docker::unmount(self.path());
        }
        wait::until("the engine's processes are gone", || Ok(left::processes(&word).is_empty()))?;
        let parent = match self.kind {
            Kind::Podman => podman::PARENT,
            Kind::Docker | Kind::RemappedDocker => docker::PARENT,
        };
        left::remove_parents(parent);
        let mounts = left::mounts(&word)?;
        let own = |line: &&String| !line.contains("/storage/overlay ") && !line.contains("/netns/");
        ensure!(mounts.iter().filter(own).count() == 0, "mounts are left: {mounts:?}");
        // Nothing drops a static's folder.
        Ok(fs::remove_dir_all(self.path())?)
    }

    fn wait_until_ready(&self) -> Result<()> {
        wait::until("the engine answers", || Ok(self.ask(&["info"])?.code == Some(0)))
    }
}

/// A container that goes away with its value.
#[derive(Debug)]
pub(crate) struct Container<'e> {
    engine: &'e Engine,
    pub(crate) id: String,
}

impl Container<'_> {
    /// `ENGINE VERB OPTIONS ID`.
    pub(crate) fn ask(&self, verb: &str, options: &[&str]) -> Result<Output> {
        self.engine.ask(&[&[verb], options, &[&self.id]].concat())
    }

    /// `ENGINE exec OPTIONS ID PROGRAM`.
    pub(crate) fn exec(&self, options: &[&str], program: &[&str]) -> Result<Output> {
        self.engine.ask(&[&["exec"], options, &[&self.id], program].concat())
    }

    /// One field of `inspect`, by a Go template.
    pub(crate) fn field(&self, template: &str) -> Result<String> {
        self.ask("inspect", &["--format", template])?.text()
    }

    /// Waits until its output contains `text`.
    pub(crate) fn says(&self, text: &str) -> Result<()> {
        wait::until(&format!("the container says `{text}`"), || {
            let logs = self.ask("logs", &[])?;
            Ok(logs.out.contains(text) || logs.err.contains(text))
        })
    }

    /// Waits for its end: its exit status.
    pub(crate) fn status(&self) -> Result<String> {
        self.ask("wait", &[])?.text()
    }

    /// A file of its cgroup as it is outside: by its name in v1, or in v2.
    pub(crate) fn limit(&self, old: &str, new: &str) -> Result<String> {
        let groups = left::cgroups(&self.id);
        // A hybrid machine has the new names too, in a hierarchy that limits nothing.
        let mut files = [old, new].into_iter().flat_map(|name| groups.iter().map(move |group| group.join(name)));
        let found = files.find_map(|file| fs::read_to_string(file).ok());
        Ok(found.with_context(|| format!("`{old}` or `{new}` in one of {groups:?}"))?.trim().to_owned())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.ask("rm", &["--force"]);
    }
}
