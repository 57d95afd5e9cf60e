//! The workers of one door: found by their sockets, started when needed, ended with the door's workloads.
//!
//! ```text
//! RUN/worker-<16 hex>.sock    bound by the door, listened on by the worker, removed when nobody listens any more
//! ```

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proa_wasm::worker::protocol::Identity;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::WORKER;
use super::link::{Found, Link};
use crate::error::{Error, Kind, Result};
use crate::linux::{self, Confine};
use crate::runtime::Adopted;
use crate::workload::Workload;

/// Guests and requests a tenant's worker can hold. Each takes 4 of the 65,530 mappings a process may have.
const SHARED_INSTANCES: u32 = 10_000;

/// The same for one guest's own worker: requests of an HTTP component.
const SINGLE_INSTANCES: u32 = 512;

/// What a worker needs beside its guest's memory, in bytes: engine, threads, buffers.
pub(super) const OVERHEAD: u64 = 64 << 20;

/// Threads of a worker.
const THREADS: i64 = 512;

/// For a new worker to answer.
const GREETING: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Workers {
    run: PathBuf,
    linux: linux::Runtime,
    /// By tenant; a slot is held while its worker is started.
    shared: Mutex<HashMap<String, Slot>>,
    single: Mutex<Vec<Arc<Link>>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Arc<Link>>>>;

impl Workers {
    /// Finds the workers in `run`, and their guests.
    pub(super) async fn open(run: &Path, linux: linux::Runtime) -> Result<(Workers, Vec<Adopted>)> {
        let confined = linux.take_confined().into_iter().map(|sandbox| (sandbox.id().to_owned(), sandbox));
        let mut confined: HashMap<String, linux::Sandbox> = confined.collect();
        let workers = Workers { run: run.to_owned(), linux, shared: Mutex::default(), single: Mutex::default() };
        let mut adopted = Vec::new();
        for name in workers.sockets()? {
            let found = match workers.find(&name).await {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // It may hold guests: leave it, it ends by itself when they have ended.
                Err(error) => {
                    confined.remove(&sandbox_id(&name));
                    tracing::warn!("worker `{name}` cannot be adopted: {}", super::sentence(&error));
                    continue;
                }
            };
            if let Some(sandbox) = confined.remove(&sandbox_id(&name)) {
                found.link.own(sandbox);
            }
            adopted.extend(workers.keep(found).await);
        }
        // Compilers nobody waits for, and workers that ended while nobody watched.
        for sandbox in confined.into_values() {
            sandbox.delete().await?;
        }
        Ok((workers, adopted))
    }

    /// The worker of `tenant`, started if there is none.
    pub(super) async fn shared(&self, tenant: &str) -> Result<Arc<Link>> {
        let slot = Arc::clone(self.slots().entry(tenant.to_owned()).or_default());
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_open()) {
            return Ok(Arc::clone(link));
        }
        let link = self.start(tenant, SHARED_INSTANCES, false, Limits::default()).await?;
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    /// A worker for this workload alone, bounded by its cgroup.
    pub(super) async fn single(&self, workload: &Workload) -> Result<Arc<Link>> {
        let link = self.start(&workload.tenant, SINGLE_INSTANCES, true, Limits::of(workload)).await?;
        let mut single = self.singles();
        single.retain(|link| link.is_open());
        single.push(Arc::clone(&link));
        Ok(link)
    }

    /// Ends all of them.
    pub(super) async fn stop(&self) -> Result<()> {
        let slots: Vec<Slot> = self.slots().drain().map(|(_, slot)| slot).collect();
        let mut links: Vec<Arc<Link>> = self.singles().drain(..).collect();
        for slot in slots {
            links.extend(slot.lock().await.take());
        }
        let mut first = Ok(());
        for link in links {
            let ended = link.end().await;
            if first.is_ok() {
                first = ended;
            }
        }
        first
    }

    async fn start(&self, tenant: &str, instances: u32, single: bool, limits: Limits) -> Result<Arc<Link>> {
        let name = random_name()?;
        let identity = Identity { worker: name.clone(), tenant: tenant.to_owned(), instances, single };
        let fail = |error: Error| Error::new(error.kind(), "start a Wasm worker").caused_by(error);
        let socket = self.bind(&name)?;
        let started = self.start_bound(identity, socket, limits).await;
        started.map_err(|error| {
            self.unlink(&name);
            fail(error)
        })
    }

    async fn start_bound(&self, identity: Identity, socket: OwnedFd, limits: Limits) -> Result<Arc<Link>> {
        let name = identity.worker.clone();
        let argument = postcard::to_stdvec(&identity)
            .map_err(|error| Error::new(Kind::Failed, "encode the worker's identity").caused_by(error))?;
        let confined = self
            .linux
            .confine(Confine {
                id: sandbox_id(&name),
                entry: WORKER,
                argument,
                fds: vec![socket],
                syscalls: proa_wasm::worker::SYSCALLS,
                memory: limits.memory,
                cpu_quota: limits.cpu_quota,
                pids: Some(THREADS),
            })
            .await?;
        let greeting = async {
            match self.find(&name).await? {
                Some(found) => Ok(found.link),
                None => Err(Error::new(Kind::Failed, "it does not listen")),
            }
        };
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(GREETING, greeting) => greeted
                .unwrap_or_else(|_elapsed| Err(Error::new(Kind::Failed, "it does not answer"))),
            exit = confined.wait() => Err(early(&confined, exit).await),
        };
        match greeted {
            Ok(link) => {
                link.own(confined);
                Ok(link)
            }
            Err(error) => {
                // The first error is the one to tell.
                let _ = confined.delete().await;
                Err(error)
            }
        }
    }

    /// Files a worker of a former door; gives its guests.
    async fn keep(&self, found: Found) -> Vec<Adopted> {
        let Found { link, guests } = found;
        if link.identity().single {
            self.singles().push(link);
        } else {
            let slot = Arc::clone(self.slots().entry(link.identity().tenant.clone()).or_default());
            slot.lock().await.get_or_insert(link);
        }
        guests
    }

    /// Connects to a worker; `None` when nobody listens, and then its socket is gone.
    async fn find(&self, name: &str) -> Result<Option<Found>> {
        let fail = |errno: Errno| Error::new(Kind::Failed, format!("connect to worker `{name}`")).caused_by(errno);
        let socket = new_socket().map_err(fail)?;
        let (address, _folder) = self.address(name)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT) => {
                self.unlink(name);
                return Ok(None);
            }
            Err(errno) => return Err(fail(errno)),
        }
        tokio::time::timeout(GREETING, Link::greet(socket, self.path(name)))
            .await
            .unwrap_or_else(|_elapsed| Err(Error::new(Kind::Failed, format!("worker `{name}` does not answer"))))
            .map(Some)
    }

    fn bind(&self, name: &str) -> Result<OwnedFd> {
        let fail =
            |errno: Errno| Error::new(Kind::Failed, format!("make the socket of worker `{name}`")).caused_by(errno);
        let socket = new_socket().map_err(fail)?;
        let (address, _folder) = self.address(name)?;
        rustix::net::bind(&socket, &address).map_err(fail)?;
        // Listening from here on, a connection made before the worker is up waits for it.
        rustix::net::listen(&socket, 16).map_err(fail)?;
        Ok(socket)
    }

    /// Through a handle of the folder: a path of any length fits the 108 bytes of an address. The handle must live
    /// until the address was used.
    fn address(&self, name: &str) -> Result<(SocketAddrUnix, OwnedFd)> {
        let fail = |errno: Errno| {
            Error::new(Kind::Failed, format!("open the run directory `{}`", self.run.display())).caused_by(errno)
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.run, flags, Mode::empty()).map_err(fail)?;
        let path = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), file_name(name));
        Ok((SocketAddrUnix::new(path).map_err(fail)?, folder))
    }

    fn sockets(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.run).map_err(|error| {
            Error::new(Kind::Failed, format!("read the run directory `{}`", self.run.display())).caused_by(error)
        })?;
        let name = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("worker-")?.strip_suffix(".sock").map(str::to_owned)
        };
        Ok(entries.flatten().filter_map(name).collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.run.join(file_name(name))
    }

    fn unlink(&self, name: &str) {
        // Another opening may have done it.
        let _ = std::fs::remove_file(self.path(name));
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn singles(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.single.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds of a worker's cgroup.
#[derive(Debug, Default)]
struct Limits {
    memory: Option<u64>,
    /// Quota and period, in microseconds.
    cpu_quota: Option<(i64, u64)>,
}

impl Limits {
    fn of(workload: &Workload) -> Limits {
        let resources = workload.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        let memory = resources.and_then(|all| all.memory().as_ref()).and_then(|memory| memory.limit());
        let cpu = resources.and_then(|all| all.cpu().as_ref());
        let quota = cpu.and_then(|cpu| cpu.quota()).filter(|quota| *quota > 0);
        let period = cpu.and_then(|cpu| cpu.period()).unwrap_or(100_000);
        Limits {
            memory: memory
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0)
                .map(|limit| limit + OVERHEAD),
            cpu_quota: quota.map(|quota| (quota, period)),
        }
    }
}

/// Why a worker ended before it answered, in its own words where it has any.
async fn early(confined: &linux::Sandbox, exit: crate::Exit) -> Error {
    let code = exit.code.map_or_else(|| "an unknown status".to_owned(), |code| format!("status {code}"));
    let mut sentence = format!("it ended with {code} before it answered");
    if let Some(mut output) = confined.output() {
        let chunk = tokio::time::timeout(Duration::from_secs(1), output.peek()).await;
        if let Ok(Ok(Some(chunk))) = chunk {
            sentence.push_str(": ");
            sentence.push_str(String::from_utf8_lossy(&chunk.bytes).trim());
        }
    }
    Error::new(Kind::Failed, sentence)
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn sandbox_id(name: &str) -> String {
    format!("worker-{name}")
}

fn file_name(name: &str) -> String {
    format!("worker-{name}.sock")
}

/// 16 hex digits nobody else has.
pub(super) fn random_name() -> Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::new(Kind::Failed, "get random bytes").caused_by(errno))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
