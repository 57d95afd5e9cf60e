//! One container in memory: its record, its log, its sandbox while it has one, and the news of every change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use proa_sandbox::{Exit, Sandbox};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::healing::health::Health;
use crate::healing::restart::{Ended, Restarts, monotonic};
use crate::permit::Share;
use crate::state::log::Log;
use crate::state::record::Record;
use crate::state::status::{Event, Refusal, Status};
use crate::timestamp::unix_nanos;

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
            health: Mutex::new(None),
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

    /// After this run there is no other, whatever its restart policy says. `by_hand` is remembered, on disk too, beyond
    /// the life of this host.
    ///
    /// # Errors
    /// When the disk does not take it; it holds nevertheless as long as this host lives.
    pub fn make_last(&self, by_hand: bool) -> Result<()> {
        self.last.store(true, Ordering::Release);
        let mut live = self.lock();
        if !by_hand || live.record.restarts.stopped {
            return Ok(());
        }
        live.record.restarts.stopped = true;
        self.settle(&live.record)
    }

    /// Somebody stopped it by hand, which only `unless-stopped` minds.
    pub fn note_stop(&self) -> Result<()> {
        let mut live = self.lock();
        live.record.restarts.stopped = true;
        self.settle(&live.record)
    }

    /// Whether [`make_last`](Container::make_last) was called in this run.
    pub fn is_last(&self) -> bool {
        self.last.load(Ordering::Acquire)
    }

    /// This run is ended because the container is ill: another one follows, whatever its restart policy says.
    pub fn fall_ill(&self) {
        self.ill.store(true, Ordering::Release);
    }

    /// What its health check found out.
    pub fn health(&self) -> Option<Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known of its health.
    pub fn with_health<T>(&self, change: impl FnOnce(&mut Option<Health>) -> T) -> T {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// Records how it ended, then tells whoever waits. `on_disk` is false where the record is about to be removed and
    /// the runtime keeps the status until then. The first answer is the pause before the next run, where there is to be
    /// one; the second whether the disk took the record.
    pub fn end(&self, exit: &Exit, on_disk: bool) -> (Option<Duration>, Result<()>) {
        let (next, result) = {
            let mut live = self.lock();
            let ran = Duration::from_nanos(monotonic().saturating_sub(live.record.restarts.began));
            let ended = Ended { code: exit.code, ran, ill: self.ill.load(Ordering::Acquire) };
            let next = if on_disk { self.next_run(&live.record, ended) } else { None };
            let event = if next.is_some() { Event::Retry } else { Event::Exit };
            match live.record.status.after(event) {
                Ok(status) => {
                    let record = &mut live.record;
                    record.status = status;
                    record.restarts = next.unwrap_or(record.restarts);
                    record.pid = None;
                    record.ports.clear();
                    record.finished = Some(unix_nanos(exit.at));
                    record.exit_code = exit.code;
                    record.oom_killed = exit.oom_killed;
                    record.error = exit.reason.clone().unwrap_or_default();
                    (next, if on_disk { self.settle(&live.record) } else { Ok(()) })
                }
                Err(_) => (None, Ok(())),
            }
        };
        self.log.close();
        self.tell(|news| {
            news.exits += 1;
            news.code = exit.code;
        });
        (next.map(Restarts::pause), result)
    }

    /// Records that a restart failed; the answers are those of [`end`](Container::end).
    pub fn fail_again(&self, code: u8, sentence: &str) -> (Option<Duration>, Result<()>) {
        let (next, result) = {
            let mut live = self.lock();
            let ended = Ended { code: Some(code), ran: Duration::ZERO, ill: false };
            let next = self.next_run(&live.record, ended);
            let event = if next.is_some() { Event::Retry } else { Event::Exit };
            let record = &mut live.record;
            record.status = record.status.after(event).unwrap_or(record.status);
            record.restarts = next.unwrap_or(record.restarts);
            record.exit_code = Some(code);
            record.error = sentence.to_owned();
            record.finished = Some(unix_nanos(SystemTime::now()));
            record.ports.clear();
            (next, self.settle(&live.record))
        };
        self.tell(|news| {
            news.exits += 1;
            news.code = Some(code);
        });
        (next.map(Restarts::pause), result)
    }

    /// It waited for its next run, and there will be none.
    pub fn retire(&self) -> Result<()> {
        self.change_anyway(Event::Exit)
    }

    /// It ended under an earlier host, and runs again under this one.
    pub fn rise(&self) -> Result<()> {
        self.change_anyway(Event::Retry)
    }

    /// What is remembered for its next run, if it is to have one.
    fn next_run(&self, record: &Record, ended: Ended) -> Option<Restarts> {
        let never = self.is_last() || record.host_config.auto_remove == Some(true);
        if never { None } else { record.restarts.after(&record.host_config, ended) }
    }

    /// Whether the disk has the record as it is in memory, now that this was tried; `None` where it had it before.
    pub fn write_again(&self) -> Option<Result<()>> {
        let live = self.lock();
        self.unwritten.load(Ordering::Acquire).then(|| self.settle(&live.record))
    }

    /// Writes what is true already, whether the disk takes it or not.
    fn settle(&self, record: &Record) -> Result<()> {
        let written = record.write(&self.folder);
        self.unwritten.store(written.is_err(), Ordering::Release);
        written
    }

    /// A change that needs no room on the disk to be true.
    fn change_anyway(&self, event: Event) -> Result<()> {
        let result = {
            let mut live = self.lock();
            live.record.status = live.record.status.after(event).map_err(|refusal| self.refused(refusal))?;
            self.settle(&live.record)
        };
        self.tell(|_| {});
        result
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
            Refusal::NotPaused => Error::Conflict(format!("container {} is not paused", self.id)),
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

    fn exit(code: u8) -> Exit {
        Exit { code: Some(code), oom_killed: false, reason: None, at: SystemTime::now() }
    }

    fn on_disk(folder: &Path) -> Record {
        Record::read(folder).unwrap().unwrap()
    }

    #[test]
    fn an_end_that_the_disk_did_not_take_is_true_and_is_written_later() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("container");
        std::fs::create_dir(&folder).unwrap();
        let record = crate::spec::tests::record(Isolation::Linux);
        let container = Container::new(record, folder.clone(), Log::new(folder.join("log")));
        container.begin(Some(1), Vec::new(), true).unwrap();
        let away = scratch.path().join("away");
        std::fs::rename(&folder, &away).unwrap();
        let (pause, written) = container.end(&exit(3), true);
        assert!(pause.is_none() && written.is_err());
        assert_eq!((container.status(), container.news().borrow().code), (Status::Exited, Some(3)));
        assert!(container.write_again().unwrap().is_err());
        std::fs::rename(&away, &folder).unwrap();
        assert_eq!(on_disk(&folder).status, Status::Running);
        assert!(container.write_again().unwrap().is_ok() && container.write_again().is_none());
        assert_eq!((on_disk(&folder).status, on_disk(&folder).exit_code), (Status::Exited, Some(3)));
    }

    #[test]
    fn a_stop_by_hand_holds_whatever_the_policy_says() {
        let scratch = tempfile::tempdir().unwrap();
        let mut record = crate::spec::tests::record(Isolation::Linux);
        let name = Some(bollard_stubs::models::RestartPolicyNameEnum::ALWAYS);
        record.host_config.restart_policy =
            Some(bollard_stubs::models::RestartPolicy { name, maximum_retry_count: None });
        let container = Container::new(record, scratch.path().to_owned(), Log::new(scratch.path().join("log")));
        container.begin(None, Vec::new(), true).unwrap();
        let (pause, _) = container.end(&exit(0), true);
        assert_eq!((pause, container.status()), (Some(Duration::from_millis(100)), Status::Restarting));
        container.begin(None, Vec::new(), false).unwrap();
        container.make_last(true).unwrap();
        assert_eq!((container.end(&exit(0), true).0, container.status()), (None, Status::Exited));
        assert!(on_disk(scratch.path()).restarts.stopped);
        container.begin(None, Vec::new(), true).unwrap();
        assert_eq!(on_disk(scratch.path()).restarts.count, 0, "a start by hand counts from zero");
    }
}
