//! OCI runtimes: `NAME run` of one bundle, which is the same for all.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::on_path;
use crate::round::{Contender, Found};

/// One runtime's program, with a folder for its state.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub program: PathBuf,
    /// What it says of itself: its name and version.
    pub version: String,
    pub ours: bool,
    state: Rc<TempDir>,
}

impl Runtime {
    /// By path, or by name on the PATH; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be asked for its version.
    pub fn find(program: &Path, ours: bool) -> Result<Option<Runtime>> {
        let found = if program.components().count() > 1 { program.is_file().then(|| program.into()) } else { None };
        let Some(program) = found.or_else(|| on_path(&program.to_string_lossy())) else { return Ok(None) };
        let asked = Command::new(&program).arg("--version").output();
        let asked = asked.with_context(|| format!("run `{} --version`", program.display()))?;
        let version = String::from_utf8_lossy(&asked.stdout).lines().next().unwrap_or_default().to_owned();
        Ok(Some(Runtime { program, version, ours, state: Rc::new(tempfile::tempdir()?) }))
    }

    /// `run` of the bundle as container `id`.
    pub fn command(&self, bundle: &Path, id: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.state.path()).arg("run").arg("--bundle").arg(bundle).arg(id);
        command
    }

    /// What lies in its state folder, which is nothing when all has ended.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn left(&self) -> Result<usize> {
        Ok(std::fs::read_dir(self.state.path())?.count())
    }

    /// As a contender; missing, with its own words, when it cannot run the bundle here.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub fn contender(&self, bundle: &Path) -> Result<Found> {
        let name = format!("{} run", self.version);
        let trial = self.command(bundle, "bench-trial").output()?;
        if !trial.status.success() {
            let reason = String::from_utf8_lossy(&trial.stderr).trim().to_owned();
            return Ok(Found::Missing { name, reason });
        }
        let (this, bundle) = (self.clone(), bundle.to_owned());
        let command = move |round| this.command(&bundle, &format!("bench-{}-{round}", std::process::id()));
        Ok(Found::Ready(Contender { name, ours: self.ours, command: Box::new(command), keep: Box::new(()) }))
    }
}
