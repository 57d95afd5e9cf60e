//! More programs in a running native container.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::ExecConfig;
use proa_sandbox::Sandbox;

use crate::error::{Error, Result};
use crate::host::{Host, program_code};
use crate::spec;
use crate::state::Container;
use crate::state::record::{Content, User};
use crate::supervisor::start_message;

/// Execs of one container that do not run, finished or never started, that are remembered, so that clients can start
/// them and ask for their codes; beyond that the oldest are forgotten.
const REMEMBERED: usize = 1024;

/// One more program, wanted, running or ended.
#[derive(Debug)]
pub struct Exec {
    /// 64 hex digits.
    pub id: String,
    pub container: Arc<Container>,
    pub config: ExecConfig,
    user: User,
    /// Grows from one exec to the next.
    number: u64,
    progress: Mutex<Progress>,
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

/// Every exec of the host by id; they do not outlive it, though their programs do.
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
    pub async fn exec_create(&self, container: Arc<Container>, config: ExecConfig) -> Result<Arc<Exec>> {
        container.running()?;
        let record = container.record();
        let Content::Layers { lower } = &record.content else {
            return Err(Error::Invalid("exec into a Wasm container is not supported yet".to_owned()));
        };
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        if config.privileged == Some(true) {
            return Err(Error::Unsupported("exec --privileged is not supported".to_owned()));
        }
        let user = match config.user.as_deref().filter(|user| !user.is_empty()) {
            None => record.user.clone(),
            Some(user) => {
                let manifest = record.manifest.parse().map_err(|source| Error::Image {
                    attempt: "understand the image of",
                    reference: record.name.clone(),
                    source: Box::new(source),
                })?;
                self.images.user(&manifest, lower, user).await?
            }
        };
        let number = self.execs.next_number();
        let exec = Exec { id: crate::random_id(), container, config, user, number, progress: Mutex::default() };
        let exec = Arc::new(exec);
        self.execs.insert(exec.clone());
        Ok(exec)
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
                Ok(sandbox)
            }
            Err(error) => {
                let code = error.kind().and_then(program_code);
                {
                    let mut progress = exec.lock();
                    progress.exit_code = Some(code.unwrap_or(126));
                    progress.over = true;
                }
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
        if let Err(error) = sandbox.delete().await {
            tracing::error!(exec = exec.id, "delete its sandbox: {error}");
        }
    }

    async fn exec_launch(&self, exec: &Exec) -> Result<Sandbox> {
        let parent = exec.container.running()?;
        let process = exec.container.with(|record| spec::exec_process(record, &exec.config, exec.user.clone()))?;
        let failed =
            |source| Error::Sandbox { attempt: "exec in container", container: exec.container.id().to_owned(), source };
        let stdin = exec.config.attach_stdin.unwrap_or(false);
        let sandbox = parent.exec(&exec.id, &process, stdin).await.map_err(failed)?;
        if let Err(source) = sandbox.start().await {
            let error = failed(source);
            if let Err(second) = sandbox.delete().await {
                tracing::error!(exec = exec.id, "delete its sandbox: {second}");
            }
            return Err(error);
        }
        Ok(sandbox)
    }
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
            execs.insert(Arc::new(Exec { id, container, config: ExecConfig::default(), user, number, progress }));
        };
        create(true);
        (0..=REMEMBERED).for_each(|_| create(false));
        assert!(execs.find("0").is_ok(), "a running one stays");
        assert!(execs.find("1").is_err(), "the oldest goes");
        assert!(execs.find("2").is_ok() && execs.find(&(REMEMBERED + 1).to_string()).is_ok());
    }
}
