//! The stock `docker` command line on a node's socket: the one this machine has, and an older one.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, Output, Running};
use crate::need::{self, Need};
use crate::node::Node;
use crate::program;
use crate::wait::PATIENCE;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The one on the path.
    Installed,
    /// Debian 13's.
    Older,
}

/// A command line on a node.
#[derive(Debug, Clone, Copy)]
pub struct Docker<'a> {
    pub node: &'a Node,
    pub version: Version,
}

impl Version {
    /// Both.
    pub const ALL: [Version; 2] = [Version::Installed, Version::Older];

    /// What a case that uses it needs.
    pub fn need(self) -> Need {
        match self {
            Version::Installed => Need::Peer("docker"),
            Version::Older => Need::OlderDocker,
        }
    }

    fn program(self) -> Result<PathBuf> {
        match self {
            Version::Installed => need::peer("docker").context("`docker` is not installed"),
            Version::Older => program::older_docker(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Installed => "docker",
            Version::Older => "docker-26",
        })
    }
}

impl Docker<'_> {
    /// `docker ARGS` to its end.
    ///
    /// # Errors
    /// When it is not installed or does not end in time.
    pub fn run(self, args: &[&str]) -> Result<Output> {
        command::run(&mut self.line(args)?, PATIENCE)
    }

    /// `docker ARGS` to its end, which must be a good one: its standard output as text.
    ///
    /// # Errors
    /// As [`run`](Docker::run), and any other exit code than 0.
    pub fn text(self, args: &[&str]) -> Result<String> {
        Ok(self.run(args)?.success()?.text())
    }

    /// `docker ARGS` to its end with `input` on its standard input.
    ///
    /// # Errors
    /// As [`run`](Docker::run).
    pub fn feed(self, args: &[&str], input: &[u8]) -> Result<Output> {
        command::feed(&mut self.line(args)?, input.to_vec(), PATIENCE)
    }

    /// `docker ARGS` in the background.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start(self, args: &[&str]) -> Result<Running> {
        command::start(&mut self.line(args)?)
    }

    /// `docker ARGS`, not yet started.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn line(self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.version.program()?);
        self.node.own_home(&mut command);
        command.args(args).env("DOCKER_HOST", format!("unix://{}", self.node.socket().display()));
        // What a person types; the terminal's own words would differ from machine to machine.
        command.env("DOCKER_CLI_HINTS", "false").env_remove("DOCKER_API_VERSION");
        Ok(command)
    }
}

/// `docker ARGS` of the installed version to its end.
///
/// # Errors
/// When it is not installed or does not end in time.
pub fn docker(node: &Node, args: &[&str]) -> Result<Output> {
    Docker { node, version: Version::Installed }.run(args)
}

/// `docker ARGS` of the installed version, not yet started.
///
/// # Errors
/// When it is not installed.
pub fn line(node: &Node, args: &[&str]) -> Result<Command> {
    Docker { node, version: Version::Installed }.line(args)
}
