//! One guest in a worker's table.
//!
//! ```text
//!   Created --start--> Running --ends, or kill--> Exited
//!      '-------------kill, delete-----------------^
//! ```

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::protocol::{Exit, Failure, FailureKind, Signal, Usage};
use super::ring::Ring;
use crate::engine::Metered;
use crate::guest::{Kept, Ready, exit};
use crate::limits::Account;

/// A guest and all the worker holds for it.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) ring: Arc<Ring>,
    /// Whether the connection's queue already holds it.
    pub(crate) queued: Arc<AtomicBool>,
    /// The host that was told of its exit, or 0.
    pub(crate) told: AtomicU64,
    pub(crate) is_terminal: bool,
    account: Account,
    stage: Mutex<Stage>,
    kept: Mutex<Kept>,
    ended: watch::Sender<Option<Exit>>,
}

enum Stage {
    Created(Box<Ready>),
    Running(Option<oneshot::Sender<Signal>>),
    Exited,
}

impl Sandbox {
    pub(crate) fn new(id: String, ring: Arc<Ring>, queued: Arc<AtomicBool>, ready: Ready, kept: Kept) -> Sandbox {
        Sandbox {
            id,
            ring,
            queued,
            told: AtomicU64::new(0),
            is_terminal: kept.terminal.is_some(),
            account: ready.account.clone(),
            stage: Mutex::new(Stage::Created(Box::new(ready))),
            kept: Mutex::new(kept),
            ended: watch::Sender::new(None),
        }
    }

    /// Lets it run on `guests`; `ended` is called after its exit is recorded.
    pub(crate) fn start(
        self: &Arc<Sandbox>,
        guests: &Handle,
        ended: impl Fn() + Send + 'static,
    ) -> Result<(), Failure> {
        let mut stage = self.stage();
        let ready = match std::mem::replace(&mut *stage, Stage::Exited) {
            Stage::Created(ready) => ready,
            before => {
                *stage = before;
                return Err(conflict(format!("guest `{}` was started before", self.id)));
            }
        };
        let (kill, killed) = oneshot::channel();
        *stage = Stage::Running(Some(kill));
        drop(stage);
        let sandbox = Arc::clone(self);
        guests.spawn(async move {
            let exit = run(ready, killed).await;
            sandbox.end(exit);
            ended();
        });
        Ok(())
    }

    /// Ends it: at once if it was not started, else as soon as it yields, which is within one epoch.
    /// True when its exit was recorded by this call.
    pub(crate) fn kill(&self, signal: Signal) -> bool {
        let mut stage = self.stage();
        match &mut *stage {
            Stage::Created(_) => {
                drop(stage);
                self.end(exit(128 + signal.number(), false, None));
                true
            }
            Stage::Running(kill) => {
                if let Some(kill) = kill.take() {
                    let _ = kill.send(signal);
                }
                false
            }
            Stage::Exited => false,
        }
    }

    fn end(&self, exit: Exit) {
        *self.stage() = Stage::Exited;
        // Its terminal stays: what it wrote last may still be unread.
        self.kept().input = None;
        self.ended.send_replace(Some(exit));
    }

    /// Its exit, if it has ended.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.ended.borrow().clone()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) {
        let _ = self.ended.subscribe().wait_for(Option::is_some).await;
    }

    pub(crate) fn started(&self) -> bool {
        !matches!(*self.stage(), Stage::Created(_))
    }

    pub(crate) fn usage(&self) -> Usage {
        let budget = &self.account.budget;
        let (memory, memory_peak) = budget.held();
        Usage { memory, memory_peak, limit: budget.limit(), cpu: self.account.spent.load(Ordering::Relaxed) }
    }

    /// What programs executed in its container use too.
    pub(crate) fn account(&self) -> Account {
        self.account.clone()
    }

    /// Holds it at its next epoch or host call, or lets it go on.
    pub(crate) fn set_paused(&self, paused: bool) -> Result<(), Failure> {
        let stage = self.stage();
        match (&*stage, paused) {
            (Stage::Running(_), true) => self.account.gate.shut(),
            (_, false) => self.account.gate.open(),
            _ => return Err(conflict(format!("guest `{}` is not running", self.id))),
        }
        Ok(())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.account.gate.is_shut()
    }

    /// Makes `memory` bytes its limit.
    pub(crate) fn set_limit(&self, memory: u64) -> Result<(), Failure> {
        let held = |held| conflict(format!("guest `{}` holds {held} bytes, more than the limit of {memory}", self.id));
        self.account.budget.set_limit(memory).map_err(held)
    }

    /// Whether it was started and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.stage(), Stage::Running(_))
    }

    pub(crate) fn close_input(&self) {
        self.kept().input = None;
    }

    /// A duplicate of what a new host needs to go on: the input's write end or the terminal.
    pub(crate) fn duplicate(&self) -> Option<OwnedFd> {
        let kept = self.kept();
        kept.input.as_ref().or(kept.terminal.as_ref()).and_then(|handle| handle.try_clone().ok())
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a guest in a task of its own, so that a panic in a host function ends this guest and no other.
async fn run(ready: Box<Ready>, killed: oneshot::Receiver<Signal>) -> Exit {
    let (ticker, account) = (Arc::clone(ready.engine.ticker()), ready.account.clone());
    let mut task = tokio::spawn(Metered::new(&ticker, &account, ready.run()));
    let signal = tokio::select! {
        biased;
        Ok(signal) = killed => signal,
        result = &mut task => return result.unwrap_or_else(|_panic| {
            exit(134, false, Some("a host function panicked; this is a fault of proa".to_owned()))
        }),
    };
    task.abort();
    match task.await {
        // It ended by itself a moment before.
        Ok(exit) => exit,
        Err(_cancelled) => exit(128 + signal.number(), false, None),
    }
}

pub(crate) fn conflict(message: String) -> Failure {
    Failure { kind: FailureKind::Conflict, message }
}
