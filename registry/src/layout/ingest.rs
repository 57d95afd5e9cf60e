//! A blob on its way in: written, verified, synced, and only then named. One that is fetched from afar stays when it is
//! broken off, under the digest it shall have, and is gone on with; a wrong byte in it shows at the end, when all of it is
//! verified. Knows nothing of what it holds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::{Duration, SystemTime};

use cap_std::fs::OpenOptions;

use super::{INGEST, Layout, blob_path, sync_dir, unique_name};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::removal::remove_tree_in;

/// How the files begin that are gone on with.
const PARTIAL: &str = "partial-";
/// How long a partial blob is kept for whoever comes back.
const PARTIAL_AGE: Duration = Duration::from_secs(24 * 3600);

/// A blob on its way into a layout. Dropped before it is sealed and published, it leaves nothing, unless it was begun to
/// be gone on with.
#[derive(Debug)]
pub struct Ingest {
    layout: Layout,
    name: String,
    file: Option<File>,
    hasher: Option<Hasher>,
    written: u64,
    expected: Option<(Digest, Option<u64>)>,
    limit: u64,
    /// Whether the file outlives a drop.
    keep: bool,
}

impl Layout {
    /// Begins to store a blob piece by piece.
    pub fn begin(&self, expected: Option<(&Digest, Option<u64>)>, limit: u64) -> Result<Ingest> {
        self.dir.create_dir_all(INGEST).map_err(Error::file("create folder", self.path.join(INGEST)))?;
        let name = format!("{INGEST}/{}", unique_name());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file =
            self.dir.open_with(&name, &options).map_err(Error::file("create file", self.path.join(&name)))?.into_std();
        let algorithm = expected.map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
        Ok(Ingest {
            layout: self.clone(),
            name,
            file: Some(file),
            hasher: Some(Hasher::new(algorithm)),
            written: 0,
            expected: expected.map(|(digest, size)| (digest.clone(), size)),
            limit,
            keep: false,
        })
    }

    /// Begins to store the blob `digest` of `size` bytes, or goes on where an earlier attempt was broken off: then
    /// [`Ingest::written`] bytes of it are here. One writer at a time; whoever calls this has taken its turn.
    pub(crate) fn go_on(&self, digest: &Digest, size: u64) -> Result<Ingest> {
        self.dir.create_dir_all(INGEST).map_err(Error::file("create folder", self.path.join(INGEST)))?;
        let name = format!("{INGEST}/{PARTIAL}{}", digest.folder());
        let path = self.path.join(&name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = self.dir.open_with(&name, &options).map_err(Error::file("open file", &path))?.into_std();
        let mut ingest = Ingest {
            layout: self.clone(),
            name,
            file: Some(file),
            hasher: Some(Hasher::new(digest.algorithm())),
            written: 0,
            expected: Some((digest.clone(), Some(size))),
            limit: size,
            keep: true,
        };
        ingest.take_stock().map_err(Error::file("read file", path))?;
        Ok(ingest)
    }

    /// Removes partial blobs that nobody fetches (not in `fetched`) and nobody came back for within a day.
    pub(crate) fn clear_partials(&self, fetched: impl Fn(&Digest) -> bool) -> Result<u64> {
        let Ok(entries) = self.dir.read_dir(INGEST) else { return Ok(0) };
        let mut freed = 0;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(digest) = name.strip_prefix(PARTIAL).and_then(digest_of_folder) else { continue };
            let Ok(meta) = entry.metadata() else { continue };
            let changed = meta.modified().map(cap_std::time::SystemTime::into_std).ok();
            let is_old = changed
                .and_then(|changed| SystemTime::now().duration_since(changed).ok())
                .is_some_and(|age| age > PARTIAL_AGE);
            if is_old && !fetched(&digest) && entry.remove_file().is_ok() {
                freed += meta.len();
            }
        }
        Ok(freed)
    }

    /// Removes what an interrupted ingest left, but for what can be gone on with. Only whoever excludes other processes
    /// may call this.
    pub(crate) fn clear_ingest(&self) -> Result<()> {
        let path = self.path.join(INGEST);
        let folder = match self.dir.open_dir(INGEST) {
            Ok(folder) => folder,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::File { action: "open folder", path, source }),
        };
        for entry in folder.entries().map_err(Error::file("list folder", &path))? {
            let name = entry.map_err(Error::file("list folder", &path))?.file_name();
            if !name.to_string_lossy().starts_with(PARTIAL) {
                remove_tree_in(&folder, &name).map_err(Error::file("remove file", path.join(&name)))?;
            }
        }
        Ok(())
    }
}

fn digest_of_folder(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.split_once('-')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

impl Ingest {
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Begins anew: what was written is forgotten.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let path = self.layout.path.join(&self.name);
        if let Some(file) = &mut self.file {
            file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(Error::file("truncate", path))?;
        }
        let algorithm = self.expected.as_ref().map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
        self.hasher = Some(Hasher::new(algorithm));
        self.written = 0;
        Ok(())
    }

    /// Hashes what an earlier attempt left; more than there can be is no beginning of the blob.
    fn take_stock(&mut self) -> io::Result<()> {
        let (Some(file), Some(hasher)) = (&mut self.file, &mut self.hasher) else { return Ok(()) };
        let mut piece = vec![0; 128 << 10];
        let mut found = 0;
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                break;
            }
            found += count as u64;
            if found > self.limit {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                *hasher = Hasher::new(self.expected.as_ref().map_or(Algorithm::Sha256, |(d, _)| d.algorithm()));
                found = 0;
                break;
            }
            hasher.update(&piece[..count]);
        }
        self.written = found;
        Ok(())
    }

    /// Verifies digest and size and syncs the content; it still has no name.
    pub fn seal(mut self) -> Result<Sealed> {
        let digest = self.hasher.take().map(Hasher::finish).ok_or(Error::Thread { doing: "sealed a blob" })?;
        // From here on it is either right or of no use to anybody.
        self.keep = false;
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
            let bound = if limit < self.limit || self.keep { "the announced" } else { "the limit of" };
            self.keep = false;
            return Err(Error::TooLong { what: "blob", name: self.name_for_message(), bound, limit }.into_io());
        }
        let (Some(file), Some(hasher)) = (&mut self.file, &mut self.hasher) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let written = file.write(bytes);
        // A full disk must not be held by half a blob.
        self.keep &= written.is_ok();
        let count = written?;
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
        if !self.name.is_empty() && !self.keep {
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
        layout.damaged().remove(&self.digest);
        Ok((self.digest.clone(), self.size))
    }
}
