//! A host that starts: takes the root, finds what outlived the last host, and brings record and reality together.
//!
//! ```text
//! record            sandbox                 then
//! running           running or exited       supervised on; the exit is recorded, then acknowledged
//! running, paused   none                    exited, its code unknown; or started again, where a policy says so
//! restarting        none, created           the next run begins, as it would have
//! exited            none                    started where a policy wants it always
//! created, exited   created                 the sandbox of a start that never happened is deleted
//! created, exited   running or exited       started in the instant the last host died: recorded, supervised on
//! exited            exited at that time     recorded but not acknowledged: deleted; so too under restarting
//! removing, or half made                    removed
//! none              any                     deleted
//! unreadable        any                     nothing is touched, what runs goes on; named in the log and in `info`
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proa_registry::Digest;
use proa_sandbox::{Adopted, Config, Runtimes, Sandbox, State};
use tokio::sync::{OnceCell, RwLock, watch};

use crate::error::{Error, Result};
use crate::events::Events;
use crate::host::{Host, Options, disk, end, exec};
use crate::images::Images;
use crate::permit::Account;
use crate::policy::Policy;
use crate::state::log::Limits;
use crate::state::record::FILE;
use crate::state::{Container, Log, Record, Status, Table};
use crate::timestamp::unix_nanos;
use crate::volumes::Volumes;
use crate::{logging, ports, supervisor};

impl Host {
    /// Opens the root and adopts everything that outlived the last host.
    ///
    /// # Errors
    /// `LockRoot` when another host has it.
    pub async fn open(options: &Options) -> Result<Arc<Host>> {
        let root = make_root(&options.root)?;
        let policy = options.policy.as_deref().map(Policy::read).transpose()?.unwrap_or_default();
        let run = root.join("run");
        let images = Images::open(&root, run.clone())?;
        images.remove_stale_modules();
        let id = Digest::sha256_of(root.as_os_str().as_encoded_bytes()).hex().to_owned();
        let config = Config { run, cache: root.join("cache"), cgroup_parent: format!("proa-{}", &id[..8]) };
        let (runtimes, adopted) =
            Runtimes::open(&config).await.map_err(|source| Error::OpenRuntimes { root: root.clone(), source })?;
        let volumes = Volumes::open(&root)?;
        let host = Arc::new(Host {
            account: Account::new(options.capacity_memory.unwrap_or_else(node_memory)),
            root,
            id,
            images,
            containers: Table::default(),
            execs: exec::Execs::default(),
            volumes,
            events: Events::default(),
            policy,
            runtimes: RwLock::new(Some(runtimes)),
            availability: OnceCell::new(),
            damaged: Mutex::default(),
            counted: disk::Counted::default(),
            layers: Arc::default(),
            stopped: watch::Sender::new(false),
        });
        host.reconcile(adopted).await?;
        Ok(host)
    }

    async fn reconcile(self: &Arc<Self>, adopted: Vec<Adopted>) -> Result<()> {
        let mut sandboxes: HashMap<String, Adopted> = HashMap::new();
        let mut execs = Vec::new();
        for found in adopted {
            if found.sandbox.id().contains('/') {
                execs.push(found.sandbox);
            } else {
                sandboxes.insert(found.sandbox.id().to_owned(), found);
            }
        }
        for found in self.read_containers()? {
            match found {
                Ok(container) => {
                    let sandbox = sandboxes.remove(container.id());
                    self.reconcile_one(&container, sandbox).await;
                }
                // What runs goes on, and what it prints is kept: the record may be mended, or restored.
                Err(damaged) => {
                    if let Some(found) = sandboxes.remove(&damaged.id) {
                        tokio::spawn(outlive_in(found.sandbox, self.folder(&damaged.id)));
                    }
                    tracing::error!("{}", damaged.sentence);
                    self.damaged.lock().unwrap_or_else(PoisonError::into_inner).push(damaged);
                }
            }
        }
        execs.into_iter().for_each(|sandbox| self.exec_adopt(sandbox));
        for (id, stray) in sandboxes {
            tracing::warn!("sandbox `{id}` belongs to no container: deleting it");
            tokio::spawn(async move { report(&id, stray.sandbox.delete().await) });
        }
        Ok(())
    }

    async fn reconcile_one(self: &Arc<Self>, container: &Arc<Container>, found: Option<Adopted>) {
        let (status, finished, auto_remove) =
            container.with(|record| (record.status, record.finished, record.host_config.auto_remove == Some(true)));
        match (status, found) {
            (Status::Removing | Status::Dead, found) => {
                if let Some(found) = found {
                    report(container.id(), found.sandbox.delete().await);
                }
                self.discard(container).await;
            }
            (Status::Running | Status::Paused, None) => {
                let (pause, written) = container.end(&end::unknown_exit(), !auto_remove);
                if let Err(error) = written {
                    supervisor::write_later(container, &error);
                }
                if auto_remove {
                    self.discard(container).await;
                } else if let Some(pause) = pause {
                    self.revive(container, pause);
                }
            }
            (Status::Restarting, None) => self.revive(container, container.with(|record| record.restarts.pause())),
            (Status::Exited, None) if auto_remove => self.discard(container).await,
            (_, None) => self.rise(container),
            (_, Some(Adopted { sandbox, state: State::Created })) => {
                report(container.id(), sandbox.delete().await);
                if status == Status::Restarting {
                    self.revive(container, Duration::ZERO);
                } else {
                    self.rise(container);
                }
            }
            (Status::Exited, Some(Adopted { sandbox, state: State::Exited(exit) }))
                if finished == Some(unix_nanos(exit.at)) =>
            {
                report(container.id(), sandbox.delete().await);
                if auto_remove {
                    self.discard(container).await;
                } else {
                    self.rise(container);
                }
            }
            (Status::Restarting, Some(Adopted { sandbox, state: State::Exited(exit) }))
                if finished == Some(unix_nanos(exit.at)) =>
            {
                report(container.id(), sandbox.delete().await);
                self.revive(container, container.with(|record| record.restarts.pause()));
            }
            (_, Some(Adopted { sandbox, state })) => {
                self.supervise_on(container, sandbox.clone());
                let paused = matches!(state, State::Paused);
                if let Err(error) = self.adopt_pause(container, &sandbox, paused).await {
                    tracing::error!(container = container.id(), "{}", error.sentence());
                }
            }
        }
    }

    /// Starts what ended under an earlier host and is wanted always.
    fn rise(self: &Arc<Self>, container: &Arc<Container>) {
        let wanted = container.with(|record| {
            let ended = record.status == Status::Exited && record.started.is_some();
            ended && record.restarts.at_opening(&record.host_config)
        });
        if !wanted {
            return;
        }
        if let Err(error) = container.rise() {
            supervisor::write_later(container, &error);
        }
        self.revive(container, Duration::ZERO);
    }

    fn supervise_on(self: &Arc<Self>, container: &Arc<Container>, sandbox: Sandbox) {
        container.hold(sandbox.clone());
        if !container.status().is_running() {
            // Those of this start, where the kernel chose some; the others are what was asked for.
            let ports = container.with(|record| match record.ports.is_empty() {
                true => ports::wanted(&record.host_config).unwrap_or_default(),
                false => record.ports.clone(),
            });
            if let Err(error) = container.begin(sandbox.pid(), ports, false) {
                tracing::error!(container = container.id(), "{}", error.sentence());
            }
        }
        let permit = self.account.adopt(container.with(|record| record.demand));
        container.charge(permit.share());
        tokio::spawn(supervisor::supervise(self.clone(), container.clone(), sandbox, permit));
    }

    fn read_containers(&self) -> Result<Vec<std::result::Result<Arc<Container>, Damaged>>> {
        let folder = self.root.join("containers");
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let entry = entry.map_err(Error::file("read", &folder))?;
            let id = entry.file_name().to_string_lossy().into_owned();
            match self.read_container(&entry.path(), &id) {
                Ok(found) => all.extend(found.map(Ok)),
                // One damaged record does not keep the other containers from their host. Nothing of it is touched.
                Err(error) => {
                    let sentence =
                        format!("container {id} cannot be read and is left where it is: {}", error.sentence());
                    let bytes = std::fs::read(entry.path().join(FILE)).unwrap_or_default();
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    all.push(Err(Damaged { id, sentence, text }));
                }
            }
        }
        Ok(all)
    }

    fn read_container(&self, path: &Path, id: &str) -> Result<Option<Arc<Container>>> {
        let Some(record) = Record::read(path)? else {
            proa_registry::remove_tree(path).map_err(Error::file("remove", path))?;
            return Ok(None);
        };
        if record.id != id {
            return Err(Error::DamagedRecord(path.join(FILE)));
        }
        let limits = logging::limits(&record.host_config).unwrap_or_default();
        let log = Log::reopen(path.join("log"), limits).map_err(Error::file("open", path.join("log")))?;
        self.containers.reserve(&record.name, &record.id)?;
        let container = Arc::new(Container::new(record, path.to_owned(), log));
        self.containers.insert(container.clone());
        Ok(Some(container))
    }
}

/// A container whose record cannot be read.
#[derive(Debug)]
pub(super) struct Damaged {
    pub id: String,
    pub sentence: String,
    /// What stands in the record, to be looked through for what must not be lost meanwhile.
    text: String,
}

impl Host {
    /// Whether a container whose record cannot be read may need `word`, such as a layer.
    pub(super) fn is_named_by_damaged(&self, word: &str) -> bool {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.iter().any(|damaged| damaged.text.contains(word))
    }
}

impl Damaged {
    /// The digests it names: its image's is among them, unless that is where it is damaged.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        let places = self.text.match_indices("sha256:");
        places.filter_map(|(at, _)| self.text.get(at..at + 71)?.parse().ok())
    }

    /// Whether it names `word`, such as a volume.
    pub(super) fn names(&self, word: &str) -> bool {
        self.text.contains(&format!("\"{word}\""))
    }
}

fn make_root(root: &Path) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let make = |path: &Path, mode| {
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(Error::file("make", path))
    };
    make(root, 0o711)?;
    // One name for one root, however it was typed: everything is keyed by it.
    let root = root.canonicalize().map_err(Error::file("find", root))?;
    // Records and logs are the owner's alone; only the layers must be reachable for user namespaces.
    make(&root.join("containers"), 0o711)?;
    make(&root.join("run"), 0o700)?;
    make(&root.join("cache"), 0o700)?;
    Ok(root)
}

fn node_memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit) * info.totalram
}

/// A guest whose record cannot be read: it runs on, and its output goes where it always went. Its end stays with the
/// runtime, for a host that can read the record again.
async fn outlive_in(sandbox: Sandbox, folder: PathBuf) {
    let Some(mut output) = sandbox.output() else { return };
    let log = Log::reopen(folder.join("log"), Limits::default());
    while let Ok(Some(chunk)) = output.peek().await {
        if let Ok(log) = &log {
            // Nobody is there to be told that the disk is full.
            let _ = log.append(chunk.stream, unix_nanos(std::time::SystemTime::now()), &chunk.bytes);
        }
        if output.consume().await.is_err() {
            return;
        }
    }
}

fn report(id: &str, result: proa_sandbox::Result<()>) {
    if let Err(error) = result {
        tracing::error!(sandbox = id, "delete it: {error}");
    }
}
