//! A reader behind the writer of a [`Log`](crate::state::Log): attach and logs are both one of these.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::state::log::{Entry, Log, Reader, Tail, next_entry, read_entry};
use crate::timestamp::unix_nanos;

/// When a follower has seen all it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// What is there now.
    Now,
    /// The end of the run that is under way, or of the next one where none is.
    RunEnds,
}

/// How long a guest that prints more than is kept waits for a reader that is behind; then the reader is let go. A
/// terminal with a pager in front of it is given more time than somebody who looks at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Attached,
    Looking,
}

impl Patience {
    fn time(self) -> Duration {
        match self {
            Patience::Attached => Duration::from_secs(10),
            Patience::Looking => Duration::from_secs(1),
        }
    }
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
    /// Nothing after this time; a follower ends then.
    pub until: Option<u64>,
}

/// A position in a log.
#[derive(Debug)]
pub struct Follower {
    reader: Arc<Reader>,
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
    /// Follows `log` from byte `offset` of the whole log (0, or a record's beginning).
    pub fn new(log: &Log, offset: u64, until: Until, patience: Patience) -> Follower {
        let tail = log.watch();
        // Its place is taken first: what is printed from here on stays readable for it.
        let reader = log.reader(offset, patience.time());
        let now = *tail.borrow();
        let end = match until {
            Until::Now => End::At(now.len),
            Until::RunEnds => End::Closes(now.closes + 1),
        };
        Follower { reader, offset, tail, end, window: Window::default() }
    }

    /// The same with some of the log left out.
    pub fn within(mut self, window: Window) -> Follower {
        self.window = window;
        self
    }

    /// The next pieces of output, at least one; `None` when the end has come. Cancel safe.
    ///
    /// # Errors
    /// When what it should read next was taken away, because it read too slowly.
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
            if ended || !self.changed().await {
                return Ok(None);
            }
        }
    }

    /// Waits for more; `false` when none can come.
    async fn changed(&mut self) -> bool {
        let Some(until) = self.window.until else { return self.tail.changed().await.is_ok() };
        let left = Duration::from_nanos(until.saturating_sub(unix_nanos(SystemTime::now())));
        matches!(tokio::time::timeout(left, self.tail.changed()).await, Ok(Ok(())))
    }

    // Blocking, on purpose: these bytes were written a moment ago and lie in the page cache; a hop to another thread
    // costs more than the copy.
    fn read(&mut self, limit: u64) -> std::io::Result<Vec<Entry>> {
        let (mut batch, mut size) = (Vec::new(), 0);
        while self.offset < limit && size < BATCH {
            let Some(entry) = self.read_one(limit)? else { continue };
            if self.window.until.is_some_and(|until| entry.nanos > until) {
                self.end = End::At(self.offset);
                break;
            }
            if let Some(entry) = self.window.cut(entry) {
                size += entry.bytes.len();
                batch.push(entry);
            }
        }
        self.reader.advance(self.offset);
        Ok(batch)
    }

    /// The record here; `None` where there was none and the place moved on.
    fn read_one(&mut self, limit: u64) -> std::io::Result<Option<Entry>> {
        if self.reader.is_cut() {
            let sentence = "this reader was slower than the container prints, and the oldest output was removed";
            return Err(std::io::Error::other(sentence));
        }
        let Some(((base, file), end)) = self.reader.file_at(self.offset) else {
            self.offset = limit;
            return Ok(None);
        };
        if self.offset < base {
            // What was here was rotated away before this reader came.
            self.offset = base;
            return Ok(None);
        }
        let end = end.min(limit);
        let at = self.offset - base;
        match read_entry(&file, at, end - base) {
            Ok(Some((entry, next))) => {
                self.offset = base + next;
                return Ok(Some(entry));
            }
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
            // Damaged, or shorter than it was: what is whole behind it is found.
            Ok(None) | Err(_) => {}
        }
        let length = (end - base).min(file.metadata()?.len());
        self.offset = next_entry(&file, at + 1, length)?.map_or(end, |found| base + found);
        Ok(None)
    }
}

impl Window {
    /// What remains of `entry`.
    fn cut(&mut self, mut entry: Entry) -> Option<Entry> {
        if self.since.is_some_and(|since| entry.nanos < since) {
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
    use crate::state::log::Limits;

    fn text(entries: Option<Vec<Entry>>) -> String {
        entries.into_iter().flatten().map(|entry| String::from_utf8(entry.bytes).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_attach_before_the_start_sees_every_byte_and_ends_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        let mut follower = Follower::new(&log, 0, Until::RunEnds, Patience::Attached);
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
        let mut follower = Follower::new(&log, 0, Until::RunEnds, Patience::Attached);
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
        let mut follower = Follower::new(&log, 0, Until::Now, Patience::Looking);
        assert_eq!(text(follower.next().await.unwrap()), "x\n");
        assert!(follower.next().await.unwrap().is_none());
    }

    fn small(size: u64, files: usize) -> Limits {
        Limits { size, files, keep: true }
    }

    async fn all(mut follower: Follower) -> String {
        let mut all = String::new();
        while let Some(entries) = follower.next().await.unwrap() {
            all += &text(Some(entries));
        }
        all
    }

    #[tokio::test]
    async fn a_reader_follows_over_rotations_without_a_lost_or_repeated_byte() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log")).within(small(1000, 2));
        let readers = [Patience::Attached, Patience::Looking]
            .map(|patience| tokio::spawn(all(Follower::new(&log, 0, Until::RunEnds, patience))));
        let mut expected = String::new();
        for number in 0..2000 {
            let line = format!("line {number}\n");
            log.room(line.len()).await;
            log.append(Stream::Stdout, 0, line.as_bytes()).unwrap();
            expected += &line;
            assert!(log.size() <= 2000, "{} bytes", log.size());
        }
        log.close();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), expected);
        }
        let kept = all(Follower::new(&log, 0, Until::Now, Patience::Looking)).await;
        assert!(expected.ends_with(&kept) && kept.len() > 300, "{} bytes", kept.len());
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_is_let_go_and_holds_nobody_up_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log")).within(small(1000, 2));
        let (patient, hasty) = (log.reader(0, Duration::from_millis(20)), log.reader(0, Duration::ZERO));
        let begin = std::time::Instant::now();
        for _ in 0..1000 {
            log.room(100).await;
            log.append(Stream::Stdout, 0, &[b'x'; 100]).unwrap();
        }
        assert!(patient.is_cut() && hasty.is_cut());
        assert!(begin.elapsed() < Duration::from_secs(10), "it was waited for more than once");
        let mut late = Follower::new(&log, 0, Until::RunEnds, Patience::Looking);
        assert!(late.next().await.is_ok(), "who comes later reads what is kept");
    }

    #[tokio::test]
    async fn a_damaged_record_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::new(path.clone());
        for line in ["one\n", "two\n", "three\n"] {
            log.append(Stream::Stdout, 0, line.as_bytes()).unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        // Within the header of the second record.
        bytes[26] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        drop(log);
        let log = Log::reopen(path, Limits::default()).unwrap();
        assert_eq!(all(Follower::new(&log, 0, Until::Now, Patience::Looking)).await, "one\nthree\n");
    }

    #[tokio::test]
    async fn a_follower_ends_when_its_time_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        log.append(Stream::Stdout, 5, b"early\n").unwrap();
        log.append(Stream::Stdout, 7, b"late\n").unwrap();
        let window = Window { until: Some(6), ..Window::default() };
        let follower = Follower::new(&log, 0, Until::RunEnds, Patience::Looking).within(window);
        assert_eq!(all(follower).await, "early\n");
    }
}
