//! More programs in a running container.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard_stubs::models::ExecConfig;
use proa_sandbox::Sandbox;
use tokio::sync::Notify;

use crate::detach::DetachKeys;
use crate::error::{Error, Result};
use crate::host::{Host, program_code};
use crate::images::run_blocking;
use crate::policy::Power;
use crate::spec;
use crate::spec::exec::wasm_arguments;
use crate::state::record::{Content, User};
use crate::state::{Container, Record, Status};
use crate::supervisor::start_message;

/// Execs of one container that do not run, finished or never started, that are remembered, so that clients can start
/// them and ask for their codes; beyond that the oldest are forgotten.
const REMEMBERED: usize = 1024;

/// Bytes of a module that is executed beside its container's own.
const LARGEST_MODULE: u64 = 256 << 20;

/// How long a verb on a running program waits for it to start.
const START: Duration = Duration::from_secs(10);

/// One more program, wanted, running or ended.
#[derive(Debug)]
pub struct Exec {
    /// 64 hex digits.
    pub id: String,
    pub container: Arc<Container>,
    pub config: ExecConfig,
    user: User,
    /// Another module of the image than the container's own.
    module: Option<Content>,
    /// Grows from one exec to the next.
    number: u64,
    progress: Mutex<Progress>,
    /// Told when it started, or will not.
    moved: Notify,
}

/// How far it is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub sandbox: Option<Sandbox>,
    pub begun: bool,
    pub running: bool,
    /// It ended, or could not start.
    over: bool,
    pub pid: Option<u32>,
    /// `None` before its end, and where nobody knows it.
    pub exit_code: Option<u8>,
}

/// Every exec of the host by id. Those that run when a host ends are found again by the next one, those that do not are
/// forgotten.
#[derive(Debug, Default)]
pub struct Execs {
    by_id: Mutex<HashMap<String, Arc<Exec>>>,
    created: AtomicU64,
}

impl Execs {
    /// The exec with this id.
    pub fn find(&self, id: &str) -> Result<Arc<Exec>> {
        self.lock().get(id).cloned().ok_or_else(|| Error::FindExec(id.to_owned()))
    }

    /// The ids of a container's running execs.
    pub fn of(&self, container: &str) -> Vec<String> {
        let all = self.lock();
        let running = all.values().filter(|exec| exec.container.id() == container && exec.progress().running);
        running.map(|exec| exec.id.clone()).collect()
    }

    /// Forgets one whose answer nobody will ask for.
    pub fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Forgets a removed container's.
    pub fn forget_container(&self, container: &str) {
        self.lock().retain(|_, exec| exec.container.id() != container);
    }

    fn insert(&self, exec: Arc<Exec>) {
        let mut all = self.lock();
        let idle = |other: &&Arc<Exec>| other.container.id() == exec.container.id() && other.idle();
        let mut resting: Vec<_> = all.values().filter(idle).map(|other| (other.number, other.id.clone())).collect();
        resting.sort_unstable();
        let surplus = (resting.len() + 1).saturating_sub(REMEMBERED);
        for (_, id) in resting.into_iter().take(surplus) {
            all.remove(&id);
        }
        all.insert(exec.id.clone(), exec);
    }

    fn next_number(&self) -> u64 {
        self.created.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Exec>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exec {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// Whether it can be started now.
    ///
    /// # Errors
    /// `Conflict` when it was started before, or its container does not run or is paused.
    pub fn may_start(&self) -> Result<()> {
        runs_freely(&self.container)?;
        if self.lock().begun {
            return Err(Error::Conflict(format!("exec {} has already run", self.id)));
        }
        Ok(())
    }

    /// Its sandbox while it runs, waited for where it is still to start, as dockerd waits for a terminal to be resized.
    pub async fn started(&self) -> Option<Sandbox> {
        let ready = async {
            loop {
                // Heard from here on, whatever is found now.
                let moved = self.moved.notified();
                let progress = self.progress();
                if progress.sandbox.is_some() || progress.over {
                    return progress.sandbox;
                }
                moved.await;
            }
        };
        tokio::time::timeout(START, ready).await.ok().flatten()
    }

    /// Never started, or over; not one that is being started.
    fn idle(&self) -> bool {
        let progress = self.lock();
        !progress.begun || progress.over
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Prepares one more program in a running container.
    pub async fn exec_create(&self, container: Arc<Container>, mut config: ExecConfig) -> Result<Arc<Exec>> {
        runs_freely(&container)?;
        let record = container.record();
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        if let Some(keys) = config.detach_keys.as_deref() {
            DetachKeys::parse(keys).map_err(|_| Error::Invalid(format!("Invalid escape keys ({keys}) provided")))?;
        }
        if let Some(relative) = config.working_dir.as_deref().filter(|dir| !dir.is_empty() && !dir.starts_with('/')) {
            let sentence = format!("the working directory '{relative}' is invalid, it needs to be an absolute path");
            return Err(Error::Invalid(sentence));
        }
        let mut module = None;
        let user = match &record.content {
            Content::Layers { lower } => {
                if config.privileged == Some(true) {
                    self.policy.permit(&record.tenant, &[Power::Privileged])?;
                }
                self.exec_user(&record, lower, config.user.as_deref().unwrap_or_default()).await?
            }
            Content::Module { files, .. } => {
                refuse_for_wasm(&config)?;
                let (arguments, named) = wasm_arguments(&record, config.cmd.as_deref().unwrap_or_default());
                if let Some(name) = named {
                    module = Some(self.module(files.as_deref(), &name).await?);
                }
                config.cmd = Some(arguments);
                User::default()
            }
        };
        let number = self.execs.next_number();
        let id = crate::random_id();
        let (progress, moved) = (Mutex::default(), Notify::new());
        let exec = Exec { id, container, config, user, module, number, progress, moved };
        let exec = Arc::new(exec);
        self.execs.insert(exec.clone());
        self.exec_event(&exec, "exec_create", &[]);
        Ok(exec)
    }

    async fn exec_user(&self, record: &Record, lower: &[PathBuf], asked: &str) -> Result<User> {
        if asked.is_empty() {
            return Ok(record.user.clone());
        }
        let manifest = record.manifest.parse().map_err(|source| Error::Image {
            attempt: "understand the image of",
            reference: record.name.clone(),
            source: Box::new(source),
        })?;
        self.images.user(&manifest, lower, asked).await
    }

    /// Another module among an image's own files, compiled. Its name is resolved beneath them.
    async fn module(&self, files: Option<&Path>, name: &str) -> Result<Content> {
        let missing = || Error::Invalid(format!("the image has no module `{name}`"));
        let files = files.ok_or_else(missing)?.to_owned();
        let (folder, relative) = (files.clone(), name.trim_start_matches('/').to_owned());
        let found = run_blocking(move || Ok(find_module(&folder, &relative))).await?;
        let (path, digest) = found.ok_or_else(missing)?;
        let runtimes = self.runtimes().await?;
        let artifact = runtimes.compile(&digest, &path).await;
        let artifact = artifact.map_err(|source| Error::Compile { reference: name.to_owned(), source })?;
        let proa_sandbox::Artifact { folder, kind, imports } = artifact;
        Ok(Content::Module { folder, kind, imports, files: Some(files) })
    }

    /// Starts it; its streams are the caller's, who ends with [`exec_finish`](Host::exec_finish).
    pub async fn exec_start(&self, exec: &Exec) -> Result<Sandbox> {
        if std::mem::replace(&mut exec.lock().begun, true) {
            return Err(Error::Conflict(format!("exec {} has already run", exec.id)));
        }
        match self.exec_launch(exec).await {
            Ok(sandbox) => {
                let mut progress = exec.lock();
                progress.running = true;
                progress.pid = sandbox.pid();
                progress.sandbox = Some(sandbox.clone());
                drop(progress);
                exec.moved.notify_waiters();
                self.exec_event(exec, "exec_start", &[]);
                Ok(sandbox)
            }
            Err(error) => {
                let code = error.kind().and_then(program_code);
                {
                    let mut progress = exec.lock();
                    progress.exit_code = Some(code.unwrap_or(126));
                    progress.over = true;
                }
                exec.moved.notify_waiters();
                let program = exec.config.cmd.iter().flatten().next().cloned().unwrap_or_default();
                Err(match (code, &error) {
                    (Some(code), Error::Sandbox { source, .. }) => {
                        Error::StartProgram { code, message: start_message(&program, code, source) }
                    }
                    _ => error,
                })
            }
        }
    }

    /// Waits for its end and records it, before anybody sees its streams end.
    pub async fn exec_finish(&self, exec: &Exec, sandbox: &Sandbox) {
        let exit = sandbox.wait().await;
        {
            let mut progress = exec.lock();
            progress.running = false;
            progress.over = true;
            progress.pid = None;
            progress.exit_code = exit.code;
            progress.sandbox = None;
        }
        let code = exit.code.unwrap_or(u8::MAX).to_string();
        self.events.container(&exec.container, "exec_die", &[("execID", exec.id.clone()), ("exitCode", code)]);
        if let Err(error) = sandbox.delete().await {
            tracing::error!(exec = exec.id, "delete its sandbox: {error}");
        }
    }

    /// Tells of an exec, its command in the event's name as dockerd has it.
    fn exec_event(&self, exec: &Exec, action: &str, more: &[(&str, String)]) {
        let command = exec.config.cmd.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        let attributes = [&[("execID", exec.id.clone())], more].concat();
        self.events.container(&exec.container, format!("{action}: {command}"), &attributes);
    }

    async fn exec_launch(&self, exec: &Exec) -> Result<Sandbox> {
        let container = &exec.container;
        // Nothing comes in while it is being paused.
        let _motion = container.motion.read().await;
        let parent = runs_freely(container)?;
        let record = container.record();
        let workload =
            spec::exec::workload(&record, container.folder(), &exec.config, &exec.user, exec.module.as_ref())?;
        let failed =
            |source| Error::Sandbox { attempt: "exec in container", container: container.id().to_owned(), source };
        let sandbox = self.runtimes().await?.exec(&parent, &exec.id, &workload).await.map_err(failed)?;
        if let Err(source) = sandbox.start().await {
            let error = failed(source);
            if let Err(second) = sandbox.delete().await {
                tracing::error!(exec = exec.id, "delete its sandbox: {second}");
            }
            return Err(error);
        }
        Ok(sandbox)
    }

    /// Takes over what the last host executed: it can be asked for by its id, and its exit code is found as ever.
    pub(super) fn exec_adopt(self: &Arc<Self>, sandbox: Sandbox) {
        let known = sandbox
            .id()
            .split_once('/')
            .and_then(|(container, exec)| Some((self.containers.find(container).ok()?, exec.to_owned())));
        let host = self.clone();
        tokio::spawn(async move {
            let exec = known.map(|(container, id)| {
                let progress = Progress {
                    sandbox: Some(sandbox.clone()),
                    begun: true,
                    running: true,
                    pid: sandbox.pid(),
                    ..Progress::default()
                };
                let cmd = sandbox.pid().filter(|_| !container.with(|record| record.isolation.is_wasm()));
                let config = ExecConfig { cmd: cmd.and_then(crate::processes::arguments), ..ExecConfig::default() };
                let (number, progress) = (host.execs.next_number(), Mutex::new(progress));
                let exec = Exec {
                    id,
                    container,
                    config,
                    user: User::default(),
                    module: None,
                    number,
                    progress,
                    moved: Notify::new(),
                };
                let exec = Arc::new(exec);
                host.execs.insert(exec.clone());
                exec
            });
            drain(&sandbox).await;
            match exec {
                Some(exec) => host.exec_finish(&exec, &sandbox).await,
                None => {
                    sandbox.wait().await;
                    if let Err(error) = sandbox.delete().await {
                        tracing::error!(sandbox = sandbox.id(), "delete it: {error}");
                    }
                }
            }
        });
    }
}

/// Reads what nobody wants any more, so that the program does not wait for a reader.
async fn drain(sandbox: &Sandbox) {
    let reading = async {
        let Some(mut output) = sandbox.output() else { return };
        while let Ok(Some(_)) = output.peek().await {
            if output.consume().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        // A program that left a child in the background holds its streams open.
        _ = sandbox.wait() => {}
    }
}

/// The sandbox of a container that runs and is not held.
fn runs_freely(container: &Container) -> Result<Sandbox> {
    let sandbox = container.running()?;
    if container.status() == Status::Paused {
        let id = container.id();
        return Err(Error::Conflict(format!("container {id} is paused, unpause the container before exec")));
    }
    Ok(sandbox)
}

fn refuse_for_wasm(config: &ExecConfig) -> Result<()> {
    if config.privileged == Some(true) {
        let sentence = "--privileged has no meaning for a Wasm container: it touches only what its grants name";
        return Err(Error::Invalid(sentence.to_owned()));
    }
    Ok(())
}

/// A module below `folder` and its digest; links lead nowhere else.
fn find_module(folder: &Path, relative: &str) -> Option<(PathBuf, String)> {
    let beneath = cap_std::fs::Dir::open_ambient_dir(folder, cap_std::ambient_authority()).ok()?;
    let place = beneath.canonicalize(relative).ok()?;
    let file = beneath.open(&place).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > LARGEST_MODULE {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_MODULE).read_to_end(&mut bytes).ok()?;
    Some((folder.join(place), proa_registry::Digest::sha256_of(&bytes).to_string()))
}

#[cfg(test)]
mod tests {
    use proa_sandbox::Isolation;

    use super::*;
    use crate::state::log::Log;

    #[test]
    fn execs_that_nobody_starts_are_forgotten_oldest_first() {
        let record = crate::spec::tests::record(Isolation::Linux);
        let user = record.user.clone();
        let container = Arc::new(Container::new(record, "/nowhere".into(), Log::new("/nowhere/log".into())));
        let execs = Execs::default();
        let create = |begun: bool| {
            let number = execs.next_number();
            let progress = Mutex::new(Progress { begun, running: begun, ..Progress::default() });
            let (container, user, id) = (container.clone(), user.clone(), number.to_string());
            execs.insert(Arc::new(Exec {
                id,
                container,
                config: ExecConfig::default(),
                user,
                module: None,
                number,
                progress,
                moved: Notify::new(),
            }));
        };
        create(true);
        (0..=REMEMBERED).for_each(|_| create(false));
        assert!(execs.find("0").is_ok(), "a running one stays");
        assert!(execs.find("1").is_err(), "the oldest goes");
        assert!(execs.find("2").is_ok() && execs.find(&(REMEMBERED + 1).to_string()).is_ok());
    }
}
