//! One native sandbox, or one more process in it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use oci_spec::runtime::Process;
use proa_linux::zygote::protocol::{Event, Held, Request};
use proa_linux::{Plan, Prepared, Streams, cgroup};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::sync::watch;

use super::connection::Connection;
use super::making::{DEADLINE, in_time, made_in_time};
use super::{Output, Runtime, Stdin, from_linux, lock, prepare_error, stdin};
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::runtime::Usage;

/// How often, and how far apart, a pidfd is asked how its process ended: whoever is init here reaps it in a moment.
const REAPING: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

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
        })
    }

    pub(crate) async fn wait(&self) -> Exit {
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

    pub(crate) async fn exec(&self, exec_id: &str, process: &Process, stdin: bool) -> Result<Sandbox> {
        let id = format!("{}/{exec_id}", self.inner.id);
        made_in_time(&id, self.clone().make_exec(id.clone(), process.clone(), stdin)).await
    }

    async fn make_exec(self, id: String, process: Process, stdin: bool) -> Result<Sandbox> {
        let inner = &self.inner;
        let streams = if process.terminal().unwrap_or(false) { Streams::Terminal } else { Streams::Pipes { stdin } };
        let group = inner.runtime.group(&inner.id);
        let facts = &inner.runtime.inner.facts;
        let plan = Plan::join(&process, streams, &group, self.in_user_namespace(), facts).map_err(from_linux)?;
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
        let container = self.inner.id.split('/').next().unwrap_or(&self.inner.id);
        let group = self.inner.runtime.group(container);
        let used = cgroup::usage(&self.inner.runtime.inner.facts.cgroups, &group);
        let cgroup::Usage { memory, memory_peak, cpu, pids } = used;
        Ok(Usage { memory, memory_peak, cpu, pids })
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.exit.borrow().is_none() {
            // Ended meanwhile is as good as killed.
            drop(proa_linux::send_signal(inner.pidfd.as_fd(), 9));
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
