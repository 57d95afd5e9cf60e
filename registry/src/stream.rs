//! A stranger's tar as it comes, plain, gzip or zstd: for those who write its entries somewhere themselves. As strict as
//! with layers; the decompressor is ours, in this process (CVE-2026-41567: one that was looked up in a container). Writes
//! nothing.

use std::io::{self, BufRead, BufReader, Read};

use crate::compression;
use crate::error::{Error, Result};
use crate::layers::{Fault, Limits, TarBody, TarEntries, TarEntry};

/// How compressions begin that nobody here reads.
const FOREIGN: [(&[u8], &str); 2] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")];

/// A tar read entry by entry. Names that begin with a slash are taken to be beneath the root.
pub struct TarStream<'a> {
    entries: TarEntries<Box<dyn Read + 'a>>,
}

impl std::fmt::Debug for TarStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TarStream")
    }
}

impl<'a> TarStream<'a> {
    /// Begins to read `reader`; of `limits` all count but the bytes.
    ///
    /// # Errors
    /// What cannot be read, or is compressed in another way.
    pub fn new(reader: impl Read + 'a, limits: &Limits) -> Result<TarStream<'a>> {
        let mut reader = BufReader::with_capacity(128 << 10, reader);
        let magic = reader.fill_buf().map_err(failed)?;
        if let Some((_, name)) = FOREIGN.iter().find(|(magic_of, _)| magic.starts_with(magic_of)) {
            return Err(Error::Stream {
                reason: format!("it is compressed with {name}: send it as tar, gzip or zstd"),
            });
        }
        let plain = compression::plain(reader).map_err(failed)?;
        Ok(TarStream { entries: TarEntries::new(plain, limits.clone()).rooted() })
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    /// What is refused, malformed, or cannot be read.
    pub fn advance(&mut self) -> Result<Option<TarEntry>> {
        self.entries.advance().map_err(refused)
    }

    /// The current entry's content.
    pub fn body(&mut self) -> TarBody<'_, Box<dyn Read + 'a>> {
        self.entries.body()
    }

    /// Reads what follows the archive's end, so that whoever sends it is not cut off.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn finish(self) -> Result<()> {
        // Some writers pad to 10 KiB; nobody pads with more than this.
        let rest = self.entries.into_reader().take(1 << 20);
        io::copy(&mut { rest }, &mut io::sink()).map(drop).map_err(failed)
    }
}

fn refused(fault: Fault) -> Error {
    match fault {
        Fault::Refused { entry, reason } => Error::Stream { reason: format!("entry `{entry}` {reason}") },
        Fault::Malformed { reason } => Error::Stream { reason },
        Fault::Write { source, .. } | Fault::Read { source } => failed(source),
    }
}

fn failed(source: io::Error) -> Error {
    match source.kind() {
        // What the decompressors say of a stream that is none of theirs.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::Stream { reason: source.to_string() }
        }
        _ => Error::ArchiveIo { action: "read", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_root_are_beneath_it_and_other_compressions_are_named() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..6].copy_from_slice(b"//etc/");
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut stream = TarStream::new(&bytes[..], &Limits::default()).unwrap();
        assert_eq!(stream.advance().unwrap().unwrap().path, std::path::Path::new("etc"));
        assert!(stream.advance().unwrap().is_none());
        stream.finish().unwrap();
        for (bytes, word) in [(&b"BZh91AY"[..], "bzip2"), (b"\xfd7zXZ\0..", "xz"), (b"not a tar", "middle")] {
            let error = TarStream::new(bytes, &Limits::default()).and_then(|mut stream| stream.advance().map(drop));
            assert!(error.unwrap_err().to_string().contains(word), "{word}");
        }
    }
}
