//! One Wasm guest as the waist sees it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oci_spec::runtime::{LinuxMemory, LinuxResources};
use proa_wasm::Plan;
use proa_wasm::worker::protocol::{self, Answer, Blob, Body, INLINE, Request, Signal};
use proa_wasm::worker::{DESCRIPTORS, Stream};
use rustix::fs::MemfdFlags;
use tokio::sync::{mpsc, watch};

use super::Place;
use super::link::{Link, key};
use super::streams::{Ends, Near, Output, Stdin};
use super::workers::OVERHEAD;
use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::linux;
use crate::output::Chunk;
use crate::runtime::{Adopted, Artifact, State, Usage};

/// One guest. Clones are the same guest.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Guest>);

/// What its worker's connection and its handles share.
#[derive(Debug)]
pub(super) struct Guest {
    id: String,
    link: Arc<Link>,
    exit: watch::Sender<Option<Exit>>,
    /// Closed with the exit: then the output has an end. What waits here is bounded by the worker's ring.
    chunks: Mutex<Option<mpsc::UnboundedSender<(u64, Chunk)>>>,
    /// Until somebody takes the output.
    frames: Mutex<Option<mpsc::UnboundedReceiver<(u64, Chunk)>>>,
    near: Near,
}

/// How far a guest of a former door is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    pub(super) started: bool,
    pub(super) paused: bool,
}

impl Guest {
    fn new(link: &Arc<Link>, id: String, near: Near) -> Arc<Guest> {
        let (chunks, waiting) = mpsc::unbounded_channel();
        let guest = Arc::new(Guest {
            id,
            link: Arc::clone(link),
            exit: watch::Sender::new(None),
            chunks: Mutex::new(Some(chunks)),
            frames: Mutex::new(Some(waiting)),
            near,
        });
        link.insert(&guest);
        guest
    }

    /// A guest of a former door. `descriptor` is its input's write end or its terminal.
    pub(super) fn adopt(
        link: &Arc<Link>,
        id: String,
        stage: Stage,
        terminal: bool,
        exit: Option<Exit>,
        descriptor: Option<OwnedFd>,
    ) -> Result<Adopted> {
        let near = Near::adopted(descriptor, terminal)?;
        let guest = Guest::new(link, id, near);
        let state = match (exit, stage.started) {
            (Some(exit), _) => {
                // Its unread output comes first; the worker tells the exit again behind it.
                guest.exit.send_replace(Some(exit.clone()));
                State::Exited(exit)
            }
            (None, true) if stage.paused => State::Paused,
            (None, true) => State::Running,
            (None, false) => State::Created,
        };
        Ok(Adopted { sandbox: crate::Sandbox::Wasm(Sandbox(guest)), state })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn near(&self) -> &Near {
        &self.near
    }

    pub(super) fn lives(&self) -> bool {
        self.exit.borrow().is_none()
    }

    pub(super) fn output(&self, number: u64, stream: Stream, bytes: Vec<u8>) {
        let stream = match stream {
            Stream::Stdout => crate::Stream::Stdout,
            Stream::Stderr => crate::Stream::Stderr,
        };
        if let Some(chunks) = self.chunks().as_ref() {
            // A reader that was dropped leaves it to the next door.
            let _ = chunks.send((number, Chunk { stream, bytes }));
        }
    }

    /// Records the end, the first one told; output is complete.
    pub(super) fn exited(&self, exit: Exit) {
        *self.chunks() = None;
        self.exit.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(exit);
            }
            first
        });
    }

    pub(super) async fn acknowledge(&self, through: u64) {
        self.link.acknowledge(&self.id, through).await;
    }

    pub(super) async fn close_input(&self) -> Result<()> {
        match self.link.call(Request::CloseInput { id: self.id.clone() }, &[]).await {
            // Gone: its input has ended, which was the wish.
            Err(error) if error.kind() == Kind::Conflict || !self.link.is_open() => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) async fn kill(&self, signal: Signal) -> Result<()> {
        self.link.call(Request::Kill { id: self.id.clone(), signal }, &[]).await.map(drop)
    }

    fn chunks(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<(u64, Chunk)>>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox {
    /// Makes the guest in the worker behind `link`. Handles go in the order of the plan's grants.
    pub(super) async fn create(
        link: &Arc<Link>,
        place: Place,
        artifact: &Artifact,
        plan: &Plan,
        streams: Ends,
        preopens: Vec<OwnedFd>,
        listeners: Vec<TcpListener>,
    ) -> Result<Sandbox> {
        let bytes =
            postcard::to_stdvec(plan).map_err(|error| Error::new(Kind::Failed, "encode the plan").caused_by(error))?;
        let mut descriptors = Vec::new();
        let body = if bytes.len() <= INLINE {
            Body::Inline(Blob(bytes))
        } else {
            descriptors.push(beside(&bytes)?);
            Body::Beside(bytes.len() as u64)
        };
        descriptors.extend(streams.far);
        descriptors.extend(preopens);
        descriptors.extend(listeners.into_iter().map(OwnedFd::from));
        if descriptors.len() > DESCRIPTORS {
            return Err(Error::new(Kind::Invalid, format!("more than {DESCRIPTORS} directories and ports")));
        }
        let Place { id, within } = place;
        let guest = Guest::new(link, id.clone(), streams.near);
        let request = Request::Create { id: id.clone(), key: key(artifact), plan: body, within };
        if let Err(error) = link.call(request, &descriptors).await {
            link.remove(&id);
            return Err(error);
        }
        Ok(Sandbox(guest))
    }

    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.0.link.pid().filter(|_| self.0.lives())
    }

    pub(crate) async fn start(&self) -> Result<()> {
        self.0.link.call(Request::Start { id: self.0.id.clone() }, &[]).await.map(drop)
    }

    pub(crate) async fn signal(&self, signal: i32) -> Result<()> {
        let Some(known) = Signal::from_number(signal) else {
            let sentence = format!("a Wasm guest knows the signals INT, KILL and TERM, not {}", signal_name(signal));
            return Err(Error::new(Kind::Invalid, sentence));
        };
        if !self.0.lives() {
            return Err(Error::new(Kind::Conflict, format!("`{}` has ended", self.0.id)));
        }
        self.0.kill(known).await
    }

    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.0.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        // The sender lives in `self.0`, so there is always an answer.
        ended.unwrap_or(Exit { code: None, oom_killed: false, reason: None, at: std::time::SystemTime::now() })
    }

    pub(crate) fn output(&self) -> Option<Output> {
        let frames = self.0.frames.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Output::new(&self.0, frames))
    }

    pub(crate) fn stdin(&self) -> Option<Stdin> {
        self.0.near.stdin(&self.0)
    }

    pub(crate) async fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.0.near.resize(rows, columns)
    }

    pub(crate) async fn usage(&self) -> Result<Usage> {
        let told = self.call(Request::Usage { id: self.0.id.clone() }).await?;
        let Answer::Usage(protocol::Usage { memory, memory_peak, limit, cpu }) = told else {
            return Ok(Usage::default());
        };
        let (memory_limit, cpu) = (Some(limit), Duration::from_nanos(cpu));
        // Its worker is the kernel's to measure, with all that it costs beside its guest, where a cgroup could be made.
        if let Some(worker) = self.own_worker() {
            let measured = worker.usage().await?;
            if measured.memory > 0 {
                return Ok(Usage { memory_limit, ..measured });
            }
        }
        Ok(Usage { memory, memory_peak, memory_limit, cpu, cpu_user: cpu, ..Usage::default() })
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        self.call(Request::Pause { id: self.0.id.clone() }).await.map(drop)
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        self.call(Request::Resume { id: self.0.id.clone() }).await.map(drop)
    }

    pub(crate) async fn update(&self, resources: &LinuxResources) -> Result<()> {
        if resources.pids().is_some() {
            return Err(Error::new(Kind::Invalid, "a Wasm guest has no processes that a limit could count"));
        }
        if resources.cpu().is_some() {
            let Some(worker) = self.own_worker() else {
                let sentence = "a processor limit cannot be held under `wasm` yet; `wasm-process` holds it";
                return Err(Error::new(Kind::Invalid, sentence));
            };
            let mut processor = LinuxResources::default();
            processor.set_cpu(resources.cpu().clone());
            worker.update(&processor).await?;
        }
        let limit = resources.memory().as_ref().and_then(LinuxMemory::limit);
        match limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0) {
            Some(limit) => self.limit_memory(limit).await,
            None => Ok(()),
        }
    }

    /// The worker's own bound is never below the guest's; where no cgroup could be made it has none, and the guest's holds.
    async fn limit_memory(&self, limit: u64) -> Result<()> {
        let request = Request::Update { id: self.0.id.clone(), memory: limit };
        let Some(worker) = self.own_worker() else { return self.call(request).await.map(drop) };
        let before = self.usage().await?.memory_limit;
        if before.is_none_or(|before| before < limit) {
            with_or_without_cgroup(worker.update(&with_overhead(limit)).await)?;
            return self.call(request).await.map(drop);
        }
        self.call(request).await?;
        with_or_without_cgroup(worker.update(&with_overhead(limit)).await)
    }

    /// The sandbox of the worker, where that is this guest's alone.
    fn own_worker(&self) -> Option<linux::Sandbox> {
        self.0.link.confined().filter(|_| self.0.link.identity().single)
    }

    async fn call(&self, request: Request) -> Result<Answer> {
        self.0.link.call(request, &[]).await
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        let link = &self.0.link;
        let deleted = if link.is_open() {
            link.call(Request::Delete { id: self.0.id.clone() }, &[]).await.map(drop)
        } else {
            Ok(())
        };
        // A worker that went meanwhile took the guest with it.
        let deleted = if link.is_open() { deleted } else { Ok(()) };
        let killed = Exit { code: Some(137), oom_killed: false, reason: None, at: std::time::SystemTime::now() };
        self.0.exited(killed);
        link.remove(&self.0.id);
        // What was executed in a container leaves its worker to it.
        if link.identity().single && !self.0.id.contains('/') {
            let ended = link.end().await;
            return deleted.and(ended);
        }
        deleted
    }
}

fn with_or_without_cgroup(updated: Result<()>) -> Result<()> {
    match updated {
        Err(error) if error.kind() == Kind::Unavailable => Ok(()),
        outcome => outcome,
    }
}

fn with_overhead(limit: u64) -> LinuxResources {
    let mut memory = LinuxMemory::default();
    memory.set_limit(i64::try_from(limit.saturating_add(OVERHEAD)).ok());
    let mut resources = LinuxResources::default();
    resources.set_memory(Some(memory));
    resources
}

fn beside(bytes: &[u8]) -> Result<OwnedFd> {
    let fail = |errno: rustix::io::Errno| Error::new(Kind::Failed, "put the plan into memory").caused_by(errno);
    let memory = rustix::fs::memfd_create("plan", MemfdFlags::CLOEXEC).map_err(fail)?;
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::pwrite(&memory, &bytes[written..], written as u64).map_err(fail)?;
    }
    Ok(memory)
}

fn signal_name(number: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(number).ok().and_then(|number| NAMES.get(number.checked_sub(1)?));
    name.map_or_else(|| format!("signal {number}"), |name| format!("`{name}`"))
}
