//! A host that starts: takes the root, finds what outlived the last host, and brings record and reality together.
//!
//! ```text
//! record            sandbox                 then
//! running           running or exited       supervised on; the exit is recorded, then acknowledged
//! running           none                    exited, its code unknown
//! created, exited   created                 the sandbox of a start that never happened is deleted
//! created, exited   running or exited       started in the instant the last host died: recorded, supervised on
//! exited            exited at that time     recorded but not acknowledged: deleted
//! removing, or half made                    removed
//! none              any                     deleted
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use proa_registry::Digest;
use proa_sandbox::{Adopted, Config, Runtimes, Sandbox, State};
use tokio::sync::{OnceCell, RwLock, watch};

use crate::error::{Error, Result};
use crate::events::Events;
use crate::host::{Host, Options, end, exec};
use crate::images::Images;
use crate::permit::Account;
use crate::policy::Policy;
use crate::state::{Container, Log, Record, Status, Table};
use crate::timestamp::unix_nanos;
use crate::{ports, supervisor};

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
        let host = Arc::new(Host {
            account: Account::new(options.capacity_memory.unwrap_or_else(node_memory)),
            root,
            id,
            images,
            containers: Table::default(),
            execs: exec::Execs::default(),
            events: Events::default(),
            policy,
            runtimes: RwLock::new(Some(runtimes)),
            availability: OnceCell::new(),
            stopped: watch::Sender::new(false),
        });
        host.reconcile(adopted).await?;
        Ok(host)
    }

    async fn reconcile(self: &Arc<Self>, adopted: Vec<Adopted>) -> Result<()> {
        let mut sandboxes: HashMap<String, Adopted> = HashMap::new();
        for found in adopted {
            if found.sandbox.id().contains('/') {
                tokio::spawn(outlive(found.sandbox));
            } else {
                sandboxes.insert(found.sandbox.id().to_owned(), found);
            }
        }
        for container in self.read_containers()? {
            let sandbox = sandboxes.remove(container.id());
            self.reconcile_one(&container, sandbox).await;
        }
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
            (Status::Running, None) => {
                if let Err(error) = container.end(&end::unknown_exit(), true) {
                    tracing::error!(container = container.id(), "{}", error.sentence());
                }
                if auto_remove {
                    self.discard(container).await;
                }
            }
            (_, None) => {
                if auto_remove && status == Status::Exited {
                    self.discard(container).await;
                }
            }
            (_, Some(Adopted { sandbox, state: State::Created })) => report(container.id(), sandbox.delete().await),
            (Status::Exited, Some(Adopted { sandbox, state: State::Exited(exit) }))
                if finished == Some(unix_nanos(exit.at)) =>
            {
                report(container.id(), sandbox.delete().await);
                if auto_remove {
                    self.discard(container).await;
                }
            }
            (_, Some(found)) => self.supervise_on(container, found.sandbox),
        }
    }

    fn supervise_on(self: &Arc<Self>, container: &Arc<Container>, sandbox: Sandbox) {
        container.hold(sandbox.clone());
        if container.status() != Status::Running {
            let ports = container.with(|record| ports::wanted(&record.host_config)).unwrap_or_default();
            if let Err(error) = container.begin(sandbox.pid(), ports) {
                tracing::error!(container = container.id(), "{}", error.sentence());
            }
        }
        let permit = self.account.adopt(container.with(|record| record.demand));
        tokio::spawn(supervisor::supervise(self.clone(), container.clone(), sandbox, permit));
    }

    fn read_containers(&self) -> Result<Vec<Arc<Container>>> {
        let folder = self.root.join("containers");
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            match self.read_container(&path) {
                Ok(found) => all.extend(found),
                // One damaged record does not keep the other containers from their host.
                Err(error) => tracing::error!("{}", error.sentence()),
            }
        }
        Ok(all)
    }

    fn read_container(&self, path: &Path) -> Result<Option<Arc<Container>>> {
        let Some(record) = Record::read(path)? else {
            proa_registry::remove_tree(path).map_err(Error::file("remove", path))?;
            return Ok(None);
        };
        self.containers.reserve(&record.name, &record.id)?;
        let log = Log::reopen(path.join("log")).map_err(Error::file("open", path.join("log")))?;
        let container = Arc::new(Container::new(record, path.to_owned(), log));
        self.containers.insert(container.clone());
        Ok(Some(container))
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

/// An exec of the last host: nobody reads it any more, yet it may run to its end.
async fn outlive(sandbox: Sandbox) {
    let drain = async {
        let Some(mut output) = sandbox.output() else { return };
        while let Ok(Some(_)) = output.peek().await {
            if output.consume().await.is_err() {
                return;
            }
        }
    };
    tokio::join!(sandbox.wait(), drain);
    report(sandbox.id(), sandbox.delete().await);
}

fn report(id: &str, result: proa_sandbox::Result<()>) {
    if let Err(error) = result {
        tracing::error!(sandbox = id, "delete it: {error}");
    }
}
