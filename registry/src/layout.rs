//! An OCI image layout on disk (OCI image-spec 1.1, image-layout.md), the way skopeo and umoci read it too:
//!
//! ```text
//! DIR/oci-layout             {"imageLayoutVersion":"1.0.0"}
//! DIR/index.twin             of a store: index.json once more, behind its digest (twin.rs)
//! DIR/index.json             what is named (org.opencontainers.image.ref.name = the full reference); the roots
//! DIR/blobs/sha256/<hex>     content, whole and synced before it has this name
//! DIR/ingest/                content on its way in; nothing there has a name yet. `partial-<digest>`: a download that
//!                            was broken off and is gone on with
//! ```
//!
//! index.json is replaced whole, under a lock on the folder. Knows nothing of unpacked layers or of who holds a blob.

mod ingest;
mod twin;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{Advice, FlockOperation, fadvise, flock, fsync};

use crate::descriptor::{CONTAINERD_NAME, Descriptor, REF_NAME, media_type};
use crate::digest::{Algorithm, Digest, Verified};
use crate::document::{DOCUMENT_MAX, Document, Index};
use crate::error::{Error, Result};

pub use ingest::{Ingest, Sealed};

const MARKER: &str = "oci-layout";
const MARKER_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const INGEST: &str = "ingest";
/// index.json of a whole store may be larger than one manifest.
const INDEX_MAX: u64 = 64 << 20;

/// An OCI image layout. Cheap to clone; clones share the folder's handle.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
    dir: Arc<Dir>,
    /// Whether index.json is written twice.
    has_twin: bool,
    /// Blobs that were found damaged since the layout was opened: whoever brings them again is not told that they are here.
    damaged: Arc<Mutex<HashSet<Digest>>>,
}

impl Layout {
    /// Opens the layout at `dir`, making it where there is none.
    pub fn create(dir: &Path) -> Result<Layout> {
        std::fs::create_dir_all(dir).map_err(Error::file("create folder", dir))?;
        let layout = Layout::at(dir)?;
        if !layout.dir.exists(MARKER) {
            let occupied = layout.dir.entries().map_err(Error::file("list folder", dir))?.next().is_some();
            let expected = layout.dir.exists("blobs") || layout.dir.exists(INDEX) || layout.dir.exists(INGEST);
            if occupied && !expected {
                let reason = "it holds other files and no `oci-layout`".to_owned();
                return Err(Error::NotLayout { path: dir.to_path_buf(), reason });
            }
        }
        layout.dir.create_dir_all("blobs/sha256").map_err(Error::file("create folder", dir.join("blobs")))?;
        if !layout.dir.exists(INDEX) {
            let empty = Index {
                schema_version: 2,
                media_type: Some(media_type::OCI_INDEX.to_owned()),
                manifests: Vec::new(),
                annotations: Default::default(),
            };
            layout.write_index(&empty)?;
        }
        if !layout.dir.exists(MARKER) {
            layout.replace(MARKER, MARKER_TEXT)?;
        }
        Ok(layout)
    }

    /// Opens the layout at `dir`, which must be one.
    pub fn open(dir: &Path) -> Result<Layout> {
        let layout = Layout::at(dir)?;
        let refuse = |reason: &str| Error::NotLayout { path: dir.to_path_buf(), reason: reason.to_owned() };
        let marker = read_file(&layout.dir, MARKER, 4096).map_err(|_| refuse("it has no readable `oci-layout`"))?;
        let marker: serde_json::Value =
            serde_json::from_slice(&marker).map_err(|_| refuse("its `oci-layout` is malformed"))?;
        match marker.get("imageLayoutVersion").and_then(|version| version.as_str()) {
            Some(version) if version.starts_with("1.") => Ok(layout),
            _ => Err(refuse("its version is not 1")),
        }
    }

    fn at(path: &Path) -> Result<Layout> {
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(Error::file("open folder", path))?;
        Ok(Layout { path: path.to_path_buf(), dir: Arc::new(dir), has_twin: false, damaged: Arc::default() })
    }

    /// The folder this layout was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entries of index.json, names in their annotations.
    pub fn descriptors(&self) -> Result<Vec<Descriptor>> {
        Ok(self.read_index()?.manifests)
    }

    /// The entry whose `org.opencontainers.image.ref.name` is `name`; without a name the only entry there is.
    pub fn find_name(&self, name: Option<&str>) -> Result<Descriptor> {
        let entries = self.descriptors()?;
        let missing = |name: &str| Error::NoImage { name: format!("oci:{}{name}", self.path.display()) };
        match name {
            Some(name) => {
                let named = |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|found| found == name);
                entries.iter().find(named).cloned().ok_or_else(|| missing(&format!(":{name}")))
            }
            None => match &entries[..] {
                [] => Err(missing("")),
                [only] => Ok(only.clone()),
                [first, rest @ ..] if rest.iter().all(|entry| entry.digest == first.digest) => Ok(first.clone()),
                _ => Err(Error::Ambiguous { name: format!("oci:{}", self.path.display()) }),
            },
        }
    }

    /// Gives `descriptor` the name `name`, taking it from whoever had it.
    pub fn set_name(&self, descriptor: &Descriptor, name: &str) -> Result<()> {
        self.edit_index(|entries| {
            let mut named = descriptor.clone().without_names();
            // An entry without a name has served its purpose once there is one with.
            entries.retain(|entry| {
                let unnamed = !entry.annotations.contains_key(REF_NAME);
                entry.annotations.get(REF_NAME).is_none_or(|found| found != name)
                    && !(unnamed && entry.digest == named.digest)
            });
            named.annotations.insert(REF_NAME.to_owned(), name.to_owned());
            if name.contains('/') {
                named.annotations.insert(CONTAINERD_NAME.to_owned(), name.to_owned());
            }
            entries.push(named);
        })
    }

    /// The same; whoever had the name before stays entered, without one if it was the last.
    pub fn move_name(&self, descriptor: &Descriptor, name: &str) -> Result<()> {
        let named = |entry: &Descriptor| entry.annotations.get(REF_NAME).is_some_and(|found| found == name);
        let before = self.descriptors()?.into_iter().find(named).filter(|entry| entry.digest != descriptor.digest);
        self.set_name(descriptor, name)?;
        before.map_or(Ok(()), |before| self.add_unnamed(&before))
    }

    /// Enters `descriptor` without a name, if it has no entry yet.
    pub fn add_unnamed(&self, descriptor: &Descriptor) -> Result<()> {
        self.edit_index(|entries| {
            if !entries.iter().any(|entry| entry.digest == descriptor.digest) {
                entries.push(descriptor.clone().without_names());
            }
        })
    }

    /// Removes the entry named `name`; gives back what it pointed at.
    pub fn remove_name(&self, name: &str) -> Result<Option<Descriptor>> {
        let mut removed = None;
        self.edit_index(|entries| {
            entries.retain(|entry| {
                let goes = entry.annotations.get(REF_NAME).is_some_and(|found| found == name);
                if goes {
                    removed = Some(entry.clone().without_names());
                }
                !goes
            });
        })?;
        Ok(removed)
    }

    /// Removes every entry that points at `digest`; gives back their names.
    pub fn remove_digest(&self, digest: &Digest) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.edit_index(|entries| {
            names.extend(
                entries.iter().filter(|e| e.digest == *digest).filter_map(|e| e.annotations.get(REF_NAME).cloned()),
            );
            entries.retain(|entry| entry.digest != *digest);
        })?;
        Ok(names)
    }

    /// Whether the blob is there with the size its descriptor says.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        self.blob_size(&descriptor.digest).is_some_and(|size| size == descriptor.size)
    }

    /// Whether nobody has to bring the blob: it is there, and was not found damaged.
    pub(crate) fn is_whole(&self, descriptor: &Descriptor) -> bool {
        self.has(descriptor) && !self.damaged().contains(&descriptor.digest)
    }

    /// Reads a blob to its end; one that is not what its digest says counts as damaged from now on.
    pub(crate) fn verify_blob(&self, digest: &Digest) -> Result<()> {
        let path = self.path.join(blob_path(digest));
        let file = self.open_file(digest)?;
        let size = file.metadata().map_err(Error::file("look at blob", &path))?.len();
        // From the disk, not from what the kernel remembers of it.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let read = io::copy(&mut Verified::new(file, digest, size), &mut io::sink());
        self.noting(read.map(drop).map_err(Error::file("read blob", path)))
    }

    /// Notes which blob `result` says is damaged.
    pub(crate) fn noting<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Corrupt { digest, .. }) = &result
            && self.blob_size(digest).is_some()
        {
            self.damaged().insert(digest.clone());
        }
        result
    }

    fn damaged(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of a blob that is there.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.dir.symlink_metadata(blob_path(digest)).ok().filter(|meta| meta.is_file()).map(|meta| meta.len())
    }

    /// The whole blob, verified; refused when its descriptor says more than `limit` bytes.
    pub fn read(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        if descriptor.size > limit {
            let name = descriptor.digest.to_string();
            return Err(Error::TooLarge { what: "blob", name, size: descriptor.size, limit });
        }
        let mut bytes = Vec::new();
        let path = self.path.join(blob_path(&descriptor.digest));
        let read = self.open_blob(descriptor)?.read_to_end(&mut bytes);
        self.noting(read.map_err(Error::file("read blob", path)))?;
        Ok(bytes)
    }

    /// The blob as a reader that fails at its end unless every byte was right.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<Verified<File>> {
        Ok(Verified::new(self.open_file(&descriptor.digest)?, &descriptor.digest, descriptor.size))
    }

    /// The blob's file, whose bytes nobody verifies.
    pub(crate) fn open_file(&self, digest: &Digest) -> Result<File> {
        let path = blob_path(digest);
        let file = self.dir.open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoBlob { digest: digest.clone() },
            _ => Error::File { action: "open blob", path: self.path.join(&path), source },
        })?;
        Ok(file.into_std())
    }

    /// Reads and parses the manifest or index `descriptor` points at.
    pub(crate) fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let bytes = self.read(descriptor, DOCUMENT_MAX)?;
        Document::parse(&bytes, &descriptor.media_type, &descriptor.digest)
    }

    /// Stores `bytes`.
    pub fn put(&self, bytes: &[u8]) -> Result<(Digest, u64)> {
        self.ingest(bytes, None, bytes.len() as u64)
    }

    /// Stores everything `reader` gives, at most `limit` bytes, verified against `expected` digest and size if given.
    pub fn ingest(
        &self,
        mut reader: impl Read,
        expected: Option<(&Digest, Option<u64>)>,
        limit: u64,
    ) -> Result<(Digest, u64)> {
        let mut ingest = self.begin(expected, limit)?;
        io::copy(&mut reader, &mut ingest).map_err(Error::file("write blob", &self.path))?;
        ingest.seal()?.publish()
    }

    /// Every blob with its size.
    pub(crate) fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = format!("blobs/{}", algorithm.name());
            let entries = match self.dir.read_dir(&folder) {
                Ok(entries) => entries,
                Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::File { action: "list folder", path: self.path.join(folder), source }),
            };
            for entry in entries {
                let entry = entry.map_err(Error::file("list folder", self.path.join(&folder)))?;
                let name = entry.file_name();
                let digest = Digest::parse(&format!("{}:{}", algorithm.name(), name.to_string_lossy()));
                if let (Ok(digest), Ok(meta)) = (digest, entry.metadata()) {
                    found.push((digest, meta.len()));
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        let path = blob_path(digest);
        self.dir.remove_file(&path).map_err(Error::file("remove blob", self.path.join(path)))
    }

    fn read_index(&self) -> Result<Index> {
        let path = self.path.join(INDEX);
        let bytes = read_file(&self.dir, INDEX, INDEX_MAX).map_err(Error::file("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Document {
            what: "image index",
            name: path.display().to_string(),
            reason: e.to_string(),
        })
    }

    /// Reads, changes and replaces index.json under an exclusive lock on the folder.
    fn edit_index(&self, change: impl FnOnce(&mut Vec<Descriptor>)) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.read_index()?;
        change(&mut index.manifests);
        self.write_index(&index)
    }

    /// The right to replace what is at the layout's top, until the file is closed.
    fn lock(&self) -> Result<cap_std::fs::File> {
        // A description of our own: flock belongs to the open file description, and threads must exclude each other too.
        let lock = self.dir.open(".").map_err(Error::file("open folder", &self.path))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| Error::File {
            action: "lock folder",
            path: self.path.clone(),
            source: e.into(),
        })?;
        Ok(lock)
    }

    fn write_index(&self, index: &Index) -> Result<()> {
        let bytes = serde_json::to_vec(index).map_err(|e| Error::Document {
            what: "image index",
            name: self.path.display().to_string(),
            reason: e.to_string(),
        })?;
        if self.has_twin {
            self.write_twin(&bytes)?;
        }
        self.replace(INDEX, &bytes)
    }

    /// Replaces a file at the layout's top: readers see the old one or the new one, whole, also after a power cut.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.{}", unique_name());
        let written = (|| {
            let mut file = self.dir.create(&temporary)?.into_std();
            file.write_all(bytes)?;
            file.sync_all()?;
            self.dir.rename(&temporary, &self.dir, name)?;
            sync_dir(&self.dir)
        })();
        written.map_err(|source| {
            let _ = self.dir.remove_file(&temporary);
            Error::File { action: "replace", path: self.path.join(name), source }
        })
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A name nobody else uses, in this process or another.
pub(crate) fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("{}-{}-{nanos:x}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// cap-std opens folders with O_PATH, which fsync(2) refuses; so through a description that may be read.
pub(crate) fn sync_dir(dir: &Dir) -> io::Result<()> {
    let readable = dir.open(".")?;
    Ok(fsync(&readable)?)
}

pub(crate) fn read_file(dir: &Dir, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.open(name)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
