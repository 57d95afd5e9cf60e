//! One native sandbox, or one more process in it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Process};
use proa_linux::zygote::protocol::{Event, Held, Request};
use proa_linux::{Join, Plan, Prepared, Streams, cgroup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::sync::watch;

use super::connection::Connection;
use super::making::{DEADLINE, in_time, made_in_time};
use super::{Output, Runtime, Stdin, from_linux, lock, prepare_error, stdin};
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::runtime::{Block, Throttling, Usage};

/// How often, and how far apart, a pidfd is asked how its process ended: whoever is init here reaps it in a moment.
const REAPING: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// SIGKILL.
const KILL: i32 = 9;

/// One confined process; clones are the same one.
#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: String,
    pid: u32,
    pidfd: OwnedFd,
    runtime: Runtime,
    connection: Arc<Connection>,
    exit: watch::Receiver<Option<Exit>>,
    output: Mutex<Option<Output>>,
    stdin: Mutex<Option<Arc<stdin::End>>>,
    terminal: Option<OwnedFd>,
}

impl Sandbox {
    /// Takes what the zygote sent with a created or listed sandbox.
    pub(super) fn new(
        runtime: &Runtime,
        connection: &Arc<Connection>,
        id: String,
        pid: u32,
        held: Held,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Sandbox> {
        let broken = || Error::new(Kind::Failed, "the zygote sent fewer descriptors than it named");
        let mut descriptors = descriptors.into_iter();
        let pidfd = descriptors.next().ok_or_else(broken)?;
        let mut take = |there: bool| -> Result<Option<OwnedFd>> {
            if there { descriptors.next().ok_or_else(broken).map(Some) } else { Ok(None) }
        };
        let (stdout, stderr) = (take(held.stdout)?, take(held.stderr)?);
        let (input, terminal) = (take(held.stdin)?, take(held.terminal)?);
        let duplicate = |fd: &OwnedFd| fd.try_clone().map_err(|error| broken().caused_by(error));
        let output = match &terminal {
            Some(master) => Output::terminal(duplicate(master)?)?,
            None => Output::pipes(stdout, stderr)?,
        };
        let input = match (&input, &terminal) {
            (Some(pipe), _) => Some(stdin::End::pipe(duplicate(pipe)?)?),
            (None, Some(master)) => Some(stdin::End::terminal(duplicate(master)?)?),
            (None, None) => None,
        };
        let exit = connection.exit_of(&id);
        let inner = Inner {
            id,
            pid,
            pidfd,
            runtime: runtime.clone(),
            connection: connection.clone(),
            exit,
            output: Mutex::new(Some(output)),
            stdin: Mutex::new(input.map(Arc::new)),
            terminal,
        };
        Ok(Sandbox { inner: Arc::new(inner) })
    }

    pub(crate) fn id(&self) -> &str {
        &self.inner.id
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.inner.pid)
    }

    pub(crate) async fn start(&self) -> Result<()> {
        let id = self.inner.id.clone();
        let late = || format!("start `{}`: its program was not executed", self.inner.id);
        let asked = self.inner.connection.ask(|ticket| Request::Start { ticket, id }, &[]);
        match in_time(DEADLINE, late, asked).await {
            Ok(answer) => answer.map(drop),
            Err(error) => {
                // Ended meanwhile is as good as killed; who is told of the failure deletes it.
                drop(proa_linux::send_signal(self.inner.pidfd.as_fd(), 9));
                Err(error)
            }
        }
    }

    pub(crate) async fn signal(&self, signal: i32) -> Result<()> {
        if self.inner.exit.borrow().is_some() {
            return Err(self.ended());
        }
        proa_linux::send_signal(self.inner.pidfd.as_fd(), signal).map_err(|error| match error.raw_os_error() {
            Some(3) => self.ended(),
            _ => Error::new(Kind::Invalid, format!("send signal {signal} to `{}`: {error}", self.inner.id)),
        })?;
        // On v1 what is frozen dies only when it goes on.
        if signal == KILL && self.is_paused() { self.resume().await } else { Ok(()) }
    }

    pub(crate) async fn wait(&self) -> Exit {
        let shares_processes = !self.leads_a_namespace();
        let exit = self.wait_for_process().await;
        if shares_processes && !self.inner.id.contains('/') {
            // The kernel ends with the first process of a process namespace all others of it; where that is another's,
            // nobody does, and they would hold the output open.
            let (layout, group) = (self.inner.runtime.inner.facts.cgroups.clone(), self.inner.runtime.group(self.id()));
            drop(tokio::task::spawn_blocking(move || cgroup::kill_all(&layout, &group)).await);
        }
        exit
    }

    /// Whether its process is the first of its process namespace; one that has ended counts as none.
    fn leads_a_namespace(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.inner.pid)).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        ids.split_whitespace().next_back() == Some("1")
    }

    async fn wait_for_process(&self) -> Exit {
        let mut exit = self.inner.exit.clone();
        loop {
            if let Some(exit) = exit.borrow_and_update().clone() {
                return exit;
            }
            if exit.changed().await.is_err() {
                return self.wait_without_witness().await;
            }
        }
    }

    /// The zygote is gone: the pidfd still tells when, and newer kernels how, once somebody else has reaped it.
    async fn wait_without_witness(&self) -> Exit {
        if let Ok(pidfd) = self.inner.pidfd.try_clone()
            && let Ok(pidfd) = super::watch(pidfd, Interest::READABLE)
        {
            // A pidfd is readable once its process has ended.
            drop(pidfd.readable().await);
        }
        let at = SystemTime::now();
        for _ in 0..REAPING {
            if let Some(code) = proa_linux::exit_code(self.inner.pidfd.as_fd()) {
                return Exit { code: Some(code), oom_killed: false, reason: None, at };
            }
            tokio::time::sleep(PAUSE).await;
        }
        let reason = Some("its status is unknown: the zygote that was its parent ended first".to_owned());
        Exit { code: None, oom_killed: false, reason, at }
    }

    pub(crate) async fn exec(
        &self,
        exec_id: &str,
        process: &Process,
        seccomp: Option<&LinuxSeccomp>,
        stdin: bool,
    ) -> Result<Sandbox> {
        let id = format!("{}/{exec_id}", self.inner.id);
        let making = self.clone().make_exec(id.clone(), process.clone(), seccomp.cloned(), stdin);
        made_in_time(&id, making, self.inner.runtime.abandon(&id)).await
    }

    async fn make_exec(
        self,
        id: String,
        process: Process,
        seccomp: Option<LinuxSeccomp>,
        stdin: bool,
    ) -> Result<Sandbox> {
        let inner = &self.inner;
        let streams = if process.terminal().unwrap_or(false) { Streams::Terminal } else { Streams::Pipes { stdin } };
        let group = self.group();
        let facts = &inner.runtime.inner.facts;
        let join = Join {
            seccomp: seccomp.as_ref(),
            default_filter: true,
            streams,
            group: &group,
            in_user: self.in_user_namespace(),
            linux: None,
            keyring: None,
            direct: None,
        };
        let plan = Plan::join(&process, &join, facts).map_err(from_linux)?;
        let prepared = tokio::task::spawn_blocking(move || (Prepared::new(&plan), plan)).await;
        let (prepared, plan) =
            prepared.map_err(|error| Error::new(Kind::Failed, "prepare an exec").caused_by(error))?;
        let prepared = prepared.map_err(|error| {
            // Its cgroup goes with the container.
            if inner.exit.borrow().is_some() { self.ended() } else { prepare_error(error) }
        })?;
        let fds: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
        let (exec, container, given) = (id.clone(), inner.id.clone(), prepared.slots);
        let request = |ticket| Request::Exec { ticket, id, container, plan, given };
        match inner.connection.ask(request, &fds).await? {
            (Event::Created { pid, held, .. }, fds) => {
                Sandbox::new(&inner.runtime, &inner.connection, exec, pid, held, fds)
            }
            _ => Err(Error::new(Kind::Failed, "the zygote answered what was not asked")),
        }
    }

    pub(crate) fn output(&self) -> Option<Output> {
        lock(&self.inner.output).take()
    }

    pub(crate) fn stdin(&self) -> Option<Stdin> {
        let end = lock(&self.inner.stdin).clone()?;
        Some(Stdin::new(end, self.clone()))
    }

    /// Ends the guest's standard input for good.
    pub(super) async fn close_stdin(&self) -> Result<()> {
        drop(lock(&self.inner.stdin).take());
        let id = self.inner.id.clone();
        self.inner.connection.ask(|ticket| Request::CloseStdin { ticket, id }, &[]).await.map(drop)
    }

    pub(crate) async fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let Some(terminal) = &self.inner.terminal else {
            return Err(Error::new(Kind::Conflict, format!("resize `{}`: it has no terminal", self.inner.id)));
        };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(terminal, size)
            .map_err(|errno| Error::new(Kind::Failed, format!("resize the terminal of `{}`: {errno}", self.inner.id)))
    }

    pub(crate) async fn usage(&self) -> Result<Usage> {
        Ok(usage_above(cgroup::usage(self.layout(), &self.group())))
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        if self.inner.exit.borrow().is_some() {
            return Err(self.ended());
        }
        self.with_group(cgroup::freeze).await
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        self.with_group(cgroup::thaw).await
    }

    /// Whether it was told to pause; an exec is not asked, being held with its container.
    pub(crate) fn is_paused(&self) -> bool {
        !self.inner.id.contains('/') && cgroup::is_frozen(self.layout(), &self.group())
    }

    pub(crate) async fn update(&self, resources: &LinuxResources) -> Result<()> {
        let resources = resources.clone();
        self.with_group(move |layout, group| cgroup::update(layout, group, &resources)).await
    }

    pub(crate) async fn processes(&self) -> Vec<u32> {
        let found = cgroup::processes(self.layout(), &self.group());
        // Where no cgroup can be made its first process is the one that is known.
        if found.is_empty() && self.inner.exit.borrow().is_none() { vec![self.inner.pid] } else { found }
    }

    /// Does `work` on its container's group, which may wait for the kernel.
    async fn with_group(
        &self,
        work: impl FnOnce(&cgroup::Layout, &str) -> proa_linux::Result<()> + Send + 'static,
    ) -> Result<()> {
        let (layout, group) = (self.layout().clone(), self.group());
        let done = tokio::task::spawn_blocking(move || work(&layout, &group)).await;
        let done = done.map_err(|error| Error::new(Kind::Failed, "work on a cgroup").caused_by(error))?;
        done.map_err(|error| match std::error::Error::source(&error).and_then(|source| source.downcast_ref()) {
            Some(source) if is_busy(source) => {
                let sentence = format!("`{}` uses more than it should be allowed", self.inner.id);
                Error::new(Kind::Conflict, sentence).caused_by(error)
            }
            _ => from_linux(error),
        })
    }

    fn layout(&self) -> &cgroup::Layout {
        &self.inner.runtime.inner.facts.cgroups
    }

    fn group(&self) -> String {
        self.inner.runtime.group(self.inner.id.split('/').next().unwrap_or(&self.inner.id))
    }

    /// The directory its process has for a root, with all that is mounted there, good for `openat2` with
    /// RESOLVE_IN_ROOT. It keeps the root's file system alive, even beyond the process.
    pub(crate) fn root(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, format!("/proc/{}/root", self.inner.pid), flags, Mode::empty());
        // Asked afterwards: what has not ended by now was this process all the time, and no other with its number.
        if self.inner.exit.borrow().is_some() || has_ended(&self.inner.pidfd) {
            return Err(self.ended());
        }
        let failed = |errno| Error::new(Kind::Failed, format!("open the root of `{}`: {errno}", self.inner.id));
        opened.map_err(failed)
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.exit.borrow().is_none() {
            // Ended meanwhile is as good as killed.
            drop(self.signal(KILL).await);
            in_time(DEADLINE, || format!("end `{}`: it was not gone after SIGKILL", inner.id), self.wait()).await?;
        }
        if !inner.connection.is_dead() {
            let id = inner.id.clone();
            inner.connection.ask(|ticket| Request::Acknowledge { ticket, id }, &[]).await?;
            inner.connection.forget(&inner.id);
        }
        if inner.id.contains('/') {
            return Ok(());
        }
        inner.runtime.remove_group(&inner.id).await;
        Ok(())
    }

    fn ended(&self) -> Error {
        Error::new(Kind::Conflict, format!("`{}` is not running", self.inner.id))
    }

    /// Whether it has a user namespace of its own; asked of the kernel, since an adopted one's specification is gone.
    fn in_user_namespace(&self) -> bool {
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
        namespace(&self.inner.pid.to_string()) != namespace("self")
    }
}

/// A pidfd is readable once its process has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(pidfd, PollFlags::IN)];
    !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
}

fn is_busy(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ResourceBusy
}

fn usage_above(used: cgroup::Usage) -> Usage {
    let cgroup::Throttling { periods, throttled, time } = used.throttling;
    let block = |block: cgroup::Block| {
        let cgroup::Block { major, minor, operation, bytes, count } = block;
        Block { major, minor, operation, bytes, count }
    };
    Usage {
        memory: used.memory,
        memory_peak: used.memory_peak,
        memory_limit: used.memory_limit,
        memory_failures: used.memory_failures,
        memory_details: used.memory_details,
        cpu: used.cpu,
        cpu_user: used.cpu_user,
        cpu_system: used.cpu_system,
        cpu_each: used.cpu_each,
        throttling: Throttling { periods, throttled, time },
        pids: used.pids,
        pids_limit: used.pids_limit,
        blocks: used.blocks.into_iter().map(block).collect(),
    }
}
