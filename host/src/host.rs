//! One node's proa: it chooses, admits, runs. The whole of `proa run` stands in [`Host::create`] and [`Host::start`]:
//! resolve, allow, admit, prepare, record; then admit, plan, create, start, supervise.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use proa_registry::Platform;
use proa_sandbox::{Availability, Kind, Runtimes};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, watch};

use crate::error::{Error, Result};
use crate::events::Events;
use crate::healing::RESTART_LABEL;
use crate::healing::restart::Restarts;
use crate::images::{self, Images};
use crate::permit::Account;
use crate::policy::{DEFAULT_TENANT, Policy, asked_isolation};
use crate::request::{Request, TENANT_LABEL, check_wasm_entrypoint, merge};
use crate::spec::namespaces::Joined;
use crate::state::record::{Content, User};
use crate::state::{Container, Log, Record, Status, Table, table};
use crate::timestamp::unix_nanos;
use crate::volumes::Volumes;
use crate::{checks, logging, ports, scheduler, spec, supervisor};

pub mod check;
pub mod commit;
mod connect;
pub mod disk;
mod end;
pub mod exec;
pub mod files;
mod heal;
mod health;
mod join;
mod name;
mod open;
mod pause;
mod prune;
mod rename;
mod restart;
mod update;
pub mod volumes;

pub use end::Condition;
pub(crate) use end::parse_signal;

/// How a host is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Everything is keyed by it; made when missing.
    pub root: PathBuf,
    /// Bounds what tenants may use; none allows everything.
    pub policy: Option<PathBuf>,
    /// Bytes of memory to give out; `None` is the node's memory.
    pub capacity_memory: Option<u64>,
}

/// One node's proa.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    /// 64 hex digits that name this root, for `info`.
    pub id: String,
    pub images: Images,
    pub containers: Table,
    pub execs: exec::Execs,
    pub volumes: Volumes,
    pub events: Events,
    account: Account,
    policy: Policy,
    /// Empty once the host was told to stop everything.
    runtimes: RwLock<Option<Runtimes>>,
    availability: OnceCell<Vec<Availability>>,
    /// The containers whose records could not be read.
    damaged: Mutex<Vec<open::Damaged>>,
    counted: disk::Counted,
    /// Read while somebody begins to use unpacked layers, written while one of them is replaced.
    layers: Arc<RwLock<()>>,
    /// True once everything was stopped and the server may go.
    stopped: watch::Sender<bool>,
}

/// What [`Host::create`] made.
#[derive(Debug)]
pub struct Created {
    pub container: Arc<Container>,
    pub warnings: Vec<String>,
}

impl Host {
    /// Makes a container; nothing runs yet.
    pub async fn create(&self, request: Request) -> Result<Created> {
        let runtimes = self.runtimes().await?;
        let (mut record, _lease) = self.lower(&request, &runtimes, true).await?;
        let offers = runtimes.offers();
        // It looks at bind sources: a dead network mount stops the thread that asks.
        let checked = move || checks::check(&mut record, &offers).map(|warnings| (record, warnings));
        let (mut record, mut warnings) = images::run_blocking(checked).await?;
        let volumes = self.take_volumes(&mut record, &mut warnings).await?;
        let container = self.record_with(record, request.name.as_deref(), volumes).await?;
        self.events.container(&container, "create", &[]);
        Ok(Created { container, warnings })
    }

    /// Lets a container run; answers once its program has begun.
    pub async fn start(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let _turn = container.turn.lock().await;
        match container.status() {
            Status::Running | Status::Restarting => return Err(Error::NotModified),
            Status::Paused => {
                let sentence = "cannot start a paused container, try unpause instead";
                return Err(Error::Conflict(sentence.to_owned()));
            }
            _ => {}
        }
        supervisor::until_free(container).await;
        let auto_remove = container.with(|record| record.host_config.auto_remove == Some(true));
        if auto_remove && !container.is_kept() && container.news().borrow().exits > 0 {
            // Its supervisor removes it now, and has given its name away already.
            return Err(Error::Conflict(format!("container {} is marked for removal", container.id())));
        }
        match self.launch(container, true).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = supervisor::explain_start(error, container);
                self.give_up(container, &error).await;
                Err(error)
            }
        }
    }

    /// The plan of what `request` would run, as text; runs nothing.
    pub async fn plan(&self, request: Request) -> Result<String> {
        let runtimes = self.runtimes().await?;
        let (mut record, _lease) = self.lower(&request, &runtimes, false).await?;
        let offers = runtimes.offers();
        let checked = move || checks::check(&mut record, &offers).map(|_| record);
        let mut record = images::run_blocking(checked).await?;
        self.suppose_volumes(&mut record)?;
        let workload = spec::workload(&record, &self.folder(&record.id), Joined::SUPPOSED)?;
        runtimes.plan(&workload).map_err(|source| Error::Sandbox {
            attempt: "plan",
            container: request.image(),
            source,
        })
    }

    /// What each isolation lacks on this machine, found by trying once.
    pub async fn availability(&self) -> Result<&[Availability]> {
        let runtimes = self.runtimes().await?;
        Ok(self.availability.get_or_init(|| runtimes.availability()).await)
    }

    /// Bytes of memory the scheduler gives out, and of those given.
    pub fn account(&self) -> (u64, u64) {
        self.account.numbers()
    }

    /// What is wrong with this host's books, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.iter().map(|damaged| damaged.sentence.clone()).collect()
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Becomes true once everything was stopped.
    pub fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// The containers that run now, or will in a moment.
    pub fn running(&self) -> usize {
        self.containers.all().iter().filter(|container| container.status().is_active()).count()
    }

    /// Request to record: resolve, allow, admit, prepare. The lease keeps the image until the record names it. What is
    /// `to_run` needs an isolation that this machine and user have.
    async fn lower(
        &self,
        request: &Request,
        runtimes: &Runtimes,
        to_run: bool,
    ) -> Result<(Record, proa_registry::Lease)> {
        let image_name = request.image();
        let platform = platform(request.platform.as_deref())?;
        let found = self.images.find(&image_name).await?;
        let tenant = request.label(TENANT_LABEL).filter(|name| !name.is_empty()).unwrap_or(DEFAULT_TENANT).to_owned();
        let asked = asked_isolation(request.asked_isolation())?;
        let offer = found.offer(platform.as_ref());
        if !offer.wasm && !offer.linux {
            return Err(found.nothing_for(platform.as_ref()));
        }
        let isolation = self.policy.choose(&tenant, asked, offer, &image_name)?;
        if let Some(reason) = runtimes.lacks(isolation).filter(|_| to_run) {
            return Err(Error::Lacks { isolation, reason });
        }
        let image = self.images.variant(&found, isolation.is_wasm(), platform.as_ref()).await?;
        let lease = self.images.store().lease();
        lease.protect(&image.descriptor.digest);

        let host = &request.host_config;
        let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
        let demand = scheduler::demand(isolation, bytes(host.memory_reservation), bytes(host.memory));
        if demand > self.account.numbers().0 {
            return Err(Error::Admit(scheduler::never_fits(demand, self.account.numbers().0)));
        }

        if isolation.is_wasm() {
            check_wasm_entrypoint(&image.config, &request.config)?;
        }
        let mut config = merge(&image.config, &request.config)?;
        self.images.extras(&image, &image_name).await?.put_below(&mut config, request);
        let content = self.images.content(&image, &image_name, runtimes).await?;
        let user = self.user(&image.descriptor.digest, &content, request, &config).await?;
        if isolation.is_wasm() && config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
            // A bare module names no program; its guests still expect one as argument 0.
            config.entrypoint = Some(vec![name::program(&image_name)]);
        }
        let record = Record {
            id: crate::random_id(),
            name: String::new(),
            created: unix_nanos(std::time::SystemTime::now()),
            image: image_name,
            image_id: found.id(),
            manifest: image.descriptor.digest.to_string(),
            tenant,
            isolation,
            config,
            host_config: host.clone(),
            content,
            user,
            demand,
            status: Status::Created,
            pid: None,
            started: None,
            finished: None,
            exit_code: Some(0),
            oom_killed: false,
            error: String::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            inherited: Vec::new(),
            health: None,
            restarts: Restarts::default(),
            restart_on_unhealthy: request.label(RESTART_LABEL) == Some("true"),
        };
        self.policy.permit(&record.tenant, &spec::powers::asked(&record)?)?;
        Ok((record, lease))
    }

    async fn user(
        &self,
        manifest: &proa_registry::Digest,
        content: &Content,
        request: &Request,
        config: &bollard_stubs::models::ContainerConfig,
    ) -> Result<User> {
        let Content::Layers { lower } = content else { return Ok(User::default()) };
        let mut user = self.images.user(manifest, lower, config.user.as_deref().unwrap_or_default()).await?;
        for group in request.host_config.group_add.iter().flatten() {
            let gid = self.images.user(manifest, lower, &format!("0:{group}")).await?.gid;
            if !user.groups.contains(&gid) {
                user.groups.push(gid);
            }
        }
        Ok(user)
    }

    /// Puts a new container on disk and into the table, whole or not at all.
    fn record(&self, mut record: Record, name: Option<&str>) -> Result<Arc<Container>> {
        let limits = logging::limits(&record.host_config)?;
        record.name = match name {
            Some(name) => {
                table::check_name(name)?;
                self.containers.reserve(name, &record.id)?;
                name.to_owned()
            }
            None => name::reserve_some(&self.containers, &record.id)?,
        };
        let folder = self.folder(&record.id);
        let made = || -> Result<()> {
            // Environments hold passwords, and an id is no secret: whoever looks at cgroups sees it.
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
                .create(&folder)
                .map_err(Error::file("make", &folder))?;
            if !record.isolation.is_wasm() {
                spec::files::write(&record, &folder)?;
            }
            record.write(&folder)
        };
        if let Err(error) = made() {
            self.containers.release(&record.name, &record.id);
            let _ = proa_registry::remove_tree(&folder);
            return Err(error);
        }
        let log = Log::new(folder.join("log")).within(limits);
        let container = Arc::new(Container::new(record, folder, log));
        self.containers.insert(container.clone());
        Ok(container)
    }

    async fn launch(self: &Arc<Self>, container: &Arc<Container>, by_hand: bool) -> Result<()> {
        let runtimes = self.runtimes().await?;
        // One whose host was killed before it had filled them.
        self.fill_volumes(container).await?;
        let mut record = container.record();
        let _subpaths = files::hold_subpaths(&mut record)?;
        let permit = self.account.admit(record.demand)?;
        let joined = self.join(&record)?;
        let workload = spec::workload(&record, container.folder(), joined)?;
        let wanted = ports::wanted(&record.host_config)?;
        let (listeners, ports) = ports::open(&wanted)?;
        let failed = |source| Error::Sandbox { attempt: "start container", container: record.id.clone(), source };
        let layers = self.layers.read().await;
        let sandbox = runtimes.create(&workload, listeners).await.map_err(failed)?;
        container.hold(sandbox.clone());
        drop(layers);
        self.still_joined(&record, joined)?;
        if wanted.iter().any(|port| port.port == 0) {
            // What the kernel chose is known to nobody else, should this host die before the start is recorded.
            container.edit(|record| record.ports.clone_from(&ports))?;
        }
        sandbox.start().await.map_err(failed)?;
        // Recorded after the start, while the guest already runs: a host that dies in between is told by the runtime.
        container.begin(sandbox.pid(), ports, by_hand)?;
        self.tell_of_network("connect", container);
        self.tell_of_mounts("mount", container);
        self.events.container(container, "start", &[]);
        container.charge(permit.share());
        tokio::spawn(supervisor::supervise(self.clone(), container.clone(), sandbox, permit));
        Ok(())
    }

    /// A start that failed leaves nothing but a record that says so, or, with `--rm`, nothing at all.
    async fn give_up(self: &Arc<Self>, container: &Arc<Container>, error: &Error) {
        if let Some(sandbox) = container.sandbox() {
            supervisor::delete(container, &sandbox).await;
        }
        if let Err(error) = container.fail_start(start_code(error), &error.sentence()) {
            tracing::warn!(container = container.id(), "{}", error.sentence());
        }
        // A client that waits by events would otherwise wait for ever.
        supervisor::died(self, container);
        if container.with(|record| record.host_config.auto_remove == Some(true)) {
            self.discard(container).await;
        }
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// The runtimes, for as long as the guard lives.
    async fn runtimes(&self) -> Result<RwLockReadGuard<'_, Runtimes>> {
        RwLockReadGuard::try_map(self.runtimes.read().await, Option::as_ref).map_err(|_| Error::Stopping)
    }
}

impl Request {
    /// The image asked for.
    pub fn image(&self) -> String {
        self.config.image.clone().unwrap_or_default()
    }
}

/// The exit code of a container that could not start.
fn start_code(error: &Error) -> u8 {
    match error {
        Error::StartProgram { code, .. } => *code,
        _ => 128,
    }
}

/// Whether an error of the waist is about the guest's program, with Docker's exit code for it.
pub fn program_code(kind: Kind) -> Option<u8> {
    match kind {
        Kind::NotFound => Some(127),
        Kind::NotExecutable => Some(126),
        _ => None,
    }
}

fn platform(asked: Option<&str>) -> Result<Option<Platform>> {
    match asked {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|source| Error::Image {
            attempt: "understand the platform",
            reference: text.to_owned(),
            source: Box::new(source),
        }),
    }
}
