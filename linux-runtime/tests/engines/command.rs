//! Programs of the engines, run to their end under a deadline, and what they say.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    /// Its standard output, when it ended with 0.
    pub(crate) fn text(self) -> Result<String> {
        self.exits(0)
    }

    /// Its standard output, when it ended with `code`.
    pub(crate) fn exits(self, code: i32) -> Result<String> {
        ensure!(self.code == Some(code), "expected exit code {code}: {self}");
        Ok(self.out.trim_end_matches(['\n', '\r']).to_owned())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {:?}\nstdout: {}\nstderr: {}", self.line, self.code, self.out, self.err)
    }
}

/// Where a program lies, the administrator's folders included.
pub(crate) fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), "/bin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// `name`, not yet given any words.
pub(crate) fn program(name: &str) -> Result<Command> {
    Ok(Command::new(found(name).with_context(|| format!("`{name}` is not installed"))?))
}

/// Runs a command to its end; one that hangs is killed after two minutes, and says so by its exit code.
pub(crate) fn run(command: &Command) -> Result<Output> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after", "5", "120"]).args(words).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    let output = bounded.output().with_context(|| format!("run `{line}`"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output { line, code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
}
