//! One record of a log file: how it is written, read forwards and backwards, and found again behind damage.
//!
//! ```text
//! u8 stream (1 stdout, 2 stderr)   u8 flags (bit 0: partial, the text does not end a line)   u16 0x50a0
//! u32 length n (1 to 65536)        u64 nanoseconds since 1970        n bytes        u32 length n again
//! ```
//! All numbers are little endian; the length at the end lets `--tail` walk backwards.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;

use proa_sandbox::Stream;

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

/// The record of `bytes`.
pub(super) fn encode(stream: Stream, nanos: u64, bytes: &[u8]) -> Vec<u8> {
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

/// Reads the record at `offset` of `file`; `None` where there is no whole and valid one before `end`.
pub(crate) fn read_entry(file: &File, offset: u64, end: u64) -> Result<Option<(Entry, u64)>> {
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

/// The record that ends at `end`, and where it begins.
///
/// # Errors
/// `InvalidData` where there is none.
pub(super) fn entry_before(file: &File, end: u64) -> Result<(u64, Entry)> {
    let damaged = || Error::new(ErrorKind::InvalidData, "the log is damaged");
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, end.checked_sub(FOOTER as u64).ok_or_else(damaged)?)?;
    let size = u64::from(u32::from_le_bytes(footer)) + (HEADER + FOOTER) as u64;
    let start = end.checked_sub(size).ok_or_else(damaged)?;
    match read_entry(file, start, end)? {
        Some((entry, _)) => Ok((start, entry)),
        None => Err(damaged()),
    }
}

/// Where the first whole record at or behind `from` begins: a damaged one does not hide those that follow it.
pub(crate) fn next_entry(file: &File, from: u64, end: u64) -> Result<Option<u64>> {
    let mut window = vec![0; 64 * 1024];
    let mut offset = from;
    while offset + (HEADER + FOOTER) as u64 <= end {
        let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(window.len());
        file.read_exact_at(&mut window[..length], offset)?;
        let last = length - HEADER;
        for at in 0..=last {
            let header = window[at..].first_chunk::<HEADER>();
            if header.is_some_and(|header| decode(header).is_some())
                && read_entry(file, offset + at as u64, end)?.is_some()
            {
                return Ok(Some(offset + at as u64));
            }
        }
        offset += last as u64 + 1;
    }
    Ok(None)
}

/// The length of `file` up to its last whole record; what is behind it was cut off by the end of a host.
pub(super) fn whole_length(file: &File) -> Result<u64> {
    let mut window = Window { file, end: file.metadata()?.len(), start: 0, bytes: Vec::new() };
    let mut offset = 0;
    loop {
        match window.skip_entry(offset)? {
            Some(next) => offset = next,
            None => match next_entry(file, offset + 1, window.end)? {
                Some(next) => offset = next,
                None => return Ok(offset),
            },
        }
    }
}

/// A part of a file in memory: a log of short lines is looked through in few reads.
struct Window<'a> {
    file: &'a File,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    const SIZE: u64 = 256 * 1024;

    /// The end of the record at `offset`; `None` where there is no whole one.
    fn skip_entry(&mut self, offset: u64) -> Result<Option<u64>> {
        let Some(header) = self.read::<HEADER>(offset)? else { return Ok(None) };
        let Some((_, _, length, _)) = decode(&header) else { return Ok(None) };
        let footer = self.read::<FOOTER>(offset + (HEADER + length) as u64)?;
        let whole = footer.is_some_and(|footer| u32::from_le_bytes(footer) as usize == length);
        Ok(whole.then_some(offset + (HEADER + length + FOOTER) as u64))
    }

    /// The `N` bytes at `offset`; `None` behind the end.
    fn read<const N: usize>(&mut self, offset: u64) -> Result<Option<[u8; N]>> {
        let next = offset + N as u64;
        if next > self.end {
            return Ok(None);
        }
        if offset < self.start || next > self.start + self.bytes.len() as u64 {
            let length = (self.end - offset).min(Window::SIZE);
            self.bytes.resize(usize::try_from(length).unwrap_or(0), 0);
            self.file.read_exact_at(&mut self.bytes, offset)?;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied())
    }
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
