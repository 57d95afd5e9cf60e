//! The stock `docker` command line, in the machine's version and in Debian 13's, over every verb.

mod files;
mod images;
mod life;
mod node;
mod streams;

use anyhow::{Result, ensure};
use proa_tests::docker::{Docker, Version};
use proa_tests::{Isolation, Need, Node, Output, Suite, cases};

/// A command line, and the isolation its containers run under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct On<'a> {
    docker: Docker<'a>,
    isolation: Isolation,
}

/// A case for each isolation on the node that the suite shares.
type Under = (&'static str, fn(&On<'_>) -> Result<()>);
/// A case that starts the nodes it needs.
type Alone = (&'static str, fn(Version) -> Result<()>);

const NATIVE: &[Isolation] = &[Isolation::Linux, Isolation::LinuxUserns];

/// The older command line differs in what it asks, not in what runs: one model of each kind is enough for it.
fn tried(version: Version, isolations: &[Isolation]) -> Vec<Isolation> {
    let few = [Isolation::Wasm, Isolation::Linux];
    isolations.iter().copied().filter(|isolation| version == Version::Installed || few.contains(isolation)).collect()
}

pub(crate) fn fill(suite: &mut Suite) {
    for version in Version::ALL {
        under(suite, version, &Isolation::ALL, &[], &streams::CASES);
        under(suite, version, &Isolation::ALL, &[], &life::CASES);
        under(suite, version, &Isolation::ALL, &[], &files::CASES);
        let busybox = [Need::Peer("busybox")];
        under(suite, version, NATIVE, &busybox, &streams::NATIVE_CASES);
        under(suite, version, NATIVE, &busybox, &life::NATIVE_CASES);
        under(suite, version, NATIVE, &busybox, &files::NATIVE_CASES);
        alone(suite, version, &[], &node::CASES);
        alone(suite, version, &[], &images::CASES);
        let linux = [Need::Isolation(Isolation::Linux), Need::Peer("busybox")];
        alone(suite, version, &linux, &node::NATIVE_CASES);
        alone(suite, version, &linux, &images::NATIVE_CASES);
        alone(suite, version, &[Need::Peer("docker-registry")], &images::REGISTRY_CASES);
    }
    suite.add(&[], cases![docker_has_a_case_for_every_verb]);
}

fn under(suite: &mut Suite, version: Version, isolations: &[Isolation], needs: &[Need], cases: &[Under]) {
    for isolation in tried(version, isolations) {
        for (name, body) in cases.iter().copied() {
            let needs = [&[version.need(), Need::Isolation(isolation)], needs].concat();
            suite.case(format!("{version}::{isolation}::{name}"), needs, move || {
                body(&On { docker: Docker { node: Node::shared()?, version }, isolation })
            });
        }
    }
}

fn alone(suite: &mut Suite, version: Version, needs: &[Need], cases: &[Alone]) {
    for (name, body) in cases.iter().copied() {
        let needs = [&[version.need()], needs].concat();
        suite.case(format!("{version}::{name}"), needs, move || body(version));
    }
}

impl<'a> On<'a> {
    /// `docker VERB --isolation ISOLATION FLAGS probe ARGS`, for `run` and `create`.
    fn line(&self, verb: &'a str, flags: &[&'a str], args: &[&'a str]) -> Result<Vec<&'a str>> {
        Ok([&[verb, "--isolation", self.isolation.name()], flags, &[self.docker.node.probe()?], args].concat())
    }

    /// `docker run --isolation ISOLATION FLAGS probe ARGS` to its end.
    fn run(&self, flags: &[&'a str], args: &[&'a str]) -> Result<Output> {
        self.docker.run(&self.line("run", flags, args)?)
    }

    /// A container of the probe in the background, by its id.
    fn detached(&self, flags: &[&'a str], args: &[&'a str]) -> Result<String> {
        Ok(self.run(&[&["-d"], flags].concat(), args)?.success()?.text())
    }

    /// A container of busybox in the background that runs until it is told otherwise, by its id.
    fn busybox(&self, flags: &[&str], args: &[&str]) -> Result<String> {
        let image = proa_tests::guest::busybox(self.docker.node)?;
        let line = [&["run", "-d", "--isolation", self.isolation.name()], flags, &[&image], args].concat();
        self.docker.text(&line)
    }

    /// A code that a guest can end with: a component says no more than that it failed.
    fn code(&self) -> i32 {
        if self.isolation.is_wasm() { 1 } else { 6 }
    }

    /// `docker rm -f -v ID`.
    fn remove(&self, id: &str) -> Result<()> {
        self.docker.run(&["rm", "-f", "-v", id])?.success().map(drop)
    }
}

/// The verbs of a single node; what builds, swarms and plugins have is answered 501 (see docker_py/later.py).
const VERBS: &[&str] = &[
    "attach", "commit", "cp", "create", "diff", "events", "exec", "export", "history", "images", "import", "info",
    "inspect", "kill", "load", "login", "logout", "logs", "pause", "port", "ps", "pull", "push", "rename", "restart",
    "rm", "rmi", "run", "save", "search", "start", "stats", "stop", "tag", "top", "unpause", "update", "version",
    "wait", "prune", "df", "network", "volume", "system", "builder",
];

fn docker_has_a_case_for_every_verb() -> Result<()> {
    let told = [
        include_str!("command_line/files.rs"),
        include_str!("command_line/images.rs"),
        include_str!("command_line/life.rs"),
        include_str!("command_line/node.rs"),
        include_str!("command_line/streams.rs"),
        include_str!("command_line.rs"),
    ];
    // Once in the list above, and once where it is used.
    let missing: Vec<_> =
        VERBS.iter().filter(|verb| told.concat().matches(&format!("\"{verb}\"")).count() < 2).collect();
    ensure!(missing.is_empty(), "no case uses {missing:?}");
    Ok(())
}
