//! One container in memory: its record, its log, its sandbox while it has one, and the news of every change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use proa_sandbox::Sandbox;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::healing::health::{Feeling, Health};
use crate::healing::restart::{Restarts, monotonic};
use crate::permit::Share;
use crate::state::log::Log;
use crate::state::record::Record;
use crate::state::status::{Event, Refusal, Status};
use crate::timestamp::unix_nanos;

mod ending;

/// One container in memory.
#[derive(Debug)]
pub struct Container {
    id: String,
    folder: PathBuf,
    live: Mutex<Live>,
    news: watch::Sender<News>,
    log: Log,
    /// Whoever ends this run does not wait for what it printed.
    forced: AtomicBool,
    /// This run is the last one, whatever the restart policy says.
    last: AtomicBool,
    /// It stays when this run ends.
    kept: AtomicBool,
    /// This run is ended because the container is ill, and another one is to follow.
    ill: AtomicBool,
    /// The disk had no room for the record as it is in memory.
    unwritten: AtomicBool,
    /// Where it has a health check and was started.
    health: Mutex<Option<Health>>,
    /// Held by whoever starts, changes or removes it; stop, kill and wait need no turn.
    pub turn: tokio::sync::Mutex<()>,
    /// Held for writing by whoever pauses it, for reading by whoever sends it a signal or a program.
    pub motion: tokio::sync::RwLock<()>,
}

#[derive(Debug)]
struct Live {
    record: Record,
    sandbox: Option<Sandbox>,
    /// What the node charges for this run.
    share: Option<Share>,
}

/// What waiters look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    pub status: Status,
    /// Ends of runs since this host started, and the code of the last one that is known of.
    pub exits: u64,
    pub code: Option<u8>,
    /// The sandbox and all it had are gone, so that the container can start again.
    pub free: bool,
    /// The container has left the table.
    pub gone: bool,
}

impl Container {
    /// A container whose files lie in `folder`.
    pub fn new(record: Record, folder: PathBuf, log: Log) -> Container {
        let health = record.health.as_ref().map(|felt| match record.status.is_running() {
            true => felt.health.clone(),
            // As dockerd does: what does not run is not well.
            false => Health { feeling: Feeling::Unhealthy, ..felt.health.clone() },
        });
        let news = News { status: record.status, exits: 0, code: record.exit_code, free: true, gone: false };
        Container {
            id: record.id.clone(),
            folder,
            live: Mutex::new(Live { record, sandbox: None, share: None }),
            news: watch::Sender::new(news),
            log,
            forced: AtomicBool::new(false),
            last: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            ill: AtomicBool::new(false),
            unwritten: AtomicBool::new(false),
            health: Mutex::new(health),
            turn: tokio::sync::Mutex::new(()),
            motion: tokio::sync::RwLock::new(()),
        }
    }

    /// 64 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its output.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// A look at the record, under a lock nobody may wait with.
    pub fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock().record)
    }

    /// A copy of the record.
    pub fn record(&self) -> Record {
        self.lock().record.clone()
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.lock().record.status
    }

    /// Its sandbox, while it has one.
    pub fn sandbox(&self) -> Option<Sandbox> {
        self.lock().sandbox.clone()
    }

    /// The sandbox of a running container, paused or not.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub fn running(&self) -> Result<Sandbox> {
        let live = self.lock();
        match &live.sandbox {
            Some(sandbox) if live.record.status.is_running() => Ok(sandbox.clone()),
            _ if live.record.status == Status::Restarting => Err(self.refused(Refusal::Restarting)),
            _ => Err(Error::Conflict(format!("container {} is not running", self.id))),
        }
    }

    /// Sees every change.
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// The sandbox exists; its first instruction waits.
    pub fn hold(&self, sandbox: Sandbox) {
        for wish in [&self.forced, &self.last, &self.ill, &self.kept] {
            wish.store(false, Ordering::Release);
        }
        self.log.hurry(false);
        self.lock().sandbox = Some(sandbox);
        self.tell(|news| news.free = false);
    }

    /// Whether it stays when this run ends, though it is to be removed when it ends: it is being restarted.
    pub fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::Release);
    }

    /// Whether [`keep`](Container::keep) holds.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// What the node charges for this run.
    pub fn charge(&self, share: Share) {
        self.lock().share = Some(share);
    }

    /// Changes what the node charges for this run, if there is one.
    ///
    /// # Errors
    /// `Admit` when the node has no room for more.
    pub fn charge_for(&self, demand: u64) -> Result<()> {
        let share = self.lock().share.clone();
        share.map_or(Ok(()), |share| share.change(demand))
    }

    /// Once this run has ended, output for which the disk has no room is dropped instead of waited for.
    pub fn force(&self) {
        self.forced.store(true, Ordering::Release);
        self.log.hurry(true);
    }

    /// Whether [`force`](Container::force) was called in this run.
    pub fn is_forced(&self) -> bool {
        self.forced.load(Ordering::Acquire)
    }

    /// The sandbox and all it had are gone.
    pub fn let_go(&self) {
        self.lock().sandbox = None;
        self.tell(|news| news.free = true);
    }

    /// Records that it runs, before anybody is told. A start `by_hand` forgets what the restart policy did before.
    pub fn begin(&self, pid: Option<u32>, ports: Vec<crate::state::record::Published>, by_hand: bool) -> Result<()> {
        self.change(Event::Start, |record| {
            let restarts = if by_hand { Restarts::default() } else { record.restarts };
            record.restarts = Restarts { began: monotonic(), ..restarts };
            record.pid = pid;
            record.ports = ports;
            record.started = Some(unix_nanos(SystemTime::now()));
            record.finished = None;
            record.exit_code = Some(0);
            record.oom_killed = false;
            record.error.clear();
        })
    }

    /// Records that it is paused, or that it goes on.
    pub fn set_paused(&self, paused: bool) -> Result<()> {
        self.change(if paused { Event::Pause } else { Event::Unpause }, |_| {})
    }

    /// Changes what is wanted of it, on disk first; its status stays.
    pub fn edit(&self, edit: impl FnOnce(&mut Record)) -> Result<()> {
        let mut live = self.lock();
        let mut changed = live.record.clone();
        edit(&mut changed);
        changed.write(&self.folder)?;
        live.record = changed;
        Ok(())
    }

    /// Records that a start failed before the guest's first instruction.
    pub fn fail_start(&self, code: u8, sentence: &str) -> Result<()> {
        self.change(Event::FailStart, |record| {
            record.exit_code = Some(code);
            record.error = sentence.to_owned();
            record.ports.clear();
        })?;
        self.tell(|news| news.code = Some(code));
        Ok(())
    }

    /// Begins its removal.
    pub fn begin_removal(&self) -> Result<(), Refusal> {
        {
            let mut live = self.lock();
            live.record.status = live.record.status.after(Event::Remove)?;
        }
        self.tell(|_| {});
        Ok(())
    }

    /// It could not be removed.
    pub fn fail_removal(&self, sentence: &str) {
        let mut live = self.lock();
        if let Ok(next) = live.record.status.after(Event::FailRemove) {
            live.record.status = next;
            live.record.error = sentence.to_owned();
        }
        drop(live);
        self.tell(|_| {});
    }

    /// It has left the table; the last news there is.
    pub fn gone(&self) {
        self.log.close();
        self.tell(|news| news.gone = true);
    }

    fn change(&self, event: Event, edit: impl FnOnce(&mut Record)) -> Result<()> {
        {
            let mut live = self.lock();
            let mut changed = live.record.clone();
            changed.status = changed.status.after(event).map_err(|refusal| self.refused(refusal))?;
            edit(&mut changed);
            // What is not on disk has not happened: one that seemed to run, with nothing behind it, could not be ended.
            changed.write(&self.folder)?;
            self.unwritten.store(false, Ordering::Release);
            live.record = changed;
        }
        self.tell(|_| {});
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Already => Error::NotModified,
            Refusal::Running => Error::Conflict(format!("container {} is running", self.id)),
            Refusal::NotRunning => Error::Conflict(format!("container {} is not running", self.id)),
            Refusal::Paused => Error::Conflict(format!("container {} is already paused", self.id)),
            Refusal::NotPaused => Error::NotPaused(self.id.clone()),
            Refusal::Restarting => {
                Error::Conflict(format!("Container {} is restarting, wait until the container is running", self.id))
            }
            Refusal::Removing => Error::Conflict(format!("container {} is marked for removal", self.id)),
        }
    }

    fn tell(&self, edit: impl FnOnce(&mut News)) {
        let status = self.status();
        self.news.send_modify(|news| {
            news.status = status;
            edit(news);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proa_sandbox::Isolation;

    use super::*;

    #[test]
    fn a_start_that_cannot_be_recorded_has_not_happened() {
        let folder = tempfile::tempdir().unwrap().path().join("gone");
        let record = crate::spec::tests::record(Isolation::Linux);
        let container = Container::new(record, folder.clone(), Log::new(folder.join("log")));
        assert!(container.begin(Some(1), Vec::new(), true).is_err());
        assert_eq!((container.status(), container.with(|record| record.pid)), (Status::Created, None));
        assert!(container.begin_removal().is_ok(), "it can be removed");
    }
}
