//! A container's output on disk, which is also its broadcast: whoever attaches or follows reads this file behind the
//! writer, so a slow client never blocks a guest and no queue grows in memory. Must not know HTTP or runtimes.
//!
//! The file is a row of records, each whole or cut off by the end of a host (repaired on opening):
//! ```text
//! u8 stream (1 stdout, 2 stderr)   u8 flags (bit 0: partial, the text does not end a line)   u16 0x50a0
//! u32 length n (1 to 65536)        u64 nanoseconds since 1970        n bytes        u32 length n again
//! ```
//! All numbers are little endian; the length at the end lets `--tail` walk backwards.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use proa_sandbox::Stream;
use tokio::sync::watch;

/// Bytes before and after a record's text.
pub const HEADER: usize = 16;
pub const FOOTER: usize = 4;
/// The longest text of one record; the waist's chunks are not longer.
pub const LONGEST: usize = 64 * 1024;

const MARK: u16 = 0x50a0;
const PARTIAL: u8 = 1;

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub stream: Stream,
    /// Nanoseconds since 1970.
    pub nanos: u64,
    /// The text does not end a line.
    pub partial: bool,
    pub bytes: Vec<u8>,
}

/// How far the log reaches, and how often a run of its container has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    pub len: u64,
    pub closes: u64,
}

/// The open file, shared with followers: one whose container is removed with `--rm` still reads all of it.
pub(crate) type Handle = Arc<Mutex<Option<Arc<File>>>>;

/// The writing end.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Handle,
    tail: watch::Sender<Tail>,
}

impl Log {
    /// The log at `path`, which need not exist yet: a guest that prints nothing makes none.
    pub fn new(path: PathBuf) -> Log {
        Log { path, file: Handle::default(), tail: watch::Sender::new(Tail::default()) }
    }

    /// The log that an earlier host left at `path`, with a tail it cut off removed.
    pub fn reopen(path: PathBuf) -> std::io::Result<Log> {
        let log = Log::new(path);
        match OpenOptions::new().read(true).write(true).open(&log.path) {
            Ok(mut file) => {
                let len = repair(&mut file)?;
                log.tail.send_modify(|tail| tail.len = len);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(log)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one piece of output and tells the followers.
    pub fn append(&self, stream: Stream, nanos: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *slot {
            Some(file) => file,
            // Not truncated: an earlier run's lines stand before this one's.
            empty => {
                let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
                empty.insert(Arc::new(file))
            }
        };
        let start = self.tail.borrow().len;
        let mut end = start;
        for piece in bytes.chunks(LONGEST) {
            let record = encode(stream, nanos, piece);
            if let Err(error) = file.write_all_at(&record, end) {
                // Half a record must not stay between whole ones; what is behind `start` was never announced.
                let _ = file.set_len(start);
                return Err(error);
            }
            end += record.len() as u64;
        }
        self.tail.send_modify(|tail| tail.len = end);
        Ok(())
    }

    /// Tells the followers that this run of the container prints no more.
    pub fn close(&self) {
        self.tail.send_modify(|tail| tail.closes += 1);
    }

    /// Lets go of the open file: an ended container costs no descriptor. What follows opens it again by its path.
    pub fn rest(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The open file, for followers.
    pub(crate) fn handle(&self) -> Handle {
        self.file.clone()
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
    pub fn last_lines(&self, lines: usize) -> std::io::Result<(u64, usize)> {
        let end = self.tail().len;
        if lines == 0 || end == 0 {
            return Ok((end, 0));
        }
        let file = File::open(&self.path)?;
        let (mut offset, mut wanted, mut last) = (end, lines, true);
        while offset > 0 {
            let (start, entry) = entry_before(&file, offset)?;
            let mut breaks = entry.bytes.iter().filter(|byte| **byte == b'\n').count();
            // The break that ends the whole log begins no further line.
            if std::mem::take(&mut last) && !entry.partial {
                breaks -= 1;
            }
            if breaks >= wanted {
                return Ok((start, breaks - wanted + 1));
            }
            wanted -= breaks;
            offset = start;
        }
        Ok((0, 0))
    }
}

/// Reads the record at `offset`; `None` where there is no whole and valid one before `end`.
pub fn read_entry(file: &File, offset: u64, end: u64) -> std::io::Result<Option<(Entry, u64)>> {
    let mut header = [0; HEADER];
    if offset + (HEADER + FOOTER) as u64 > end {
        return Ok(None);
    }
    file.read_exact_at(&mut header, offset)?;
    let Some((stream, partial, length, nanos)) = decode(&header) else { return Ok(None) };
    let next = offset + (HEADER + length + FOOTER) as u64;
    if next > end {
        return Ok(None);
    }
    let mut bytes = vec![0; length + FOOTER];
    file.read_exact_at(&mut bytes, offset + HEADER as u64)?;
    let footer = bytes.split_off(length);
    if footer != u32::try_from(length).unwrap_or(0).to_le_bytes() {
        return Ok(None);
    }
    Ok(Some((Entry { stream, nanos, partial, bytes }, next)))
}

fn encode(stream: Stream, nanos: u64, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut record = Vec::with_capacity(HEADER + bytes.len() + FOOTER);
    record.push(stream as u8);
    record.push(if bytes.last() == Some(&b'\n') { 0 } else { PARTIAL });
    record.extend_from_slice(&MARK.to_le_bytes());
    record.extend_from_slice(&length);
    record.extend_from_slice(&nanos.to_le_bytes());
    record.extend_from_slice(bytes);
    record.extend_from_slice(&length);
    record
}

fn decode(header: &[u8; HEADER]) -> Option<(Stream, bool, usize, u64)> {
    let stream = match header[0] {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return None,
    };
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let nanos = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let valid = header[1] <= PARTIAL && header[2..4] == MARK.to_le_bytes() && (1..=LONGEST).contains(&length);
    valid.then_some((stream, header[1] & PARTIAL != 0, length, nanos))
}

fn entry_before(file: &File, end: u64) -> std::io::Result<(u64, Entry)> {
    let damaged = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the log is damaged");
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, end.checked_sub(FOOTER as u64).ok_or_else(damaged)?)?;
    let size = u64::from(u32::from_le_bytes(footer)) + (HEADER + FOOTER) as u64;
    let start = end.checked_sub(size).ok_or_else(damaged)?;
    match read_entry(file, start, end)? {
        Some((entry, _)) => Ok((start, entry)),
        None => Err(damaged()),
    }
}

/// Cuts off what is behind the last whole record and returns the length that remains.
fn repair(file: &mut File) -> std::io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = std::io::BufReader::with_capacity(256 * 1024, &*file);
    let mut offset = 0;
    let mut header = [0; HEADER];
    while offset + (HEADER + FOOTER) as u64 <= end {
        reader.read_exact(&mut header)?;
        let Some((_, _, length, _)) = decode(&header) else { break };
        let next = offset + (HEADER + length + FOOTER) as u64;
        if next > end {
            break;
        }
        reader.seek_relative(i64::try_from(length).unwrap_or(0))?;
        let mut footer = [0; FOOTER];
        reader.read_exact(&mut footer)?;
        if u32::from_le_bytes(footer) as usize != length {
            break;
        }
        offset = next;
    }
    drop(reader);
    if offset < end {
        file.set_len(offset)?;
    }
    file.flush()?;
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(log: &Log) -> Vec<Entry> {
        let Ok(file) = File::open(log.path()) else { return Vec::new() };
        let (mut offset, mut entries) = (0, Vec::new());
        while let Some((entry, next)) = read_entry(&file, offset, log.tail().len).unwrap() {
            entries.push(entry);
            offset = next;
        }
        entries
    }

    proptest! {
        #[test]
        fn a_log_cut_anywhere_keeps_every_whole_record(
            pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..200)), 1..12),
            cut in 0.0..1.0_f64,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let log = Log::new(folder.path().join("log"));
            for (error, bytes) in &pieces {
                log.append(if *error { Stream::Stderr } else { Stream::Stdout }, 7, bytes).unwrap();
            }
            let before = all(&log);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                reason = "a test's small file")]
            let length = (log.tail().len as f64 * cut) as u64;
            File::options().write(true).open(log.path()).unwrap().set_len(length).unwrap();
            let again = Log::reopen(log.path().to_owned()).unwrap();
            let after = all(&again);
            prop_assert!(before.starts_with(&after));
            prop_assert!(again.tail().len <= length);
            again.append(Stream::Stdout, 8, b"more\n").unwrap();
            prop_assert_eq!(all(&again).len(), after.len() + 1);
        }
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("log"));
        log.append(Stream::Stdout, 1, b"one\ntwo\n").unwrap();
        log.append(Stream::Stdout, 1, b"three\n").unwrap();
        assert_eq!(log.last_lines(0).unwrap().0, log.tail().len);
        assert_eq!(log.last_lines(1).unwrap(), (0, 2));
        assert_eq!(log.last_lines(2).unwrap(), (0, 1));
        assert_eq!(log.last_lines(3).unwrap(), (0, 0));
        assert_eq!(log.last_lines(30).unwrap(), (0, 0));
    }

    #[test]
    fn garbage_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [9; 300]).unwrap();
        assert_eq!(Log::reopen(path.clone()).unwrap().tail().len, 0);
        assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
    }
}
