//! More programs in a running native container.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::ExecConfig;
use proa_sandbox::Sandbox;

use crate::error::{Error, Result};
use crate::host::{Host, program_code};
use crate::spec;
use crate::state::Container;
use crate::state::record::{Content, User};
use crate::supervisor::start_message;

/// Finished execs that are remembered, so that clients can ask for their codes; the rest are forgotten.
const REMEMBERED: usize = 512;

/// One more program, wanted, running or ended.
#[derive(Debug)]
pub struct Exec {
    /// 64 hex digits.
    pub id: String,
    pub container: Arc<Container>,
    pub config: ExecConfig,
    user: User,
    progress: Mutex<Progress>,
}

/// How far it is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub sandbox: Option<Sandbox>,
    pub begun: bool,
    pub running: bool,
    pub pid: Option<u32>,
    /// `None` before its end, and where nobody knows it.
    pub exit_code: Option<u8>,
}

/// Every exec of the host by id; they do not outlive it, though their programs do.
#[derive(Debug, Default)]
pub struct Execs {
    by_id: Mutex<HashMap<String, Arc<Exec>>>,
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
        if all.len() >= REMEMBERED {
            all.retain(|_, exec| !exec.progress().begun || exec.progress().running);
        }
        all.insert(exec.id.clone(), exec);
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
        let exec = Exec { id: crate::random_id(), container, config, user, progress: Mutex::default() };
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
                exec.lock().exit_code = Some(code.unwrap_or(126));
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
