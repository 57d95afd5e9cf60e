//! Adapter: drives wasm-runtime's workers and compilers, which are Linux sandboxes made by `linux`.
//!
//! Here host paths become handles: bind sources, compiled code and listeners are opened on this side, made into
//! detached mounts by `linux`, and only then handed to a worker, which knows no path of the node.

mod cache;
mod compile;
mod guest;
mod link;
mod streams;
mod workers;

use std::collections::HashSet;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proa_wasm::{Plan, Setting};
use rustix::fs::{Mode, OFlags};
use tokio::sync::OnceCell;

use crate::error::{Error, Kind, Result};
use crate::isolation::Isolation;
use crate::linux;
use crate::runtime::{Adopted, Artifact, Availability, Config, ModuleKind};
use crate::workload::{Content, Workload};
use cache::Cache;
pub(crate) use guest::Sandbox;
use link::Link;
pub(crate) use streams::{Output, Stdin};
use workers::Workers;

/// What a zygote's child can become for this runtime.
pub(crate) static ENTRIES: [proa_linux::Entry; 2] = [
    proa_linux::Entry { name: WORKER, build: proa_wasm::worker::build },
    proa_linux::Entry { name: COMPILER, build: proa_wasm::compiler::build },
];

const WORKER: &str = "worker";
const COMPILER: &str = "compiler";

/// Wasm guests of one door.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    linux: linux::Runtime,
    workers: Workers,
    cache: Cache,
    availability: OnceCell<Vec<Availability>>,
}

impl Runtime {
    /// Finds the workers that outlived the last door, and their guests.
    pub(crate) async fn open(config: &Config, linux: linux::Runtime) -> Result<(Runtime, Vec<Adopted>)> {
        let (workers, adopted) = Workers::open(&config.run, linux.clone()).await?;
        let cache = Cache::open(&config.cache)?;
        Ok((Runtime(Arc::new(Inner { linux, workers, cache, availability: OnceCell::new() })), adopted))
    }

    /// Found by starting the default tenant's worker, which stays for its first guest.
    pub(crate) async fn availability(&self) -> Vec<Availability> {
        let found = self.0.availability.get_or_init(|| async {
            let lacks = self.0.workers.shared("default").await.err().map(|error| sentence(&error));
            let row = |isolation| Availability { isolation, lacks: lacks.clone() };
            vec![row(Isolation::Wasm), row(Isolation::WasmProcess)]
        });
        found.await.clone()
    }

    /// See [`crate::Runtimes::compile`].
    pub(crate) async fn compile(&self, digest: &str, module: &Path) -> Result<Artifact> {
        self.0.cache.get(digest, |code, report| compile::run(&self.0.linux, module, code, report)).await
    }

    /// See [`crate::Runtimes::forget`].
    pub(crate) async fn forget(&self, digests: HashSet<String>, used: HashSet<PathBuf>) -> u64 {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.cache.forget(&digests, &used)).await.unwrap_or(0)
    }

    /// See [`crate::Runtimes::damaged_code`].
    pub(crate) async fn damaged_code(&self) -> (u64, Vec<PathBuf>) {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.cache.damaged()).await.unwrap_or_default()
    }

    /// The grants of a workload, one a line.
    pub(crate) fn plan(&self, workload: &Workload) -> Result<String> {
        lower(workload, &[]).map(|plan| plan.to_string())
    }

    /// Creates a guest in its tenant's worker, or in one of its own.
    pub(crate) async fn create(&self, workload: &Workload, listeners: Vec<TcpListener>) -> Result<Sandbox> {
        let (artifact, files) = content(workload)?;
        let plan = lower(workload, &listeners)?;
        if artifact.kind == ModuleKind::Http && listeners.is_empty() {
            let error = Error::new(Kind::Invalid, "an HTTP component has nothing to listen on: no port is published");
            return Err(error.hint("publish one with `-p HOST_PORT:80`"));
        }
        // Everything that can be missing is found before a worker is troubled.
        let folders = folders(workload, files)?;
        let link = match workload.isolation {
            Isolation::WasmProcess => self.0.workers.single(workload).await?,
            _ => self.0.workers.shared(&workload.tenant).await?,
        };
        let place = Place { id: workload.id.clone(), within: None };
        let made = self.create_in(&link, place, artifact, &plan, folders, listeners).await;
        if made.is_err() && link.identity().single {
            // Its worker would hold nothing for ever; the first error is the one to tell.
            let _ = link.end().await;
        }
        made
    }

    /// A fresh instance beside a running guest, in its worker and within its account.
    pub(crate) async fn exec(&self, container: &Sandbox, exec_id: &str, workload: &Workload) -> Result<Sandbox> {
        let (artifact, files) = content(workload)?;
        if artifact.kind == ModuleKind::Http {
            let error = Error::new(Kind::Invalid, "an HTTP component has no command that could be executed");
            return Err(error.hint("name another module of the image, such as `/tools/check.wasm`"));
        }
        let plan = lower(workload, &[])?;
        let folders = folders(workload, files)?;
        let container_id = container.id().to_owned();
        let place = Place { id: format!("{container_id}/{exec_id}"), within: Some(container_id) };
        self.create_in(container.link(), place, artifact, &plan, folders, Vec::new()).await
    }

    async fn create_in(
        &self,
        link: &Arc<Link>,
        place: Place,
        artifact: &Artifact,
        plan: &Plan,
        folders: Vec<Folder>,
        listeners: Vec<TcpListener>,
    ) -> Result<Sandbox> {
        link.load(artifact, || async {
            // A worker runs what it finds there as its own code.
            self.0.cache.verify(&artifact.folder).await?;
            self.0.linux.directory(open_directory(&artifact.folder)?, true, true).await
        })
        .await?;
        let mut preopens = Vec::new();
        for Folder { handle, read_only, own } in folders {
            preopens.push(self.0.linux.directory(handle, read_only, own).await?);
        }
        let streams = streams::Ends::for_plan(plan)?;
        Sandbox::create(link, place, artifact, plan, streams, preopens, listeners).await
    }

    /// Ends every guest and worker.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.0.workers.stop().await
    }
}

fn lower(workload: &Workload, listeners: &[TcpListener]) -> Result<Plan> {
    let (artifact, files) = content(workload)?;
    let address =
        |listener: &TcpListener| listener.local_addr().map_or_else(|_| "unknown".to_owned(), |at| at.to_string());
    let setting = Setting {
        kind: kind_below(artifact.kind),
        stdin: workload.stdin,
        files: files.is_some(),
        listeners: listeners.iter().map(address).collect(),
        own_worker: workload.isolation == Isolation::WasmProcess,
    };
    Plan::new(&workload.spec, &setting).map_err(specification)
}

fn content(workload: &Workload) -> Result<(&Artifact, Option<&Path>)> {
    match &workload.content {
        Content::Module { artifact, files } => Ok((artifact, files.as_deref())),
        Content::Layers { .. } => {
            Err(Error::new(Kind::Invalid, format!("`{}` cannot run a native image", workload.isolation)))
        }
    }
}

/// What a guest is called, and the guest in whose account it runs, if that is not its own.
#[derive(Debug)]
struct Place {
    id: String,
    within: Option<String>,
}

/// The image's files and the bind sources, opened, in the order of the plan's grants.
fn folders(workload: &Workload, files: Option<&Path>) -> Result<Vec<Folder>> {
    let mut folders = Vec::new();
    if let Some(files) = files {
        folders.push(Folder { handle: open_directory(files)?, read_only: true, own: true });
    }
    for (source, read_only) in Plan::sources(&workload.spec).map_err(specification)? {
        folders.push(Folder { handle: open_directory(&source)?, read_only, own: false });
    }
    Ok(folders)
}

/// A folder that a guest is given.
#[derive(Debug)]
struct Folder {
    handle: OwnedFd,
    read_only: bool,
    /// Unpacked by us, for everybody to read; else a user's.
    own: bool,
}

/// A directory of the node as a handle that cannot be read through; `linux` makes a detached mount of it.
fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let path = path.display();
        match errno {
            rustix::io::Errno::NOENT => Error::new(Kind::Invalid, format!("the bind source `{path}` does not exist")),
            rustix::io::Errno::NOTDIR => {
                let sentence =
                    format!("the bind source `{path}` is not a directory; a Wasm guest can be given directories only");
                Error::new(Kind::Invalid, sentence).hint("bind the directory that holds the file")
            }
            _ => Error::new(Kind::Invalid, format!("open the bind source `{path}`")).caused_by(errno),
        }
    })
}

fn kind_above(kind: proa_wasm::ModuleKind) -> ModuleKind {
    match kind {
        proa_wasm::ModuleKind::Module => ModuleKind::Module,
        proa_wasm::ModuleKind::Command => ModuleKind::Command,
        proa_wasm::ModuleKind::Http => ModuleKind::Http,
    }
}

fn kind_below(kind: ModuleKind) -> proa_wasm::ModuleKind {
    match kind {
        ModuleKind::Module => proa_wasm::ModuleKind::Module,
        ModuleKind::Command => proa_wasm::ModuleKind::Command,
        ModuleKind::Http => proa_wasm::ModuleKind::Http,
    }
}

fn specification(error: proa_wasm::Error) -> Error {
    Error::new(Kind::Invalid, error.to_string())
}

/// An error with its causes, for where only text can go.
fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
