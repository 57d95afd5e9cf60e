//! Engines of others on our runtime: podman, dockerd, containerd and buildah, unmodified, each given `proa-linux` by the
//! flag they have for it. `PROA_TEST_RUNTIME` names another runtime, such as `/usr/sbin/runc`: what a case expects is
//! then checked against the runtime these engines were written for.
#![forbid(unsafe_code)]

mod buildah;
mod command;
mod containerd;
mod engine;
mod exec;
mod files;
mod image;
mod left;
mod life;
mod limits;
mod rights;
mod terminal;
mod wait;

use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use self::buildah::Buildah;
use self::containerd::Containerd;
use self::engine::{Engine, Kind};

/// What a case is called, and what it does with an engine.
type Case<E> = (&'static str, fn(&E) -> Result<()>);

/// An engine that all its cases share, started by the first that asks.
struct Shared<E> {
    engine: OnceLock<Result<E, String>>,
    start: fn() -> Result<E>,
    end: fn(&E) -> Result<()>,
}

static PODMAN: Shared<Engine> = Shared::new(|| Engine::start(Kind::Podman), Engine::end);
static DOCKER: Shared<Engine> = Shared::new(|| Engine::start(Kind::Docker), Engine::end);
static REMAPPED: Shared<Engine> = Shared::new(|| Engine::start(Kind::RemappedDocker), Engine::end);
static CONTAINERD: Shared<Containerd> = Shared::new(Containerd::start, Containerd::end);
static BUILDAH: Shared<Buildah> = Shared::new(Buildah::start, Buildah::end);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let both =
        [&life::CASES[..], &exec::CASES, &terminal::CASES, &limits::CASES, &files::CASES, &rights::CASES].concat();
    add(&mut trials, "podman", &PODMAN, &["podman", "conmon", "catatonit", "script"], both.clone());
    add(&mut trials, "podman", &PODMAN, &["podman", "conmon"], engine::podman::CASES.to_vec());
    add(&mut trials, "docker", &DOCKER, &["docker", "dockerd", "docker-init", "script"], both);
    add(&mut trials, "docker, remapped", &REMAPPED, &["docker", "dockerd"], engine::docker::REMAPPED_CASES.to_vec());
    add(&mut trials, "containerd", &CONTAINERD, &["containerd", "ctr"], containerd::CASES.to_vec());
    add(&mut trials, "buildah", &BUILDAH, &["buildah"], buildah::CASES.to_vec());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let faults = [PODMAN.end(), DOCKER.end(), REMAPPED.end(), CONTAINERD.end(), BUILDAH.end()];
    let left: Vec<_> = faults.into_iter().filter_map(Result::err).collect();
    for fault in &left {
        println!("\nerror: {fault:#}\ntest result: FAILED. after the suite: something was left behind");
    }
    if left.is_empty() { conclusion.exit_code() } else { ExitCode::from(101) }
}

impl<E> Shared<E> {
    const fn new(start: fn() -> Result<E>, end: fn(&E) -> Result<()>) -> Shared<E> {
        Shared { engine: OnceLock::new(), start, end }
    }

    fn get(&self) -> Result<&E, Failed> {
        let engine = self.engine.get_or_init(|| (self.start)().map_err(|error| format!("{error:#}")));
        engine.as_ref().map_err(Failed::from)
    }

    /// Statics are never dropped: what some case asked for is ended here, and must leave nothing.
    fn end(&self) -> Result<()> {
        match self.engine.get() {
            Some(Ok(engine)) => (self.end)(engine),
            _ => Ok(()),
        }
    }
}

fn add<E: Sync + Send>(
    trials: &mut Vec<Trial>,
    name: &'static str,
    shared: &'static Shared<E>,
    programs: &'static [&'static str],
    cases: Vec<Case<E>>,
) {
    let required = std::env::var("PROA_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let lacks = lacks(programs);
    for (title, case) in cases {
        let reason = lacks.clone();
        let ignored = reason.is_some() && !required;
        let kind = reason.as_ref().filter(|_| ignored).map_or(String::new(), |reason| format!("ignored, {reason}"));
        let trial = Trial::test(format!("{name}: {title}"), move || match reason {
            Some(reason) => Err(Failed::from(reason)),
            None => case(shared.get()?).map_err(|error| Failed::from(format!("{error:#}"))),
        });
        trials.push(trial.with_kind(kind).with_ignored_flag(ignored));
    }
}

/// Why an engine's cases cannot run here.
fn lacks(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("these engines are run as root".to_owned());
    }
    let missing = programs.iter().chain(["busybox"].iter()).find(|name| command::found(name).is_none());
    missing.map(|name| format!("`{name}` is not installed"))
}
