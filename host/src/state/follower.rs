//! A reader behind the writer of a [`Log`](crate::state::Log): attach and logs are both one of these.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use crate::state::log::{Entry, Handle, Log, Tail, read_entry};

/// When a follower has seen all it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// What is there now.
    Now,
    /// The end of the run that is under way, or of the next one where none is.
    RunEnds,
}

/// Text read in one go; bounds what one slow client holds in memory.
const BATCH: usize = 128 * 1024;

/// What of the log is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Lines at the beginning, as [`Log::last_lines`] counts them.
    pub skip_lines: usize,
    /// Nothing before this time, in nanoseconds since 1970.
    pub since: Option<u64>,
    /// Nothing after this time.
    pub until: Option<u64>,
}

/// A position in a log.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<Arc<File>>,
    shared: Handle,
    offset: u64,
    tail: watch::Receiver<Tail>,
    end: End,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
enum End {
    At(u64),
    Closes(u64),
}

impl Follower {
    /// Follows `log` from byte `offset` of the file (0, or a record's beginning).
    pub fn new(log: &Log, offset: u64, until: Until) -> Follower {
        let tail = log.watch();
        let now = *tail.borrow();
        let end = match until {
            Until::Now => End::At(now.len),
            Until::RunEnds => End::Closes(now.closes + 1),
        };
        Follower {
            path: log.path().to_owned(),
            file: None,
            shared: log.handle(),
            offset,
            tail,
            end,
            window: Window::default(),
        }
    }

    /// The same with some of the log left out.
    pub fn within(mut self, window: Window) -> Follower {
        self.window = window;
        self
    }

    /// The next pieces of output, at least one; `None` when the end has come. Cancel safe.
    pub async fn next(&mut self) -> std::io::Result<Option<Vec<Entry>>> {
        loop {
            let now = *self.tail.borrow_and_update();
            let limit = if let End::At(end) = self.end { end.min(now.len) } else { now.len };
            if self.offset < limit {
                let batch = self.read(limit)?;
                if batch.is_empty() {
                    continue;
                }
                return Ok(Some(batch));
            }
            let ended = match self.end {
                End::At(_) => true,
                End::Closes(closes) => now.closes >= closes,
            };
            // The log's owner is dropped when its container is removed.
            if ended || self.tail.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    // Blocking, on purpose: these bytes were written a moment ago and lie in the page cache; a hop to another thread
    // costs more than the copy.
    fn read(&mut self, limit: u64) -> std::io::Result<Vec<Entry>> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let open = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                empty.insert(match open {
                    Some(file) => file,
                    None => Arc::new(File::open(&self.path)?),
                })
            }
        };
        let (mut batch, mut size) = (Vec::new(), 0);
        while self.offset < limit && size < BATCH {
            let Some((entry, next)) = read_entry(file, self.offset, limit)? else {
                self.offset = limit;
                break;
            };
            self.offset = next;
            if let Some(entry) = self.window.cut(entry) {
                size += entry.bytes.len();
                batch.push(entry);
            }
        }
        Ok(batch)
    }
}

impl Window {
    /// What remains of `entry`.
    fn cut(&mut self, mut entry: Entry) -> Option<Entry> {
        if self.since.is_some_and(|since| entry.nanos < since) || self.until.is_some_and(|until| entry.nanos > until) {
            return None;
        }
        while self.skip_lines > 0 {
            match entry.bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => drop(entry.bytes.drain(..=at)),
                None => return None,
            }
            self.skip_lines -= 1;
        }
        (!entry.bytes.is_empty()).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proa_sandbox::Stream;

    use super::*;

    fn text(entries: Option<Vec<Entry>>) -> String {
        entries.into_iter().flatten().map(|entry| String::from_utf8(entry.bytes).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_attach_before_the_start_sees_every_byte_and_ends_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        let mut follower = Follower::new(&log, 0, Until::RunEnds);
        let reader = tokio::spawn(async move {
            let mut all = String::new();
            while let Some(entries) = follower.next().await.unwrap() {
                all += &text(Some(entries));
            }
            all
        });
        for piece in ["a", "b\n", "c"] {
            log.append(Stream::Stdout, 0, piece.as_bytes()).unwrap();
            tokio::task::yield_now().await;
        }
        log.close();
        assert_eq!(reader.await.unwrap(), "ab\nc");
    }

    #[tokio::test]
    async fn a_log_removed_with_its_container_is_still_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        let mut follower = Follower::new(&log, 0, Until::RunEnds);
        log.append(Stream::Stdout, 0, b"all\n").unwrap();
        log.close();
        drop(log);
        drop(folder);
        assert_eq!(text(follower.next().await.unwrap()), "all\n");
        assert!(follower.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn logs_without_follow_end_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        log.append(Stream::Stderr, 0, b"x\n").unwrap();
        let mut follower = Follower::new(&log, 0, Until::Now);
        assert_eq!(text(follower.next().await.unwrap()), "x\n");
        assert!(follower.next().await.unwrap().is_none());
    }
}
