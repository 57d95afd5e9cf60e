//! A container's output on disk, which is also its broadcast: whoever attaches or follows reads these files behind the
//! writer, so no queue grows in memory. Must not know HTTP or runtimes.
//!
//! ```text
//! containers/<id>/log                         the output from byte 0 of the whole log on
//! containers/<id>/log.00000000000020971520    the output from that byte on
//! ```
//! A file is a row of records (see `log/entry.rs`) and never longer than the limit. A full one is followed by a new one,
//! named by the byte of the whole log it begins with; nothing is renamed, so a host that is killed at any moment leaves
//! files that say where they belong. Where there are too many, the oldest goes: a reader that still needs it is waited
//! for a moment, then let go.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use proa_sandbox::Stream;
use tokio::sync::{Notify, watch};

mod entry;
mod reader;

pub use entry::{Entry, FOOTER, HEADER, LONGEST};
pub(crate) use entry::{next_entry, read_entry};
pub(crate) use reader::{Reader, Segment};

/// How far the log reaches, and how often a run of its container has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    pub len: u64,
    pub closes: u64,
}

/// How much of the output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file, records' frames included.
    pub size: u64,
    /// Files, the one that is written included; at least one.
    pub files: usize,
    /// Whether anything is kept once the run is over (`--log-driver none` keeps nothing).
    pub keep: bool,
}

impl Limits {
    /// No file is smaller than this, so that a record fits.
    pub const SMALLEST: u64 = 256;
}

impl Default for Limits {
    /// 100 MiB: an edge node's disk must outlive a guest that prints day and night. As Docker's driver `local`.
    fn default() -> Limits {
        Limits { size: 20 << 20, files: 5, keep: true }
    }
}

/// The writing end.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    tail: watch::Sender<Tail>,
    moved: Arc<Notify>,
    /// Whoever ends the run waits for no reader.
    hurried: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Where each file begins, the oldest first.
    bases: VecDeque<u64>,
    /// The newest file, while it is written.
    file: Option<Arc<File>>,
    readers: Vec<Weak<Reader>>,
}

impl Log {
    /// The log at `path`, which need not exist yet: a guest that prints nothing makes none.
    pub fn new(path: PathBuf) -> Log {
        let (state, tail) = (Mutex::default(), watch::Sender::new(Tail::default()));
        let hurried = AtomicBool::new(false);
        Log { path, limits: Limits::default(), state, tail, moved: Arc::default(), hurried }
    }

    /// The same within `limits`.
    pub fn within(mut self, limits: Limits) -> Log {
        self.limits = Limits { size: limits.size.max(Limits::SMALLEST), files: limits.files.max(1), ..limits };
        self
    }

    /// The log that an earlier host left at `path`, with a tail it cut off removed.
    pub fn reopen(path: PathBuf, limits: Limits) -> Result<Log> {
        let log = Log::new(path).within(limits);
        let bases = log.found()?;
        if let Some(base) = bases.back() {
            let file = OpenOptions::new().read(true).write(true).open(log.file_of(*base))?;
            let length = entry::whole_length(&file)?;
            if length < file.metadata()?.len() {
                file.set_len(length)?;
            }
            log.tail.send_modify(|tail| tail.len = base + length);
        }
        log.lock().bases = bases;
        Ok(log)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `logs` may show it.
    pub fn is_kept(&self) -> bool {
        self.limits.keep
    }

    /// Appends one piece of output and tells the followers. Whatever a slow one has not read by then may be gone: see
    /// [`room`](Log::room).
    pub fn append(&self, stream: Stream, nanos: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.append_some(stream, nanos, &mut bytes)?;
        }
        Ok(())
    }

    /// Appends the beginning of `bytes`, as much as fits into one record, and leaves the rest.
    pub fn append_some(&self, stream: Stream, nanos: u64, bytes: &mut &[u8]) -> Result<()> {
        let (piece, rest) = bytes.split_at(bytes.len().min(self.longest()));
        let record = entry::encode(stream, nanos, piece);
        let mut state = self.lock();
        let end = self.tail.borrow().len;
        if self.is_full(&state, end, record.len() as u64) {
            self.rotate(&mut state, end)?;
        }
        let (base, file) = self.current(&mut state, end)?;
        if let Err(error) = file.write_all_at(&record, end - base) {
            // Half a record must not stay between whole ones; what is behind `end` was never announced.
            let _ = file.set_len(end - base);
            return Err(error);
        }
        self.tail.send_modify(|tail| tail.len = end + record.len() as u64);
        *bytes = rest;
        Ok(())
    }

    /// Waits, but not for long, while the next `length` bytes would take away what a reader has not read yet.
    pub async fn room(&self, length: usize) {
        let mut waited = Duration::ZERO;
        loop {
            let moved = self.moved.notified();
            let Some(patience) = self.laggards(length) else { return };
            if self.hurried.load(Ordering::Acquire) {
                return;
            }
            let Some(left) = patience.checked_sub(waited).filter(|left| !left.is_zero()) else { return };
            let begin = tokio::time::Instant::now();
            let _ = tokio::time::timeout(left, moved).await;
            waited += begin.elapsed();
        }
    }

    /// From now on, or no longer, [`room`](Log::room) waits for nobody.
    pub fn hurry(&self, hurried: bool) {
        self.hurried.store(hurried, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Tells the followers that this run of the container prints no more.
    pub fn close(&self) {
        self.tail.send_modify(|tail| tail.closes += 1);
    }

    /// Lets go of the open file: an ended container costs no descriptor. What follows opens it again by its path.
    pub fn rest(&self) {
        let mut state = self.lock();
        state.file = None;
        if !self.limits.keep {
            for base in state.bases.drain(..) {
                // Those who still read have it open.
                let _ = fs::remove_file(self.file_of(base));
            }
        }
    }

    /// A place to read from: byte `offset` of the whole log, or where what is kept begins.
    pub(crate) fn reader(&self, offset: u64, patience: Duration) -> Arc<Reader> {
        let mut state = self.lock();
        let last = state.bases.back().copied();
        let mut files = VecDeque::new();
        for (at, base) in state.bases.iter().enumerate() {
            if state.bases.get(at + 1).is_some_and(|next| *next <= offset) {
                continue;
            }
            let open = state.file.clone().filter(|_| Some(*base) == last);
            // One that somebody took away by hand is passed over.
            let file = open.or_else(|| File::open(self.file_of(*base)).ok().map(Arc::new));
            files.extend(file.map(|file| (*base, file)));
        }
        let reader = Arc::new(Reader::new(offset, files, patience, self.moved.clone()));
        state.readers.retain(|reader| reader.strong_count() > 0);
        state.readers.push(Arc::downgrade(&reader));
        reader
    }

    /// How far it reaches now.
    pub fn tail(&self) -> Tail {
        *self.tail.borrow()
    }

    /// Sees every change of [`tail`](Log::tail).
    pub fn watch(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    /// The offset of the record in which the last `lines` lines begin, and how many lines of that record to leave out.
    pub fn last_lines(&self, lines: usize) -> Result<(u64, usize)> {
        let bases: Vec<u64> = self.lock().bases.iter().copied().collect();
        let mut end = self.tail().len;
        if lines == 0 {
            return Ok((end, 0));
        }
        let (mut wanted, mut last) = (lines, true);
        for base in bases.into_iter().rev() {
            let file = match File::open(self.file_of(base)) {
                Ok(file) => file,
                // Rotated away meanwhile: what is older is gone too.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok((end, 0)),
                Err(error) => return Err(error),
            };
            let mut offset = (end - base).min(file.metadata()?.len());
            while offset > 0 {
                // Behind damage the count begins.
                let Ok((start, entry)) = entry::entry_before(&file, offset) else { return Ok((base + offset, 0)) };
                let mut breaks = entry.bytes.iter().filter(|byte| **byte == b'\n').count();
                // The break that ends the whole log begins no further line.
                if std::mem::take(&mut last) && !entry.partial {
                    breaks -= 1;
                }
                if breaks >= wanted {
                    return Ok((base + start, breaks - wanted + 1));
                }
                wanted -= breaks;
                offset = start;
            }
            end = base;
        }
        Ok((end, 0))
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        let bases = self.lock().bases.clone();
        bases.into_iter().filter_map(|base| fs::metadata(self.file_of(base)).ok()).map(|data| data.len()).sum()
    }

    /// The longest text of one record here.
    fn longest(&self) -> usize {
        let room = usize::try_from(self.limits.size).unwrap_or(usize::MAX) - HEADER - FOOTER;
        room.min(LONGEST)
    }

    fn is_full(&self, state: &State, end: u64, length: u64) -> bool {
        state.bases.back().is_some_and(|base| end > *base && end - base + length > self.limits.size)
    }

    /// Begins a new file, and takes the oldest away where there are too many.
    fn rotate(&self, state: &mut State, end: u64) -> Result<()> {
        state.file = None;
        state.bases.push_back(end);
        if let Err(error) = self.current(state, end) {
            state.bases.pop_back();
            return Err(error);
        }
        while state.bases.len() > self.limits.files {
            let Some(oldest) = state.bases.pop_front() else { break };
            let kept_from = state.bases.front().copied().unwrap_or(end);
            for reader in state.readers.iter().filter_map(Weak::upgrade) {
                if reader.offset() < kept_from {
                    reader.cut_off();
                }
            }
            match fs::remove_file(self.file_of(oldest)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The file that is written, opened or made, and where it begins.
    fn current(&self, state: &mut State, end: u64) -> Result<Segment> {
        let base = *state.bases.back().unwrap_or(&end);
        if let Some(file) = &state.file {
            return Ok((base, file.clone()));
        }
        // Not truncated: an earlier run's lines stand before this one's.
        let path = self.file_of(base);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = Arc::new(file);
        if state.bases.is_empty() {
            state.bases.push_back(base);
        }
        state.file = Some(file.clone());
        for reader in state.readers.iter().filter_map(Weak::upgrade) {
            if reader.newest().is_none_or(|known| known < base) && !reader.is_cut() {
                reader.add((base, file.clone()));
            }
        }
        Ok((base, file))
    }

    /// The patience of the most patient reader that the next `length` bytes would cut off.
    fn laggards(&self, length: usize) -> Option<Duration> {
        let state = self.lock();
        let end = self.tail.borrow().len;
        let record = (length.min(self.longest()) + HEADER + FOOTER) as u64;
        if state.bases.len() < self.limits.files || !self.is_full(&state, end, record) {
            return None;
        }
        let gone = state.bases.len() + 1 - self.limits.files;
        let kept_from = state.bases.get(gone).copied().unwrap_or(end);
        let readers = state.readers.iter().filter_map(Weak::upgrade);
        readers.filter(|reader| !reader.is_cut() && reader.offset() < kept_from).map(|reader| reader.patience).max()
    }

    fn file_of(&self, base: u64) -> PathBuf {
        if base == 0 {
            return self.path.clone();
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{base:020}"));
        self.path.with_file_name(name)
    }

    /// Where the files that lie there begin.
    fn found(&self) -> Result<VecDeque<u64>> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name().and_then(|name| name.to_str()))
        else {
            return Ok(VecDeque::new());
        };
        let mut bases = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?.file_name();
            let Some(rest) = entry.to_str().and_then(|text| text.strip_prefix(name)) else { continue };
            let base =
                if rest.is_empty() { Some(0) } else { rest.strip_prefix('.').and_then(|base| base.parse().ok()) };
            bases.extend(base);
        }
        bases.sort_unstable();
        Ok(bases.into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
