//! A place in a log that somebody reads from. It holds the files from there on open, so that what is to be read stays
//! readable when rotation, or the container's removal, takes their names away.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// One file of a log: the offset in the whole log at which it begins, and the file.
pub(crate) type Segment = (u64, Arc<File>);

/// A place in a log that somebody reads from.
#[derive(Debug)]
pub(crate) struct Reader {
    /// What was read, as an offset in the whole log.
    offset: AtomicU64,
    files: Mutex<VecDeque<Segment>>,
    /// It fell behind what is kept.
    cut: AtomicBool,
    /// How long the writer waits for this one before it takes away what was not read yet.
    pub(super) patience: Duration,
    /// Tells the writer that somebody got on.
    moved: Arc<Notify>,
}

impl Reader {
    pub(super) fn new(offset: u64, files: VecDeque<Segment>, patience: Duration, moved: Arc<Notify>) -> Reader {
        let (files, cut) = (Mutex::new(files), AtomicBool::new(false));
        Reader { offset: AtomicU64::new(offset), files, cut, patience, moved }
    }

    /// Where it stands.
    pub(crate) fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Everything before `offset` was read.
    pub(crate) fn advance(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Whether what it should read next was taken away.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// The file that holds `offset`, and where in the whole log it begins and ends; files before it are let go.
    pub(crate) fn file_at(&self, offset: u64) -> Option<(Segment, u64)> {
        let mut files = self.files();
        while files.get(1).is_some_and(|(base, _)| *base <= offset) {
            files.pop_front();
        }
        let first = files.front().cloned()?;
        let end = files.get(1).map_or(u64::MAX, |(base, _)| *base);
        Some((first, end))
    }

    /// Where the newest of its files begins.
    pub(super) fn newest(&self) -> Option<u64> {
        self.files().back().map(|(base, _)| *base)
    }

    pub(super) fn add(&self, segment: Segment) {
        self.files().push_back(segment);
    }

    /// Takes away what it has not read: its files' room on the disk is needed.
    pub(super) fn cut_off(&self) {
        self.cut.store(true, Ordering::Release);
        self.files().clear();
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.moved.notify_waiters();
    }
}
