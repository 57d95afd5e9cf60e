//! The closed choice between the two runtimes, and the verbs that both truly have.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use oci_spec::runtime::Process;
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

/// Where a sandbox is in its life. `Created -> Running -> Exited`, and `Created -> Exited` when it is killed unstarted.
#[derive(Debug, Clone)]
pub enum State {
    Created,
    Running,
    Exited(Exit),
}

/// What a sandbox uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory now and at most; for `wasm` what the guest's linear memories, tables and buffers hold.
    pub memory: u64,
    pub memory_peak: u64,
    /// CPU time used.
    pub cpu: Duration,
    /// Processes and threads; 0 for a Wasm guest, which has none of its own.
    pub pids: u64,
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

    /// Compiles `module` in the compiler's sandbox, or finds it in the cache. Whole or nothing; requests for one
    /// `digest` are served by one compilation.
    ///
    /// # Errors
    /// `Invalid` with one sentence when the bytes are not Wasm, or import what nothing here provides (named).
    pub async fn compile(&self, digest: &str, module: &Path) -> Result<Artifact> {
        self.wasm.compile(digest, module).await
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

    /// Sends signal number `signal` (1 to 64) to the guest's first process. A Wasm guest knows TERM, INT and KILL.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        either!(self, inner => inner.signal(signal).await)
    }

    /// Waits for the end; any number may wait, also after it.
    pub async fn wait(&self) -> Exit {
        either!(self, inner => inner.wait().await)
    }

    /// One more process in a running native sandbox, created and waiting for [`start`](Sandbox::start).
    pub async fn exec(&self, exec_id: &str, process: &Process, stdin: bool) -> Result<Sandbox> {
        match self {
            Sandbox::Linux(inner) => inner.exec(exec_id, process, stdin).await.map(Sandbox::Linux),
            Sandbox::Wasm(_) => Err(Error::new(Kind::Invalid, "exec into a Wasm container is not supported yet")),
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

    /// Ends it if it lives, waits for its end, acknowledges the exit and frees all it had. Idempotent.
    pub async fn delete(&self) -> Result<()> {
        either!(self, inner => inner.delete().await)
    }
}

/// The zygote's main function, for `main` to call before anything else is touched; never returns to the caller's work.
pub fn zygote_main() -> ExitCode {
    linux::zygote_main(&wasm::ENTRIES)
}
