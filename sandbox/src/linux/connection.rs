//! One connection to a zygote: requests by ticket, exits by id.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use proa_linux::Facts;
use proa_linux::zygote::protocol::{self, Event, FailureKind, Request, State, VERSION};
use proa_linux::zygote::{self, wire};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::lock;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;

/// An answer with the descriptors that came along.
pub(super) type Answer = (Event, Vec<OwnedFd>);

#[derive(Debug)]
pub(super) struct Connection {
    socket: AsyncFd<OwnedFd>,
    tickets: AtomicU32,
    waiting: Mutex<HashMap<u32, mpsc::UnboundedSender<Answer>>>,
    /// Exits by sandbox id; the senders go when the zygote does, which tells whoever waits.
    exits: Mutex<HashMap<String, watch::Sender<Option<Exit>>>>,
    dead: AtomicBool,
    /// The zygote itself.
    process: Mutex<Option<OwnedFd>>,
}

/// Makes the run directory, for this user alone.
pub(super) fn make_run_directory(run: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run);
    made.map_err(|error| {
        Error::new(Kind::Failed, format!("make the run directory `{}`", run.display())).caused_by(error)
    })
}

impl Connection {
    /// Connects to the zygote of `run`, starting one if none listens.
    pub(super) async fn open(run: &Path) -> Result<(Arc<Connection>, Facts)> {
        let socket = match dial(run) {
            Ok(socket) => socket,
            Err(_) => {
                let owned = run.to_path_buf();
                let spawned = tokio::task::spawn_blocking(move || zygote::spawn(&owned)).await;
                spawned.map_err(failed)?.map_err(super::from_linux)?;
                dial(run).map_err(failed)?
            }
        };
        let connection = Arc::new(Connection {
            socket: super::watch(socket, Interest::READABLE | Interest::WRITABLE).map_err(failed)?,
            tickets: AtomicU32::new(1),
            waiting: Mutex::default(),
            exits: Mutex::default(),
            dead: AtomicBool::new(false),
            process: Mutex::default(),
        });
        tokio::spawn(connection.clone().read());
        let (event, _) = connection.ask(|ticket| Request::Hello { ticket, version: VERSION }, &[]).await?;
        let Event::Hello { pid, facts, .. } = event else {
            return Err(Error::new(Kind::Failed, "the zygote answered what was not asked"));
        };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        *lock(&connection.process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok((connection, facts))
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// One request, one answer.
    pub(super) async fn ask(&self, request: impl FnOnce(u32) -> Request, fds: &[BorrowedFd<'_>]) -> Result<Answer> {
        let (_ticket, mut answers) = self.send(request, fds).await?;
        let (event, descriptors) = answers.recv().await.ok_or_else(lost)?;
        match event {
            Event::Refused { failure, .. } => {
                let kind = match failure.kind {
                    FailureKind::NotFound => Kind::NotFound,
                    FailureKind::NotExecutable => Kind::NotExecutable,
                    FailureKind::Conflict => Kind::Conflict,
                    FailureKind::Failed => Kind::Failed,
                };
                Err(Error::new(kind, failure.text))
            }
            event => Ok((event, descriptors)),
        }
    }

    /// Everything the zygote holds.
    pub(super) async fn list(&self) -> Result<Vec<Answer>> {
        let (_ticket, mut answers) = self.send(|ticket| Request::List { ticket }, &[]).await?;
        let mut items = Vec::new();
        loop {
            match answers.recv().await.ok_or_else(lost)? {
                item @ (Event::Item { .. }, _) => items.push(item),
                _ => return Ok(items),
            }
        }
    }

    /// The exit of a sandbox this connection has told of; unknown to it means the zygote is gone.
    pub(super) fn exit_of(&self, id: &str) -> watch::Receiver<Option<Exit>> {
        match lock(&self.exits).get(id) {
            Some(sender) => sender.subscribe(),
            None => watch::channel(None).1,
        }
    }

    /// The sandbox is gone for good.
    pub(super) fn forget(&self, id: &str) {
        lock(&self.exits).remove(id);
    }

    /// Waits until the zygote has ended.
    pub(super) async fn ended(&self) {
        let process = lock(&self.process).take();
        if let Some(process) = process
            && let Ok(process) = super::watch(process, Interest::READABLE)
        {
            // A pidfd is readable once its process has ended.
            drop(process.readable().await);
        }
    }

    async fn send(
        &self,
        request: impl FnOnce(u32) -> Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Ticket<'_>, mpsc::UnboundedReceiver<Answer>)> {
        let number = self.tickets.fetch_add(1, Ordering::Relaxed);
        let body = protocol::encode(&request(number)).map_err(super::from_linux)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.waiting).insert(number, sender);
        let ticket = Ticket { connection: self, number };
        if self.is_dead() {
            return Err(lost());
        }
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| wire::send(socket, &body, fds)).await;
        sent.map_err(|error| lost().caused_by(error))?;
        Ok((ticket, receiver))
    }

    /// Reads until the zygote is gone; then whoever waits is told by a closed channel.
    async fn read(self: Arc<Self>) {
        while let Ok(Some(packet)) = self.socket.async_io(Interest::READABLE, |socket| wire::receive(socket)).await {
            match protocol::decode::<Event>(&packet.body) {
                Ok(event) => self.take(event, packet.descriptors),
                Err(error) => {
                    tracing::error!(%error, "the zygote said what this version does not understand");
                    break;
                }
            }
        }
        self.dead.store(true, Ordering::Release);
        lock(&self.waiting).clear();
        lock(&self.exits).clear();
    }

    fn take(&self, event: Event, descriptors: Vec<OwnedFd>) {
        match &event {
            Event::Exited { id, exit: ended } => {
                if let Some(sender) = lock(&self.exits).get(id) {
                    sender.send_replace(Some(exit(*ended)));
                }
                return;
            }
            // Known before anybody is answered, so that no exit is missed in between.
            Event::Created { id, .. } => {
                lock(&self.exits).insert(id.clone(), watch::channel(None).0);
            }
            Event::Item { id, state, .. } => {
                let known = if let State::Exited(ended) = state { Some(exit(*ended)) } else { None };
                lock(&self.exits).entry(id.clone()).or_insert_with(|| watch::channel(known).0);
            }
            _ => {}
        }
        let Some(ticket) = event.ticket() else { return };
        let sender = lock(&self.waiting).get(&ticket).cloned();
        if let Some(sender) = sender {
            // Whoever asked has given up: the answer and its descriptors close here.
            drop(sender.send((event, descriptors)));
        }
    }
}

/// A request in flight; dropped, its answer is no longer waited for.
#[derive(Debug)]
struct Ticket<'a> {
    connection: &'a Connection,
    number: u32,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.connection.waiting).remove(&self.number);
    }
}

/// Connects through the directory's descriptor: a socket's address holds 108 bytes, a root path may be longer.
fn dial(run: &Path) -> std::io::Result<OwnedFd> {
    let folder = openat(CWD, run, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), zygote::SOCKET))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &address)?;
    let peer = sockopt::socket_peercred(&socket)?.uid;
    if peer != rustix::process::getuid() {
        return Err(std::io::Error::other("the zygote's socket belongs to another user"));
    }
    Ok(socket)
}

/// The zygote's words for an exit in the waist's.
pub(super) fn exit(exit: protocol::Exit) -> Exit {
    let at = UNIX_EPOCH + Duration::from_nanos(exit.at);
    Exit { code: Some(exit.code), oom_killed: exit.oom_killed, reason: None, at }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    Error::new(Kind::Failed, format!("connect to the zygote: {error}"))
}

fn lost() -> Error {
    Error::new(Kind::Failed, "the zygote ended before it answered")
}
