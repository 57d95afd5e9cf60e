//! A blob on its way in: written, verified, synced, and only then named. Knows nothing of what it holds.

use std::fs::File;
use std::io::{self, Write};

use super::{Layout, blob_path, sync_dir};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};

/// A blob on its way into a layout. Dropped before it is sealed and published, it leaves nothing.
#[derive(Debug)]
pub struct Ingest {
    pub(super) layout: Layout,
    pub(super) name: String,
    pub(super) file: Option<File>,
    pub(super) hasher: Option<Hasher>,
    pub(super) written: u64,
    pub(super) expected: Option<(Digest, Option<u64>)>,
    pub(super) limit: u64,
}

impl Ingest {
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Verifies digest and size and syncs the content; it still has no name.
    pub fn seal(mut self) -> Result<Sealed> {
        let digest = self.hasher.take().map(Hasher::finish).ok_or(Error::Thread { doing: "sealed a blob" })?;
        if let Some((expected, size)) = &self.expected {
            let corrupt = |reason| Error::Corrupt { digest: expected.clone(), reason };
            if let Some(size) = size
                && *size != self.written
            {
                return Err(corrupt(format!("it is {} bytes long instead of {size}", self.written)));
            }
            if *expected != digest {
                return Err(corrupt(format!("its digest is `{digest}`")));
            }
        }
        let path = self.layout.path.join(&self.name);
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(Error::file("sync", path))?;
        }
        Ok(Sealed { digest, size: self.written, ingest: self })
    }

    fn expected_size(&self) -> u64 {
        self.expected.as_ref().and_then(|(_, size)| *size).unwrap_or(self.limit).min(self.limit)
    }

    fn name_for_message(&self) -> String {
        self.expected.as_ref().map_or_else(|| "upload".to_owned(), |(digest, _)| digest.to_string())
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = self.expected_size();
        if self.written.saturating_add(bytes.len() as u64) > limit {
            let bound = if limit < self.limit { "the announced" } else { "the limit of" };
            return Err(Error::TooLong { what: "blob", name: self.name_for_message(), bound, limit }.into_io());
        }
        let (Some(file), Some(hasher)) = (&mut self.file, &mut self.hasher) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let count = file.write(bytes)?;
        hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = self.layout.dir.remove_file(&self.name);
        }
    }
}

/// A blob that is whole, verified and synced, and about to get its name.
#[derive(Debug)]
pub struct Sealed {
    digest: Digest,
    size: u64,
    ingest: Ingest,
}

impl Sealed {
    /// The digest it will be known by.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Gives the blob its name.
    pub fn publish(mut self) -> Result<(Digest, u64)> {
        let layout = self.ingest.layout.clone();
        let target = blob_path(&self.digest);
        let folder = format!("blobs/{}", self.digest.algorithm().name());
        let published = (|| {
            layout.dir.create_dir_all(&folder)?;
            layout.dir.rename(&self.ingest.name, &layout.dir, &target)?;
            sync_dir(&layout.dir.open_dir(&folder)?)
        })();
        published.map_err(Error::file("publish blob", layout.path.join(&target)))?;
        self.ingest.name.clear();
        Ok((self.digest.clone(), self.size))
    }
}
