//! A container that runs in the background, seen through the command line; removed when the case is done with it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::{self, Output};
use crate::node::Node;
use crate::outside::Outside;
use crate::wait;

/// One container of a node.
#[derive(Debug)]
pub struct Container<'a> {
    node: &'a Node,
    id: String,
}

impl<'a> Container<'a> {
    pub(crate) fn new(node: &'a Node, id: String) -> Container<'a> {
        Container { node, id }
    }

    /// Its 64 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `proa VERB FLAGS ID`.
    ///
    /// # Errors
    /// When the command does not end in time.
    pub fn proa(&self, verb: &[&str]) -> Result<Output> {
        self.node.proa(&[verb, &[&self.id]].concat())
    }

    /// What `proa inspect` says of it.
    ///
    /// # Errors
    /// When it is not known or the answer is not what Docker answers.
    pub fn inspect(&self) -> Result<Value> {
        let output = self.proa(&["inspect"])?.success()?;
        let all: Value = serde_json::from_slice(&output.stdout).with_context(|| output.to_string())?;
        let one = all.get(0).cloned().context("`inspect` prints a list")?;
        ensure!(one["Id"] == self.id.as_str(), "`inspect` shows another container: {output}");
        Ok(one)
    }

    /// Its process on the node as the kernel shows it; the worker's for a Wasm guest.
    ///
    /// # Errors
    /// When it does not run.
    pub fn outside(&self) -> Result<Outside> {
        let inspect = self.inspect()?;
        let pid = inspect["State"]["Pid"].as_u64().filter(|pid| *pid > 0);
        let pid = pid.with_context(|| format!("it has no pid: {}", inspect["State"]))?;
        Ok(Outside::new(u32::try_from(pid)?))
    }

    /// Everything it has written so far: standard output of `proa logs` and its standard error.
    ///
    /// # Errors
    /// When the logs cannot be read.
    pub fn logs(&self) -> Result<Output> {
        self.proa(&["logs"])?.success()
    }

    /// Waits until its standard output so far satisfies `enough`.
    ///
    /// # Errors
    /// Shows the logs when it never does.
    pub fn shows(&self, what: &str, enough: impl Fn(&str) -> bool) -> Result<()> {
        wait::until(&format!("the guest shows {what}"), || Ok(enough(&self.logs()?.text())))
            .with_context(|| self.logs().map_or_else(|error| error.to_string(), |logs| logs.to_string()))
    }

    /// `proa wait`: its exit code.
    ///
    /// # Errors
    /// When it does not end in time or the answer is no number.
    pub fn wait(&self) -> Result<i32> {
        let output = self.proa(&["wait"])?.success()?;
        output.text().parse().with_context(|| output.to_string())
    }

    /// Waits until the host says it does not run.
    ///
    /// # Errors
    /// When that never comes.
    pub fn ended(&self) -> Result<Value> {
        wait::found("the container has ended", wait::PATIENCE, || {
            let state = self.inspect()?["State"].clone();
            Ok((state["Status"] == "exited").then_some(state))
        })
    }

    /// `proa ARGS` as a running command, such as `attach` or `logs -f`.
    ///
    /// # Errors
    /// When the program cannot be executed.
    pub fn start(&self, verb: &[&str]) -> Result<command::Running> {
        command::start(&mut self.node.command(&[verb, &[&self.id]].concat()))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let mut remove = self.node.command(&["rm", "-f", &self.id]);
        let _ = command::run(&mut remove, Duration::from_secs(30));
    }
}
