//! The host's side of one worker's connection: calls and their answers, and each guest's events to where they belong.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use proa_wasm::worker::Channel;
use proa_wasm::worker::protocol::{Answer, Failure, FailureKind, FromWorker, Identity, Request, ToWorker, VERSION};
use tokio::sync::{oneshot, watch};

use super::guest::{Guest, Stage};
use super::kind_below;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::linux;
use crate::runtime::{Adopted, Artifact};

/// For a worker that was told to end.
const ENDING: Duration = Duration::from_secs(15);

/// Artifacts a worker keeps for the next guest; each is mapped code, of which only what is used takes memory.
const LOADED: usize = 64;

/// A worker that was just connected to.
pub(super) struct Found {
    pub(super) link: Arc<Link>,
    /// Guests of a former door.
    pub(super) guests: Vec<Adopted>,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Link {
    identity: Identity,
    channel: Channel,
    pid: Option<u32>,
    socket: PathBuf,
    number: AtomicU64,
    calls: Mutex<HashMap<u64, oneshot::Sender<Result<Answer, Failure>>>>,
    /// Weak, as each guest holds its link: a door that lets go of a guest lets go of all of it.
    guests: Mutex<HashMap<String, Weak<Guest>>>,
    /// Folders whose code it has, the one last asked for behind; held while one is loaded.
    loaded: tokio::sync::Mutex<VecDeque<PathBuf>>,
    /// Its sandbox, when this door made it.
    confined: Mutex<Option<linux::Sandbox>>,
    /// Told to end by us: then its death is no surprise.
    ending: AtomicBool,
    open: watch::Sender<bool>,
}

impl Link {
    /// Introduces itself to the worker behind `socket` and takes over its guests.
    pub(super) async fn greet(socket: OwnedFd, path: PathBuf) -> Result<Found> {
        let fail = |error: std::io::Error| Error::new(Kind::Failed, "talk to a worker").caused_by(error);
        let channel = Channel::new(socket).map_err(fail)?;
        let hello = ToWorker::Call { number: 0, request: Request::Hello { version: VERSION } };
        channel.send(&hello, &[]).await.map_err(fail)?;
        let mut identity = None;
        let mut held = Vec::new();
        loop {
            match channel.receive().await.map_err(fail)? {
                Some((FromWorker::Hello { identity: found, .. }, _)) => identity = Some(found),
                Some((FromWorker::Held { id, started, paused, terminal, exit }, descriptors)) => {
                    held.push((id, Stage { started, paused }, terminal, exit, descriptors.into_iter().next()));
                }
                Some((FromWorker::Done { number: 0, outcome }, _)) => {
                    outcome.map_err(from_worker)?;
                    break;
                }
                Some(_) => return Err(Error::new(Kind::Failed, "a worker spoke out of turn")),
                None => return Err(Error::new(Kind::Failed, "a worker closed its connection")),
            }
        }
        let identity = identity.ok_or_else(|| Error::new(Kind::Failed, "a worker did not introduce itself"))?;
        // The worker listened on its socket itself, so this is its pid and not that of the door that bound it.
        let pid = channel.peer().ok().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        let link = Arc::new(Link {
            identity,
            channel,
            pid,
            socket: path,
            number: AtomicU64::new(1),
            calls: Mutex::default(),
            guests: Mutex::default(),
            loaded: tokio::sync::Mutex::default(),
            confined: Mutex::default(),
            ending: AtomicBool::new(false),
            open: watch::Sender::new(true),
        });
        let mut guests = Vec::new();
        for (id, stage, terminal, exit, descriptor) in held {
            guests.push(Guest::adopt(&link, id, stage, terminal, exit.map(exit_from_worker), descriptor)?);
        }
        tokio::spawn(Arc::clone(&link).listen());
        Ok(Found { link, guests })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let confined = self.confined.lock().unwrap_or_else(PoisonError::into_inner);
        confined.as_ref().and_then(linux::Sandbox::pid).or(self.pid)
    }

    pub(super) fn is_open(&self) -> bool {
        *self.open.borrow() && !self.ending.load(Ordering::SeqCst)
    }

    /// Takes the sandbox it runs in, to free it when the worker ends.
    pub(super) fn own(&self, confined: linux::Sandbox) {
        *self.confined.lock().unwrap_or_else(PoisonError::into_inner) = Some(confined);
    }

    pub(super) fn confined(&self) -> Option<linux::Sandbox> {
        self.confined.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the worker know an artifact; `folder` gives its folder as a detached mount.
    pub(super) async fn load<F>(&self, artifact: &Artifact, folder: impl FnOnce() -> F) -> Result<()>
    where
        F: Future<Output = Result<OwnedFd>>,
    {
        let mut loaded = self.loaded.lock().await;
        if let Some(at) = loaded.iter().position(|known| *known == artifact.folder) {
            loaded.remove(at);
            loaded.push_back(artifact.folder.clone());
            return Ok(());
        }
        let request = Request::Load { key: key(artifact), kind: kind_below(artifact.kind) };
        self.call(request, &[folder().await?]).await?;
        loaded.push_back(artifact.folder.clone());
        if loaded.len() > LOADED
            && let Some(oldest) = loaded.pop_front()
        {
            // Guests made from it keep it until they have ended.
            self.call(Request::Unload { key: name(&oldest) }, &[]).await?;
        }
        Ok(())
    }

    /// Asks and waits for the answer.
    pub(super) async fn call(&self, request: Request, descriptors: &[OwnedFd]) -> Result<Answer> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.calls().insert(number, answer);
        if !*self.open.borrow() {
            self.calls().remove(&number);
            return Err(self.gone());
        }
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = self.channel.send(&ToWorker::Call { number, request }, &descriptors).await;
        if let Err(error) = sent {
            self.calls().remove(&number);
            return Err(Error::new(Kind::Failed, "talk to a Wasm worker").caused_by(error));
        }
        match answered.await {
            Ok(outcome) => outcome.map_err(from_worker),
            Err(_dropped) => Err(self.gone()),
        }
    }

    /// Lets the worker forget output; if it is gone there is nothing to forget.
    pub(super) async fn acknowledge(&self, id: &str, through: u64) {
        let message = ToWorker::Acknowledge { id: id.to_owned(), through };
        let _ = self.channel.send(&message, &[]).await;
    }

    /// Ends its guests and itself, and frees its sandbox.
    pub(super) async fn end(&self) -> Result<()> {
        self.ending.store(true, Ordering::SeqCst);
        let asked = async {
            // It may be gone before it answers.
            let _ = self.call(Request::End, &[]).await;
            let _ = self.open.subscribe().wait_for(|open| !open).await;
        };
        let _ = tokio::time::timeout(ENDING, asked).await;
        let _ = std::fs::remove_file(&self.socket);
        match self.confined() {
            Some(confined) => confined.delete().await,
            None => Ok(()),
        }
    }

    pub(super) fn insert(&self, guest: &Arc<Guest>) {
        self.guests().insert(guest.id().to_owned(), Arc::downgrade(guest));
    }

    pub(super) fn remove(&self, id: &str) {
        self.guests().remove(id);
    }

    async fn listen(self: Arc<Self>) {
        while let Ok(Some((message, _descriptors))) = self.channel.receive().await {
            match message {
                FromWorker::Done { number, outcome } => {
                    if let Some(call) = self.calls().remove(&number) {
                        let _ = call.send(outcome);
                    }
                }
                FromWorker::Output { id, number, stream, bytes } => {
                    if let Some(guest) = self.guest(&id) {
                        guest.output(number, stream, bytes.0);
                    }
                }
                FromWorker::Exited { id, exit } => {
                    if let Some(guest) = self.guest(&id) {
                        guest.exited(exit_from_worker(exit));
                    }
                }
                FromWorker::Hello { .. } | FromWorker::Held { .. } => {}
            }
        }
        self.lost().await;
    }

    /// The worker is gone, and with it every guest that had not ended.
    async fn lost(&self) {
        self.open.send_replace(false);
        self.calls().clear();
        let guests: Vec<Arc<Guest>> = self.guests().values().filter_map(Weak::upgrade).collect();
        let exit = if guests.iter().any(|guest| guest.lives()) { self.last_exit().await } else { unknown_exit() };
        for guest in guests {
            guest.exited(exit.clone());
        }
        let _ = std::fs::remove_file(&self.socket);
        if let Some(confined) = self.confined().filter(|_| !self.ending.load(Ordering::SeqCst))
            && let Err(error) = confined.delete().await
        {
            tracing::warn!("the sandbox of a dead worker cannot be freed: {}", super::sentence(&error));
        }
    }

    async fn last_exit(&self) -> Exit {
        let Some(confined) = self.confined() else { return unknown_exit() };
        match tokio::time::timeout(ENDING, confined.wait()).await {
            Ok(exit) => {
                let why = match (exit.oom_killed, exit.code) {
                    (true, _) => "its worker was killed: the memory limit was reached".to_owned(),
                    (false, Some(code)) => format!("its worker ended with status {code}"),
                    (false, None) => "its worker is gone".to_owned(),
                };
                // Whatever ended the worker, to the guest it was a kill.
                Exit { code: exit.code.map(|_| 137), reason: Some(why), ..exit }
            }
            Err(_elapsed) => unknown_exit(),
        }
    }

    fn gone(&self) -> Error {
        Error::new(Kind::Failed, "the Wasm worker is gone")
    }

    fn guest(&self, id: &str) -> Option<Arc<Guest>> {
        self.guests().get(id).and_then(Weak::upgrade)
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<String, Weak<Guest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Answer, Failure>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under what name a worker knows an artifact.
pub(super) fn key(artifact: &Artifact) -> String {
    name(&artifact.folder)
}

fn name(folder: &Path) -> String {
    folder.to_string_lossy().into_owned()
}

fn exit_from_worker(exit: proa_wasm::worker::Exit) -> Exit {
    Exit { code: Some(exit.code), oom_killed: exit.limited, reason: exit.reason, at: exit.at }
}

fn unknown_exit() -> Exit {
    let reason = Some("its worker is gone, and nobody saw how it ended".to_owned());
    Exit { code: None, oom_killed: false, reason, at: SystemTime::now() }
}

fn from_worker(failure: Failure) -> Error {
    let kind = match failure.kind {
        FailureKind::Conflict | FailureKind::Unknown => Kind::Conflict,
        FailureKind::Invalid => Kind::Invalid,
        FailureKind::Failed => Kind::Failed,
    };
    Error::new(kind, failure.message)
}
