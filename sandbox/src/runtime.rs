//! The closed choice between the two runtimes, and the verbs that both truly have.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::isolation::Isolation;
use crate::output::{Output, Stdin};
use crate::workload::Workload;
use crate::{linux, wasm};

/// Where a door keeps what its runtimes need. Everything is keyed by `run`, so two doors never meet.
#[derive(Debug, Clone)]
pub struct Config {
    /// The run directory: sockets of zygotes and workers. Made with mode 0700 when missing.
    pub run: PathBuf,
    /// The cache of compiled code.
    pub cache: PathBuf,
    /// The cgroup below each hierarchy's root under which sandboxes stand, such as `proa-1f3c`; removed when empty.
    pub cgroup_parent: String,
}

/// Whether this machine and user can run a model, found by trying.
#[derive(Debug, Clone)]
pub struct Availability {
    pub isolation: Isolation,
    /// Why not, in one sentence; `None` when it can.
    pub lacks: Option<String>,
}

/// What a compiled module turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleKind {
    /// A core module with `_start` (WASI 0.1).
    Module,
    /// A component exporting `wasi:cli/run` (WASI 0.2).
    Command,
    /// A component exporting `wasi:http/incoming-handler` (WASI 0.2).
    Http,
}

/// Compiled code in the cache: its own folder, named by digest, engine version, settings and CPU features.
#[derive(Debug, Clone)]
pub struct Artifact {
    pub folder: PathBuf,
    pub kind: ModuleKind,
    /// What the module imports, such as `wasi:cli/environment@0.2.3` or `wasi_snapshot_preview1`.
    pub imports: Vec<String>,
}

/// A sandbox that outlived its last host.
#[derive(Debug)]
pub struct Adopted {
    pub sandbox: Sandbox,
    pub state: State,
}

/// Where a sandbox is in its life. `Created -> Running <-> Paused`, and `-> Exited` from each of them.
#[derive(Debug, Clone)]
pub enum State {
    Created,
    Running,
    Paused,
    Exited(Exit),
}

/// What a sandbox uses now. What a model does not count is 0, empty or `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory now and at most; for `wasm` what the guest's linear memories, tables and buffers hold.
    pub memory: u64,
    pub memory_peak: u64,
    /// Bytes it may use; `None` without a limit of its own.
    pub memory_limit: Option<u64>,
    /// How often the limit was met.
    pub memory_failures: u64,
    /// The kernel's account of its memory, by the kernel's names; they differ between cgroups v1 and v2.
    pub memory_details: Vec<(String, u64)>,
    /// CPU time used, in all, and of it in user and kernel mode.
    pub cpu: Duration,
    pub cpu_user: Duration,
    pub cpu_system: Duration,
    /// Nanoseconds on each processor.
    pub cpu_each: Vec<u64>,
    pub throttling: Throttling,
    /// Processes and threads, and how many there may be; 0 for a Wasm guest, which has none of its own.
    pub pids: u64,
    pub pids_limit: Option<u64>,
    /// What it read from and wrote to block devices.
    pub blocks: Vec<Block>,
}

/// How often a processor quota held it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttling {
    pub periods: u64,
    pub throttled: u64,
    pub time: Duration,
}

/// One block device and direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub major: u64,
    pub minor: u64,
    /// `read` or `write`.
    pub operation: &'static str,
    pub bytes: u64,
    pub count: u64,
}

/// Both runtimes of one door.
#[derive(Debug)]
pub struct Runtimes {
    linux: linux::Runtime,
    wasm: wasm::Runtime,
}

impl Runtimes {
    /// Finds or starts the zygote, and what the last door left running.
    pub async fn open(config: &Config) -> Result<(Runtimes, Vec<Adopted>)> {
        let (linux, mut adopted) = linux::Runtime::open(config).await?;
        let (wasm, guests) = wasm::Runtime::open(config, linux.clone()).await?;
        adopted.extend(guests);
        Ok((Runtimes { linux, wasm }, adopted))
    }

    /// What each model lacks here, found by trying; cached for the life of the door.
    pub async fn availability(&self) -> Vec<Availability> {
        let mut all = self.wasm.availability().await;
        all.extend(self.linux.availability().await);
        all
    }

    /// Why `isolation` cannot be had here, in one sentence, as far as it was found at the opening; nothing is tried now.
    /// Wasm needs no privilege: what its workers lack shows when one starts.
    pub fn lacks(&self, isolation: Isolation) -> Option<String> {
        if isolation.is_wasm() { None } else { self.linux.lacks(isolation) }
    }

    /// Removes the compiled code of modules that are gone (`sha256:...`), but for the folders in `used`, and gives back
    /// the bytes it freed. What is removed too early is compiled anew when it is wanted.
    pub async fn forget(&self, digests: HashSet<String>, used: HashSet<PathBuf>) -> u64 {
        self.wasm.forget(digests, used).await
    }

    /// Reads all compiled code: how many modules there are, and the folders of those that are not what was stored.
    pub async fn damaged_code(&self) -> (u64, Vec<PathBuf>) {
        self.wasm.damaged_code().await
    }

    /// Compiles `module` in the compiler's sandbox, or finds it in the cache. Whole or nothing; requests for one
    /// `digest` are served by one compilation.
    ///
    /// # Errors
    /// `Invalid` with one sentence when the bytes are not Wasm, or import what nothing here provides (named).
    pub async fn compile(&self, digest: &str, module: &Path) -> Result<Artifact> {
        self.wasm.compile(digest, module).await
    }

    /// Which limits of native containers this machine's cgroups can hold.
    pub fn offers(&self) -> proa_linux::cgroup::Offers {
        self.linux.offers()
    }

    /// The plan of a workload as text, a step or grant a line; prepares and runs nothing.
    pub fn plan(&self, workload: &Workload) -> Result<String> {
        if workload.isolation.is_wasm() { self.wasm.plan(workload) } else { self.linux.plan(workload) }
    }

    /// Prepares and creates; the guest's first instruction waits for [`Sandbox::start`]. `listeners` are the
    /// published sockets of a Wasm HTTP component, empty otherwise.
    pub async fn create(&self, workload: &Workload, listeners: Vec<TcpListener>) -> Result<Sandbox> {
        if workload.isolation.is_wasm() {
            self.wasm.create(workload, listeners).await.map(Sandbox::Wasm)
        } else if listeners.is_empty() {
            self.linux.create(workload).await.map(Sandbox::Linux)
        } else {
            Err(Error::new(Kind::Invalid, "ports cannot be published for a native container yet"))
        }
    }

    /// One more program in a running container, created and waiting for [`start`](Sandbox::start); its id is `ID/EXEC`. It
    /// shares the container's bounds and ends with it.
    ///
    /// Of `workload` a native container, being there already, needs the program's process, `stdin` and the container's
    /// own filter (`linux.seccomp`, else the default one); for Wasm it is the container's own with the program's process,
    /// input and module, and its grants are made once more.
    ///
    /// # Errors
    /// `Conflict` when the container does not run.
    pub async fn exec(&self, container: &Sandbox, exec_id: &str, workload: &Workload) -> Result<Sandbox> {
        match container {
            Sandbox::Linux(inner) => {
                let process = workload.spec.process().as_ref();
                let process = process.ok_or_else(|| Error::new(Kind::Invalid, "an exec names no process"))?;
                let seccomp = workload.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
                inner.exec(exec_id, process, seccomp, workload.stdin).await.map(Sandbox::Linux)
            }
            Sandbox::Wasm(inner) => self.wasm.exec(inner, exec_id, workload).await.map(Sandbox::Wasm),
        }
    }

    /// Ends every sandbox, worker and zygote of this door; returns when no process, mount or cgroup is left.
    pub async fn stop(self) -> Result<()> {
        self.wasm.stop().await?;
        self.linux.stop().await
    }
}

/// One confined workload, or one more process in it. Every verb takes `&self`, so that signals and usage work while
/// somebody waits.
#[derive(Debug, Clone)]
pub enum Sandbox {
    Linux(linux::Sandbox),
    Wasm(wasm::Sandbox),
}

macro_rules! either {
    ($sandbox:expr, $inner:ident => $body:expr) => {
        match $sandbox {
            Sandbox::Linux($inner) => $body,
            Sandbox::Wasm($inner) => $body,
        }
    };
}

impl Sandbox {
    /// The workload's id; an exec's is `ID/EXEC`.
    pub fn id(&self) -> &str {
        either!(self, inner => inner.id())
    }

    /// The process's id on the node; the worker's for a Wasm guest.
    pub fn pid(&self) -> Option<u32> {
        either!(self, inner => inner.pid())
    }

    /// Lets the guest run.
    ///
    /// # Errors
    /// `NotFound` and `NotExecutable` for the program, `Conflict` when it was started before.
    pub async fn start(&self) -> Result<()> {
        either!(self, inner => inner.start().await)
    }

    /// Sends signal number `signal` (1 to 64) to the guest's first process. A Wasm guest knows TERM, INT and KILL. KILL
    /// ends a paused guest too; what else a paused guest is sent, it gets when it goes on.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        either!(self, inner => inner.signal(signal).await)
    }

    /// Waits for the end; any number may wait, also after it.
    pub async fn wait(&self) -> Exit {
        either!(self, inner => inner.wait().await)
    }

    /// Holds it, and what was executed in it, where it stands: nothing of it gets processor time until
    /// [`resume`](Sandbox::resume). Idempotent. A Wasm guest stops at its next epoch (10 ms) or host call.
    ///
    /// # Errors
    /// `Unavailable` where the machine has no freezer for it, `Conflict` when it does not run.
    pub async fn pause(&self) -> Result<()> {
        either!(self, inner => inner.pause().await)
    }

    /// Lets it go on; idempotent.
    pub async fn resume(&self) -> Result<()> {
        either!(self, inner => inner.resume().await)
    }

    /// Changes its bounds; what `resources` does not name stays.
    ///
    /// # Errors
    /// `Conflict` when it holds more than it should be allowed, `Unavailable` for a bound without its controller, and
    /// `Invalid` for one that this model cannot hold.
    pub async fn update(&self, resources: &LinuxResources) -> Result<()> {
        either!(self, inner => inner.update(resources).await)
    }

    /// The processes in it, by their ids on the node; `None` for a Wasm guest, which has none of its own.
    pub async fn processes(&self) -> Option<Vec<u32>> {
        match self {
            Sandbox::Linux(inner) => Some(inner.processes().await),
            Sandbox::Wasm(_) => None,
        }
    }

    /// The guest's output; the first caller gets it.
    pub fn output(&self) -> Option<Output> {
        match self {
            Sandbox::Linux(inner) => inner.output().map(Output::Linux),
            Sandbox::Wasm(inner) => inner.output().map(Output::Wasm),
        }
    }

    /// The guest's standard input, if it was created with one that is still open.
    pub fn stdin(&self) -> Option<Stdin> {
        match self {
            Sandbox::Linux(inner) => inner.stdin().map(Stdin::Linux),
            Sandbox::Wasm(inner) => inner.stdin().map(Stdin::Wasm),
        }
    }

    /// Sets the size of its terminal, if it has one.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        either!(self, inner => inner.resize(rows, columns).await)
    }

    /// What it uses now.
    pub async fn usage(&self) -> Result<Usage> {
        either!(self, inner => inner.usage().await)
    }

    /// The directory that a native guest's process has for a root, with all that is mounted there; also before its start.
    /// The guest changes what lies in it at any time: paths are resolved beneath it by openat2 with RESOLVE_IN_ROOT and
    /// RESOLVE_NO_MAGICLINKS, and never on the node (CVE-2018-15664).
    ///
    /// # Errors
    /// `Conflict` when it has ended, `Invalid` for a Wasm guest, which has no root.
    pub fn root(&self) -> Result<std::os::fd::OwnedFd> {
        match self {
            Sandbox::Linux(inner) => inner.root(),
            Sandbox::Wasm(_) => Err(Error::new(Kind::Invalid, "a Wasm container has no root of its own")),
        }
    }

    /// Ends it if it lives, waits for its end, acknowledges the exit and frees all it had. Idempotent.
    pub async fn delete(&self) -> Result<()> {
        either!(self, inner => inner.delete().await)
    }
}

/// The zygote's main function, for `main` to call before anything else is touched; never returns to the caller's work.
pub fn zygote_main() -> ExitCode {
    linux::zygote_main(&wasm::ENTRIES)
}
