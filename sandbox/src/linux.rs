//! Adapter: drives linux-runtime's zygote with tokio. Knows nothing of Wasm.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use proa_linux::zygote::protocol::{Event, Request, State as Held};
use proa_linux::{Confinement, Facts, Files, Plan, SUBORDINATE, Streams, WORKER_ID, cgroup};
use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Kind, Result};
use crate::isolation::Isolation;
use crate::runtime::{Adopted, Availability, Config, State};
use crate::workload::{Content, Workload};

mod connection;
mod making;
mod output;
mod sandbox;
mod stdin;

use connection::Connection;
pub(crate) use output::Output;
pub(crate) use sandbox::Sandbox;
pub(crate) use stdin::Stdin;

/// What the ids of sandboxes of our own code begin with; they stand among containers in lists and cgroups.
const CONFINED: [&str; 2] = ["worker-", "compiler-"];

/// The Linux runtime of one door.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    run: PathBuf,
    cgroup_parent: String,
    facts: Facts,
    /// Replaced when the zygote died: then a new one serves new work.
    connection: tokio::sync::Mutex<Arc<Connection>>,
    /// Workers and compilers that outlived the last door.
    confined: Mutex<Vec<Sandbox>>,
}

/// A sandbox of our own code to be made and started.
#[derive(Debug)]
pub(crate) struct Confine {
    /// Begins with `worker-` or `compiler-`.
    pub(crate) id: String,
    /// The entry, as given to [`zygote_main`].
    pub(crate) entry: &'static str,
    pub(crate) argument: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
    /// The system calls it keeps.
    pub(crate) syscalls: &'static [&'static str],
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Microseconds of CPU a period, and the period.
    pub(crate) cpu_quota: Option<(i64, u64)>,
    pub(crate) pids: Option<i64>,
}

impl Runtime {
    /// Finds or starts the zygote of `config.run`, and what the last door left running.
    pub(crate) async fn open(config: &Config) -> Result<(Runtime, Vec<Adopted>)> {
        connection::make_run_directory(&config.run)?;
        let (connection, facts) = Connection::open(&config.run).await?;
        let inner = Inner {
            run: config.run.clone(),
            cgroup_parent: config.cgroup_parent.clone(),
            facts,
            connection: tokio::sync::Mutex::new(connection.clone()),
            confined: Mutex::new(Vec::new()),
        };
        let runtime = Runtime { inner: Arc::new(inner) };
        let adopted = runtime.adopt(&connection).await?;
        runtime.remove_leftovers(&adopted).await;
        let ours = |one: &(Sandbox, State)| CONFINED.iter().any(|prefix| one.0.id().starts_with(prefix));
        let (confined, containers): (Vec<_>, Vec<_>) = adopted.into_iter().partition(ours);
        *lock(&runtime.inner.confined) = confined.into_iter().map(|(sandbox, _)| sandbox).collect();
        let wrap = |(sandbox, state)| Adopted { sandbox: crate::runtime::Sandbox::Linux(sandbox), state };
        Ok((runtime, containers.into_iter().map(wrap).collect()))
    }

    /// Workers and compilers that outlived the last door, to be taken by the Wasm adapter.
    pub(crate) fn take_confined(&self) -> Vec<Sandbox> {
        std::mem::take(&mut *lock(&self.inner.confined))
    }

    /// What the two native models lack here.
    pub(crate) async fn availability(&self) -> Vec<Availability> {
        let row = |isolation| Availability { isolation, lacks: self.lacks(isolation) };
        vec![row(Isolation::Linux), row(Isolation::LinuxUserns)]
    }

    /// What one native model lacks here, found once, at the opening.
    pub(crate) fn lacks(&self, isolation: Isolation) -> Option<String> {
        match isolation {
            Isolation::LinuxUserns => self.inner.facts.lacks_user_namespace(),
            _ => self.inner.facts.lacks_native(),
        }
    }

    /// Which limits can be held here.
    pub(crate) fn offers(&self) -> cgroup::Offers {
        self.inner.facts.cgroups.offers()
    }

    /// The plan of a workload as text.
    pub(crate) fn plan(&self, workload: &Workload) -> Result<String> {
        self.lower(workload).map(|plan| plan.to_string())
    }

    /// Prepares and creates a container.
    pub(crate) async fn create(&self, workload: &Workload) -> Result<Sandbox> {
        let plan = self.lower(workload)?;
        self.launch(workload.id.clone(), plan, Vec::new()).await
    }

    /// Creates and starts a sandbox of our own code, with whatever confinement can be had.
    pub(crate) async fn confine(&self, confined: Confine) -> Result<Sandbox> {
        let group = self.group(&confined.id);
        let confinement = Confinement {
            group: &group,
            entry: confined.entry,
            argument: &confined.argument,
            descriptors: u16::try_from(confined.fds.len()).unwrap_or(u16::MAX),
            syscalls: confined.syscalls,
            memory: confined.memory,
            cpu_quota: confined.cpu_quota,
            pids: confined.pids,
        };
        let plan = Plan::confine(&confinement, &self.inner.facts).map_err(from_linux)?;
        let given = confinement.slots().zip(confined.fds).collect();
        self.launch(confined.id, plan, given).await
    }

    /// A directory for a worker: a detached mount from which no `..` leads out, whose owner is the worker's user;
    /// only where privileges lack, the same folder re-opened.
    ///
    /// A user's folder on a file system that cannot translate owners is refused: its worker would be a stranger there,
    /// and a guest that reads some files and not others is harder to understand than a sentence. Our `own` code and
    /// unpacked images are for everybody to read.
    pub(crate) async fn directory(&self, source: OwnedFd, read_only: bool, own: bool) -> Result<OwnedFd> {
        let name = || fs::read_link(format!("/proc/self/fd/{}", source.as_raw_fd())).unwrap_or_default();
        let attempt = || format!("give `{}` to a Wasm guest", name().display());
        let failed =
            |errno: rustix::io::Errno| Error::new(Kind::Failed, attempt()).caused_by(std::io::Error::from(errno));
        if !self.inner.facts.namespaces {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            return openat(&source, ".", flags, Mode::empty()).map_err(failed);
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let mount = open_tree(&source, "", flags).map_err(failed)?;
        let stat = fstat(&source).map_err(failed)?;
        // Without mapped namespaces the worker is this user, and owners are what they are.
        let outside = if self.inner.facts.mapped_namespaces { WORKER_ID } else { stat.st_uid };
        let owners = if self.inner.facts.mapped_namespaces { (stat.st_uid, stat.st_gid) } else { (outside, outside) };
        let (owner, group) = owners;
        let stranger = own && read_only;
        let request = |ticket| Request::Directory { ticket, owner, group, outside, read_only, stranger };
        let asked = self.connection().await?.ask(request, &[mount.as_fd()]).await;
        let (_, descriptors) = asked.map_err(|error| Error::new(error.kind(), attempt()).caused_by(error))?;
        descriptors.into_iter().next().ok_or_else(|| Error::new(Kind::Failed, "the zygote sent no directory back"))
    }

    /// Ends every sandbox and the zygote; returns when no process or cgroup is left.
    pub(crate) async fn stop(self) -> Result<()> {
        let connection = self.inner.connection.lock().await.clone();
        if connection.is_dead() {
            return Ok(());
        }
        let mut first = None;
        for (sandbox, _) in self.adopt(&connection).await? {
            if let Err(error) = sandbox.delete().await {
                first.get_or_insert(error);
            }
        }
        connection.ask(|ticket| Request::Stop { ticket }, &[]).await?;
        connection.ended().await;
        self.remove_leftovers(&[]).await;
        first.map_or(Ok(()), Err)
    }

    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut current = self.inner.connection.lock().await;
        if current.is_dead() {
            (*current, _) = Connection::open(&self.inner.run).await?;
        }
        Ok(current.clone())
    }

    fn group(&self, id: &str) -> String {
        format!("{}/{id}", self.inner.cgroup_parent)
    }

    fn lower(&self, workload: &Workload) -> Result<Plan> {
        let facts = &self.inner.facts;
        let user = workload.isolation == Isolation::LinuxUserns;
        if let Some(lacks) = if user { facts.lacks_user_namespace() } else { facts.lacks_native() } {
            return Err(Error::new(Kind::Unavailable, format!("isolation `{}`: {lacks}", workload.isolation)));
        }
        let Content::Layers { lower, scratch } = &workload.content else {
            return Err(Error::new(Kind::Invalid, "a native container wants layers, not a Wasm module"));
        };
        let terminal = workload.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
        let request = proa_linux::Request {
            group: &self.group(&workload.id),
            files: Files::Layers { lower, scratch },
            streams: if terminal { Streams::Terminal } else { Streams::Pipes { stdin: workload.stdin } },
            user_namespace: user.then_some(SUBORDINATE),
            default_filter: true,
            init: workload.init,
            direct: None,
            keyring: None,
        };
        Plan::new(&workload.spec, &request, facts).map_err(from_linux)
    }

    async fn adopt(&self, connection: &Arc<Connection>) -> Result<Vec<(Sandbox, State)>> {
        let mut adopted = Vec::new();
        for (event, descriptors) in connection.list().await? {
            let Event::Item { id, pid, state, held, .. } = event else { continue };
            let sandbox = Sandbox::new(self, connection, id, pid, held, descriptors)?;
            let state = match state {
                Held::Created => State::Created,
                Held::Running if sandbox.is_paused() => State::Paused,
                Held::Running => State::Running,
                Held::Exited(exit) => State::Exited(connection::exit(exit)),
            };
            adopted.push((sandbox, state));
        }
        Ok(adopted)
    }

    /// Removes the cgroups of sandboxes that nobody knows any more.
    async fn remove_leftovers(&self, adopted: &[(Sandbox, State)]) {
        let known: Vec<String> = adopted.iter().map(|(sandbox, _)| sandbox.id().to_owned()).collect();
        let (layout, parent) = (self.inner.facts.cgroups.clone(), self.inner.cgroup_parent.clone());
        let removal = move || cgroup::remove_leftovers(&layout, &parent, &|name| known.iter().any(|id| id == name));
        // A removal that panicked leaves what the next start of a host finds.
        drop(tokio::task::spawn_blocking(removal).await);
    }

    /// Ends what lives in a sandbox's groups and removes them; with the last one the parent goes.
    async fn remove_group(&self, id: &str) {
        let (layout, parent) = (self.inner.facts.cgroups.clone(), self.inner.cgroup_parent.clone());
        let group = self.group(id);
        let removal = move || {
            // Busy means that the killed are still on their way out, which takes the kernel moments.
            for _ in 0..500 {
                cgroup::kill_all(&layout, &group);
                if cgroup::remove(&layout, &group).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            cgroup::remove_parent(&layout, &parent);
        };
        drop(tokio::task::spawn_blocking(removal).await);
    }
}

/// The zygote's main function.
pub(crate) fn zygote_main(entries: &'static [proa_linux::Entry]) -> ExitCode {
    proa_linux::zygote::main(entries)
}

fn from_linux(error: proa_linux::Error) -> Error {
    let kind = match &error {
        proa_linux::Error::Lacks(_) => Kind::Unavailable,
        proa_linux::Error::Plan(_) | proa_linux::Error::Nul { .. } => Kind::Invalid,
        _ => Kind::Failed,
    };
    with_cause(kind, error)
}

/// A missing bind source is the caller's mistake and is told without the step it stopped.
fn prepare_error(error: proa_linux::Error) -> Error {
    match &error {
        proa_linux::Error::Prepare { what, source, .. }
            if what.starts_with("open bind source") && source.kind() == std::io::ErrorKind::NotFound =>
        {
            let path = what.split('`').nth(1).unwrap_or_default();
            Error::new(Kind::Invalid, format!("bind source path does not exist: {path}"))
        }
        _ => with_cause(Kind::Failed, error),
    }
}

fn with_cause(kind: Kind, error: proa_linux::Error) -> Error {
    let text = error.to_string();
    match std::error::Error::source(&error) {
        // One sentence: doors print the top of the chain to users who want the reason.
        Some(source) => Error::new(kind, format!("{text}: {source}")),
        None => Error::new(kind, text),
    }
}

/// Lets the reactor watch an owned descriptor.
#[allow(deprecated, reason = "the successor is unsafe, for descriptors that may close under it; an OwnedFd does not")]
fn watch(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
