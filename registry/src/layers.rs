//! Layers: from a stranger's tar to folders. Two forms: one folder for each layer as overlayfs wants its lower folders
//! (whiteouts as device 0:0, opaque folders marked by an extended attribute), or all layers of an image applied into one
//! plain folder. Whole or nothing: everything happens in a sibling folder that is synced and renamed at the end.
//!
//! layers/entry.rs reads entries, layers/tree.rs writes them beneath a directory handle, layers/aside.rs gives the whole its
//! name, and layers/seal.rs tells later whether it is still what was unpacked. Knows nothing of mounts.

mod aside;
mod entry;
mod seal;
mod tree;
mod walk;

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use cap_std::fs::Dir;

use crate::compression;
use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::Layer;
use crate::layout::{Layout, unique_name};
use crate::removal::remove_tree_in;
use aside::Aside;
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
        // Whoever names a layer must hold it: a diff id alone, which is no secret, opens nobody's folder.
        if !is_proven(folders, diff_id, blob) {
            verify(layout, layer, budget)?;
            prove(folders, diff_id, blob)?;
        }
        progress(LayerEvent::Exists { diff_id, layer: blob });
        return Ok(());
    }
    progress(LayerEvent::Extracting { diff_id, layer: blob });
    unpacked(layout, folders, layer, budget)?.publish()?;
    prove(folders, diff_id, blob)?;
    progress(LayerEvent::Done { diff_id, layer: blob });
    Ok(())
}

/// The file beside a layer's folder that lists the blobs which were found to unpack to it.
fn proof(diff_id: &Digest) -> String {
    format!("{PROOF}{}", diff_id.folder())
}

/// How those files' names begin.
const PROOF: &str = "blobs-";
/// So many blobs of one layer are remembered; one more is verified again each time.
const PROOFS_MAX: u64 = 64 << 10;

fn is_proven(folders: &Dir, diff_id: &Digest, blob: &Digest) -> bool {
    let mut listed = String::new();
    let read = folders.open(proof(diff_id)).and_then(|file| file.take(PROOFS_MAX).read_to_string(&mut listed));
    blob == diff_id || read.is_ok() && listed.lines().any(|line| line == blob.to_string())
}

fn prove(folders: &Dir, diff_id: &Digest, blob: &Digest) -> Result<()> {
    if blob == diff_id {
        return Ok(());
    }
    let name = proof(diff_id);
    let failed = |source| Error::WriteEntry { layer: blob.to_string(), entry: name.clone(), source };
    let mut options = cap_std::fs::OpenOptions::new();
    options.create(true).append(true);
    let mut file = folders.open_with(&name, &options).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() >= PROOFS_MAX {
        return Ok(());
    }
    // Half a line after a power cut proves nothing, and the layer is verified once more.
    file.write_all(format!("{blob}\n").as_bytes()).map_err(failed)
}

/// Unpacks to nowhere: only the digests count.
fn verify(layout: &Layout, layer: &Layer, budget: &mut Limits) -> Result<()> {
    let digest = &layer.descriptor.digest;
    let blob = BufReader::with_capacity(128 << 10, layout.open_blob(&layer.descriptor)?);
    let mut hashed = Measured::new(decompress(&layer.descriptor, blob)?, &layer.diff_id, budget.bytes);
    io::copy(&mut hashed, &mut io::sink()).map_err(|source| Fault::Read { source }.of_layer(digest))?;
    budget.bytes = hashed.left();
    hashed.verify().map_err(|reason| Error::Corrupt { digest: layer.diff_id.clone(), reason })
}

/// Applies `layers`, lowest first, into the plain folder `folders/<name>`.
pub(crate) fn flatten(layout: &Layout, folders: &Dir, layers: &[Layer], name: &str, limits: &Limits) -> Result<()> {
    if folders.is_dir(name) {
        return Ok(());
    }
    flattened(layout, folders, layers, name, limits)?.publish()
}

/// The folder that [`unpack`] makes, before it has its name.
pub(crate) fn unpacked<'a>(layout: &Layout, folders: &'a Dir, layer: &Layer, budget: &mut Limits) -> Result<Aside<'a>> {
    Aside::fill(folders, &layer.diff_id.folder(), &layer.descriptor.digest, |root| {
        apply(layout, layer, &mut Tree::new(root, Form::Overlay), budget)
    })
}

/// The folder that [`flatten`] makes, before it has its name.
pub(crate) fn flattened<'a>(
    layout: &Layout,
    folders: &'a Dir,
    layers: &[Layer],
    name: &str,
    limits: &Limits,
) -> Result<Aside<'a>> {
    let mut budget = limits.clone();
    let label = layers.last().map_or_else(|| Digest::sha256_of(b""), |layer| layer.descriptor.digest.clone());
    Aside::fill(folders, name, &label, |root| {
        layers.iter().try_for_each(|layer| apply(layout, layer, &mut Tree::new(root, Form::Plain), &mut budget))
    })
}

/// What is wrong with the folder `name`.
#[derive(Debug)]
pub(crate) enum Unlike {
    /// It has no seal: it was unpacked by a proa that knew none.
    Unsealed(Digest),
    /// Its digest is another than its seal says.
    Changed(Digest),
    /// An entry cannot be read.
    Unreadable(String),
}

/// Holds the folder `name` against its seal.
pub(crate) fn inspect(folders: &Dir, name: &str) -> io::Result<Option<Unlike>> {
    Ok(match (seal::find(&folders.open_dir(name)?), seal::read(folders, name)) {
        (Ok(found), Some(seal)) if found == seal => None,
        (Ok(found), None) => Some(Unlike::Unsealed(found)),
        (Ok(found), Some(_)) => Some(Unlike::Changed(found)),
        (Err(unread), _) => Some(Unlike::Unreadable(format!("`{}` cannot be read: {}", unread.entry, unread.source))),
    })
}

/// What the folder that has the name of `aside` holds otherwise than `aside`, in words.
pub(crate) fn differences(folders: &Dir, name: &str, aside: &Aside<'_>) -> String {
    let found = folders.open_dir(name).map(|found| seal::differences(&found, &aside.root));
    match found {
        Ok(Ok(differences)) => differences,
        Ok(Err(unread)) => format!("`{}` cannot be read: {}", unread.entry, unread.source),
        Err(error) => format!("it cannot be opened: {error}"),
    }
}

/// The folder [`flatten`] makes for the manifest `digest`.
pub(crate) fn flat_folder(digest: &Digest) -> String {
    format!("{FLAT}{}", digest.folder())
}

const FLAT: &str = "files-";

/// The beginning of a stranger's name as part of a sentence, which may go to a terminal.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown = String::new();
    for char in text.chars().take(256) {
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
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

/// The layer's bytes without their compression. Docker's schema 2 has one media type for gzip and plain, registries keep
/// zstd under either, and everybody looks at the magic number. Layers that must not be distributed are ordinary ones
/// where they are here; what lies at a URL of the manifest's choice is not taken in (CVE-2020-15157).
fn decompress<'a>(descriptor: &Descriptor, blob: impl io::BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    if !descriptor.urls.is_empty() {
        let reason = "it is a foreign layer, which proa does not take in".to_owned();
        return Err(Error::Layer { layer: descriptor.digest.to_string(), reason });
    }
    compression::plain(blob).map_err(|source| Fault::Read { source }.of_layer(&descriptor.digest))
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

/// Every name that something made of `digest` may have here.
pub(crate) fn names(digest: &Digest) -> [String; 5] {
    let (layer, flat) = (digest.folder(), flat_folder(digest));
    [proof(digest), seal::file(&layer), seal::file(&flat), layer, flat]
}

/// What the folder called `name` is made of: a diff id, or a manifest; `None` of anything else.
pub(crate) fn made_of(name: &str) -> Option<Digest> {
    let bare = name.strip_prefix(FLAT).unwrap_or(name);
    bare.replacen('-', ":", 1).parse().ok()
}

/// Whether something of that name is a folder, not one of the files beside them.
pub(crate) fn is_folder(name: &str) -> bool {
    !name.starts_with(PROOF) && !name.starts_with(seal::SEAL)
}

/// The finished folders, and the files beside them.
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

pub(crate) use entry::Entries as TarEntries;
pub use entry::{Body as TarBody, Entry as TarEntry, Kind as TarKind};
pub(crate) use seal::write as write_seal;

#[cfg(test)]
mod tests;
