//! A process full of guests: one engine, one tenant, one host at a time.
//!
//! It must not know who sandboxed it or where anything lies on the node: compiled code, directories, listeners and
//! streams arrive as descriptors ([`protocol`]).

mod channel;
mod connection;
mod entry;
pub mod protocol;
mod ring;
mod sandbox;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::artifact::Artifact;
use crate::engine::Engine;
use crate::error::sentence;
use crate::facts::ModuleKind;
use crate::guest::Ready;
use crate::plan::Plan;
pub use channel::{Channel, DESCRIPTORS, PACKET};
use connection::Outbox;
pub use entry::{SYSCALLS, build};
use protocol::{Blob, Body, Failure, FailureKind, Identity, Signal};
pub use protocol::{Exit, Stream};
pub(crate) use ring::Ring;
use sandbox::{Sandbox, conflict};

/// See the module.
pub struct Worker {
    identity: Identity,
    engine: Arc<Engine>,
    /// Where guests run; the worker's own talk runs elsewhere, so that computing guests do not delay it.
    guests: Handle,
    artifacts: Mutex<HashMap<String, Arc<Artifact>>>,
    sandboxes: Mutex<HashMap<String, Arc<Sandbox>>>,
    outbox: Arc<Outbox>,
    /// Counts hosts; the newest is the host, so that an old connection cannot disturb a new one.
    hosts: AtomicU64,
    /// The number of the host that is connected, or 0.
    connected: AtomicU64,
    ending: AtomicBool,
    /// Something changed that may make it idle, or end it.
    changed: Notify,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker whose guests run on `guests`.
    pub fn new(engine: Engine, identity: Identity, guests: Handle) -> Arc<Worker> {
        Arc::new(Worker {
            identity,
            engine: Arc::new(engine),
            guests,
            artifacts: Mutex::default(),
            sandboxes: Mutex::default(),
            outbox: Arc::default(),
            hosts: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// Maps and links code under `key`; a key that is known is not loaded again.
    fn load(&self, key: String, kind: ModuleKind, descriptors: Vec<OwnedFd>) -> Result<(), Failure> {
        if self.artifacts().contains_key(&key) {
            return Ok(());
        }
        let folder = descriptors.into_iter().next().ok_or_else(|| invalid("`Load` came without a folder"))?;
        let artifact = Artifact::load(&self.engine, kind, folder).map_err(|error| failed(&error))?;
        self.artifacts().insert(key, Arc::new(artifact));
        Ok(())
    }

    fn create(
        &self,
        id: String,
        key: &str,
        plan: Body,
        within: Option<&str>,
        mut handles: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let parent = within.map(|parent| self.running(parent)).transpose()?;
        let artifact = self.artifacts().get(key).cloned().ok_or_else(|| unknown("compiled code", key))?;
        let plan = read_plan(plan, &mut handles)?;
        let queued = Arc::new(AtomicBool::new(false));
        let ring = {
            let (outbox, id, queued) = (Arc::clone(&self.outbox), id.clone(), Arc::clone(&queued));
            Arc::new(Ring::new(move || outbox.wake(&id, &queued)))
        };
        // Streams and listeners register with the reactor that will poll them.
        let entered = self.guests.enter();
        let made = Ready::new(&self.engine, &artifact, &plan, handles, &ring, parent.map(|parent| parent.account()));
        drop(entered);
        let (ready, kept) = made.map_err(|error| failed(&error))?;
        ring.rewind(self.connected.load(Ordering::SeqCst));
        let sandbox = Arc::new(Sandbox::new(id.clone(), ring, queued, ready, kept));
        let mut sandboxes = self.sandboxes();
        if sandboxes.contains_key(&id) {
            return Err(conflict(format!("guest `{id}` exists")));
        }
        sandboxes.insert(id.clone(), sandbox);
        drop(sandboxes);
        // Ended meanwhile, it looked for what runs within it before this was there.
        if let Some(gone) = within.and_then(|parent| self.running(parent).err()) {
            self.sandboxes().remove(&id);
            return Err(gone);
        }
        Ok(())
    }

    fn running(&self, id: &str) -> Result<Arc<Sandbox>, Failure> {
        let sandbox = self.find(id)?;
        if sandbox.is_running() { Ok(sandbox) } else { Err(conflict(format!("guest `{id}` is not running"))) }
    }

    fn start(self: &Arc<Worker>, id: &str) -> Result<(), Failure> {
        let sandbox = self.find(id)?;
        let (worker, ended) = (Arc::clone(self), Arc::clone(&sandbox));
        sandbox.start(&self.guests, move || {
            worker.end_within(&ended.id);
            worker.outbox.wake(&ended.id, &ended.queued);
        })
    }

    /// What was executed in a container ends with it.
    fn end_within(&self, id: &str) {
        let prefix = format!("{id}/");
        let within: Vec<Arc<Sandbox>> =
            self.sandboxes().values().filter(|sandbox| sandbox.id.starts_with(&prefix)).cloned().collect();
        for sandbox in within {
            if sandbox.kill(Signal::Kill) {
                self.outbox.wake(&sandbox.id, &sandbox.queued);
            }
        }
    }

    fn kill(&self, id: &str, signal: Signal) -> Result<(), Failure> {
        let sandbox = self.find(id)?;
        if sandbox.kill(signal) {
            self.outbox.wake(&sandbox.id, &sandbox.queued);
        }
        Ok(())
    }

    async fn delete(&self, id: &str) {
        let Some(sandbox) = self.sandboxes().get(id).cloned() else { return };
        sandbox.kill(Signal::Kill);
        sandbox.wait().await;
        self.sandboxes().remove(id);
        self.changed.notify_one();
    }

    async fn end(&self) {
        let all: Vec<Arc<Sandbox>> = self.sandboxes().values().cloned().collect();
        for sandbox in &all {
            sandbox.kill(Signal::Kill);
        }
        for sandbox in &all {
            sandbox.wait().await;
        }
        self.ending.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Whether nobody would miss it.
    fn idle(&self) -> bool {
        self.connected.load(Ordering::SeqCst) == 0 && self.sandboxes().is_empty()
    }

    fn find(&self, id: &str) -> Result<Arc<Sandbox>, Failure> {
        self.sandboxes().get(id).cloned().ok_or_else(|| unknown("guest", id))
    }

    fn sandboxes(&self) -> MutexGuard<'_, HashMap<String, Arc<Sandbox>>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn artifacts(&self) -> MutexGuard<'_, HashMap<String, Arc<Artifact>>> {
        self.artifacts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_plan(body: Body, handles: &mut Vec<OwnedFd>) -> Result<Plan, Failure> {
    let bytes = match body {
        Body::Inline(Blob(bytes)) => bytes,
        Body::Beside(length) => {
            if handles.is_empty() {
                return Err(invalid("a plan beside its packet came without a memfd"));
            }
            let memory = handles.remove(0);
            read_all(&memory, length).map_err(|errno| invalid(&format!("the plan's memfd cannot be read: {errno}")))?
        }
    };
    postcard::from_bytes(&bytes).map_err(|_| invalid("the plan cannot be decoded"))
}

fn read_all(memory: &OwnedFd, length: u64) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| rustix::io::Errno::INVAL)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(memory, &mut bytes[filled..], filled as u64)? {
            0 => return Err(rustix::io::Errno::INVAL),
            length => filled += length,
        }
    }
    Ok(bytes)
}

fn invalid(message: &str) -> Failure {
    Failure { kind: FailureKind::Invalid, message: message.to_owned() }
}

fn unknown(what: &str, name: &str) -> Failure {
    Failure { kind: FailureKind::Unknown, message: format!("the worker holds no {what} `{name}`") }
}

fn failed(error: &crate::Error) -> Failure {
    Failure { kind: FailureKind::Failed, message: sentence(error) }
}
