//! Layers: from a stranger's tar to folders. Two forms: one folder for each layer as overlayfs wants its lower folders
//! (whiteouts as device 0:0, opaque folders marked by an extended attribute), or all layers of an image applied into one
//! plain folder. Whole or nothing: everything happens in a sibling folder that is synced and renamed at the end.
//!
//! layers/entry.rs reads entries, layers/tree.rs writes them beneath a directory handle. Knows nothing of mounts.

mod entry;
mod tree;

use std::io::{self, BufReader, Read};
use std::path::Path;

use cap_std::fs::Dir;
use flate2::bufread::MultiGzDecoder;
use rustix::fs::syncfs;

use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::Layer;
use crate::layout::{Layout, sync_dir, unique_name};
use crate::removal::remove_tree_in;
use entry::Entries;
use tree::{Form, Tree};

/// Bounds on what the layers of one image may hold; beyond them unpacking stops with a sentence.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Uncompressed bytes of all layers together.
    pub bytes: u64,
    /// Entries of all layers together.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of a path.
    pub path: usize,
    /// Bytes of the extended header (PAX or GNU long name) of one entry.
    pub header: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 64 << 30, entries: 2_000_000, depth: 128, path: 4096, header: 1 << 20 }
    }
}

/// What happens to one layer.
#[derive(Debug, Clone, Copy)]
pub enum LayerEvent<'a> {
    /// It was unpacked before.
    Exists { diff_id: &'a Digest, layer: &'a Digest },
    /// It is being unpacked.
    Extracting { diff_id: &'a Digest, layer: &'a Digest },
    /// It is there now.
    Done { diff_id: &'a Digest, layer: &'a Digest },
}

/// Unpacks one layer into `folders/<diff id>` in overlayfs form; what it uses of the budget is taken from it.
pub(crate) fn unpack(
    layout: &Layout,
    folders: &Dir,
    layer: &Layer,
    budget: &mut Limits,
    progress: &dyn Fn(LayerEvent<'_>),
) -> Result<()> {
    let (diff_id, blob) = (&layer.diff_id, &layer.descriptor.digest);
    let name = diff_id.folder();
    if folders.is_dir(&name) {
        progress(LayerEvent::Exists { diff_id, layer: blob });
        return Ok(());
    }
    progress(LayerEvent::Extracting { diff_id, layer: blob });
    build(folders, &name, blob, |root| apply(layout, layer, &mut Tree::new(&root, Form::Overlay), budget))?;
    progress(LayerEvent::Done { diff_id, layer: blob });
    Ok(())
}

/// Applies `layers`, lowest first, into the plain folder `folders/<name>`.
pub(crate) fn flatten(layout: &Layout, folders: &Dir, layers: &[Layer], name: &str, limits: &Limits) -> Result<()> {
    if folders.is_dir(name) {
        return Ok(());
    }
    let mut budget = limits.clone();
    let label = layers.last().map_or_else(|| Digest::sha256_of(b""), |layer| layer.descriptor.digest.clone());
    build(folders, name, &label, |root| {
        for layer in layers {
            apply(layout, layer, &mut Tree::new(&root, Form::Plain), &mut budget)?;
        }
        Ok(())
    })
}

/// The folder [`flatten`] makes for the manifest `digest`.
pub(crate) fn flat_folder(digest: &Digest) -> String {
    format!("files-{}", digest.folder())
}

/// Why a tar could not be taken in.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The entry itself is refused.
    Refused { entry: String, reason: String },
    /// The entry is fine but could not be written here.
    Write { entry: String, source: io::Error },
    /// The tar as a whole is refused.
    Malformed { reason: String },
    /// The bytes could not be read (or failed verification).
    Read { source: io::Error },
}

impl Fault {
    fn of_layer(self, layer: &Digest) -> Error {
        let layer = layer.to_string();
        match self {
            Fault::Refused { entry, reason } => Error::Entry { layer, entry, reason },
            Fault::Write { entry, source } => Error::WriteEntry { layer, entry, source },
            Fault::Malformed { reason } => Error::Layer { layer, reason },
            Fault::Read { source } => match Error::from_io(source) {
                Ok(inner) => inner,
                Err(source) => Error::ReadLayer { layer, source },
            },
        }
    }
}

/// Makes `folders/<name>` by way of a sibling: filled, synced, renamed. Nothing stays behind on failure.
fn build(folders: &Dir, name: &str, layer: &Digest, fill: impl FnOnce(Dir) -> Result<()>) -> Result<()> {
    let temporary = format!(".{name}.{}", unique_name());
    let failed = |source| Error::WriteEntry { layer: layer.to_string(), entry: "/".to_owned(), source };
    let built = (|| {
        folders.create_dir(&temporary)?;
        let root = folders.open_dir(&temporary)?;
        rustix::fs::chmodat(folders, &temporary, rustix::fs::Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())?;
        if let Err(error) = fill(root.try_clone()?) {
            return Ok(Err(error));
        }
        // One call for a folder of thousands of files; the rename below is only durable after it.
        syncfs(root.open(".")?)?;
        match folders.rename(&temporary, folders, name) {
            // Somebody else unpacked the same layer meanwhile; theirs is as good.
            Err(_) if folders.is_dir(name) => remove_tree_in(folders, &temporary)?,
            other => other?,
        }
        sync_dir(folders)?;
        Ok(Ok(()))
    })();
    let result = built.map_err(failed).and_then(|inner| inner);
    if result.is_err() {
        let _ = remove_tree_in(folders, &temporary);
    }
    result
}

/// Applies one layer to `tree` and verifies the blob's digest and the diff id on the way.
fn apply(layout: &Layout, layer: &Layer, tree: &mut Tree<'_>, budget: &mut Limits) -> Result<()> {
    let digest = &layer.descriptor.digest;
    let blob = BufReader::with_capacity(128 << 10, layout.open_blob(&layer.descriptor)?);
    let plain = decompress(&layer.descriptor, blob)?;
    let hashed = Measured::new(plain, &layer.diff_id, budget.bytes);
    let mut entries = Entries::new(hashed, budget.clone());
    while let Some(entry) = entries.advance().map_err(|fault| fault.of_layer(digest))? {
        tree.apply(&entry, &mut entries.body()).map_err(|fault| fault.of_layer(digest))?;
    }
    budget.entries = entries.entries_left();
    let mut hashed = entries.into_reader();
    // What follows the end of the archive counts for the digest, and the blob's own digest is checked at its end.
    io::copy(&mut hashed, &mut io::sink()).map_err(|source| Fault::Read { source }.of_layer(digest))?;
    budget.bytes = hashed.left();
    hashed.verify().map_err(|reason| Error::Corrupt { digest: layer.diff_id.clone(), reason })?;
    tree.finish().map_err(|fault| fault.of_layer(digest))
}

/// The layer's bytes without their compression, which the media type names (image-spec, layer.md).
fn decompress<'a>(descriptor: &Descriptor, mut blob: impl io::BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let refuse = |reason: &str| Error::Layer { layer: descriptor.digest.to_string(), reason: reason.to_owned() };
    if !descriptor.urls.is_empty()
        || descriptor.media_type.contains("foreign")
        || descriptor.media_type.contains("nondistributable")
    {
        return Err(refuse("it is a foreign layer, which proa does not take in"));
    }
    if descriptor.media_type.ends_with("zstd") {
        return Err(refuse("it is compressed with zstd, which proa does not support yet"));
    }
    // Docker's schema 2 has one media type for both, and its engine looks at the magic number; so does everybody.
    let magic = blob.fill_buf().map_err(|source| Fault::Read { source }.of_layer(&descriptor.digest))?;
    match magic {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(blob))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(refuse("it is compressed with zstd, which proa does not support yet")),
        _ => Ok(Box::new(blob)),
    }
}

/// Counts and hashes what passes; stops at a limit.
struct Measured<R> {
    inner: R,
    hasher: Hasher,
    diff_id: Digest,
    left: u64,
}

impl<R: Read> Measured<R> {
    fn new(inner: R, diff_id: &Digest, limit: u64) -> Measured<R> {
        Measured { inner, hasher: Hasher::new(diff_id.algorithm()), diff_id: diff_id.clone(), left: limit }
    }

    fn left(&self) -> u64 {
        self.left
    }

    fn verify(self) -> Result<(), String> {
        let found = self.hasher.finish();
        if found == self.diff_id { Ok(()) } else { Err(format!("the unpacked layer's digest is `{found}`")) }
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "its layers unpack to more bytes than the limit allows")
        })?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The finished folders.
pub(crate) fn folders(dir: &Dir, path: &Path) -> Result<Vec<String>> {
    let names = dir.entries().and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()
    });
    Ok(names.map_err(Error::file("list folder", path))?.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// Removes a finished folder: out of sight first, so that nobody ever sees half of it.
pub(crate) fn remove(dir: &Dir, path: &Path, name: &str) -> Result<()> {
    let doomed = format!(".{name}.{}", unique_name());
    dir.rename(name, dir, &doomed)
        .and_then(|()| remove_tree_in(dir, &doomed))
        .map_err(Error::file("remove folder", path.join(name)))
}

/// Removes what an interrupted process was building or removing.
pub(crate) fn clear_unfinished(dir: &Dir, path: &Path) -> Result<()> {
    let entries = dir.entries().map_err(Error::file("list folder", path))?;
    for entry in entries {
        let name = entry.map_err(Error::file("list folder", path))?.file_name();
        if name.to_string_lossy().starts_with('.') {
            remove_tree_in(dir, &name).map_err(Error::file("remove folder", path.join(&name)))?;
        }
    }
    Ok(())
}

pub(crate) use entry::{Entries as TarEntries, Kind as TarKind};

#[cfg(test)]
mod tests;
