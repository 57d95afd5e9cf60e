//! How a container's runs end, and whether another one follows.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use proa_sandbox::Exit;

use super::Container;
use crate::error::Result;
use crate::healing::health::Health;
use crate::healing::restart::{Ended, Restarts, monotonic};
use crate::state::record::Record;
use crate::state::status::Event;
use crate::timestamp::unix_nanos;

impl Container {
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
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proa_sandbox::Isolation;

    use super::*;
    use crate::state::{Log, Status};

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
