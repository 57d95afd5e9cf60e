//! Taking in an archive: every file becomes a blob on the way through, then the documents say what they are. An entry's
//! path is only ever compared, never opened, so nothing in an archive can climb anywhere.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::{ArchiveName, check_complete, legacy, name_in};
use crate::compression::{self, Compression};
use crate::descriptor::{Descriptor, REF_NAME, media_type, null_is_empty};
use crate::digest::Digest;
use crate::document::{ConfigFile, DOCUMENT_MAX, Index};
use crate::error::{Error, Result};
use crate::gc::Lease;
use crate::layers::{Fault, Limits, TarEntries, TarEntry, TarKind};
use crate::layout::Layout;
use crate::reference::Reference;
use crate::store::Store;

/// One image that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub descriptor: Descriptor,
    /// `None` for an image the archive gives no full name.
    pub reference: Option<Reference>,
}

/// Bytes of the names and links of one archive that are kept in memory: 200,000 files of honest length.
const NAMES_MAX: usize = 32 << 20;

/// Where an archive is taken in.
pub(super) struct Intake<'a> {
    pub(super) layout: &'a Layout,
    /// Keeps what came in from being collected.
    pub(super) lease: Option<&'a Lease>,
    pub(super) limits: &'a Limits,
}

/// An image that came in, and what the archive calls it.
pub(super) struct TakenIn {
    loaded: Loaded,
    /// A bare tag, where that is all.
    label: Option<String>,
}

impl TakenIn {
    pub(super) fn new(descriptor: Descriptor, reference: Option<Reference>) -> TakenIn {
        TakenIn { loaded: Loaded { descriptor, reference }, label: None }
    }

    fn is_called(&self, name: &str) -> bool {
        let wanted = Reference::parse(name).ok();
        let reference = self.loaded.reference.as_ref();
        self.label.as_deref() == Some(name)
            || reference.is_some_and(|known| known.tag() == Some(name) || Some(known) == wanted.as_ref())
    }
}

/// The files of an archive by path; their content is in the layout, without a name.
pub(super) struct Files {
    blobs: HashMap<PathBuf, (Digest, u64)>,
}

/// Takes in the tar (plain, gzip or zstd) of an OCI image layout or of `docker save`, and names its images. Nothing is
/// named unless all of it is well; what came in without being named is garbage for [`Store::gc`].
pub fn load(store: &Store, reader: impl Read, limits: &Limits) -> Result<Vec<Loaded>> {
    let lease = store.lease();
    let intake = Intake { layout: store.layout(), lease: Some(&lease), limits };
    let loaded: Vec<Loaded> = intake.take_in(reader)?.into_iter().map(|image| image.loaded).collect();
    for image in &loaded {
        match &image.reference {
            Some(reference) => store.tag(&image.descriptor, reference)?,
            None => store.keep(&image.descriptor)?,
        }
    }
    Ok(loaded)
}

/// Takes the file that `name` names into `scratch`, a layout of the caller's own, and finds the image in it that is
/// meant; the descriptor has no name. For the command line, which sends it to the host as it sends `oci:DIR[:TAG]`:
/// [`write`](super::write) of `scratch` and this descriptor.
///
/// # Errors
/// A file that is no archive, and an archive that has no such image or more than one.
pub fn open(name: &ArchiveName, scratch: &Layout, limits: &Limits) -> Result<Descriptor> {
    let file = std::fs::File::open(&name.file).map_err(Error::file("open", &name.file))?;
    let intake = Intake { layout: scratch, lease: None, limits };
    let mut images = intake.take_in(file)?;
    if let Some(tag) = &name.tag {
        images.retain(|image| image.is_called(tag));
    }
    let mut digests: Vec<&Digest> = images.iter().map(|image| &image.loaded.descriptor.digest).collect();
    digests.sort();
    digests.dedup();
    match (digests.len(), images.pop()) {
        (1, Some(image)) => Ok(image.loaded.descriptor),
        (0, _) | (_, None) => Err(Error::NoImage { name: name.to_string() }),
        (count, _) => Err(Error::Archive { reason: format!("`{name}` could be any of its {count} images") }),
    }
}

impl Intake<'_> {
    fn take_in(&self, reader: impl Read) -> Result<Vec<TakenIn>> {
        let files = self.read_files(reader)?;
        let document = |name| files.document(name, self.layout);
        let images = match (document("index.json")?, document("manifest.json")?, document("repositories")?) {
            (Some(index), ..) => oci_images(self.layout, &index)?,
            (None, Some(manifest), _) => docker_images(self, &files, &manifest)?,
            (None, None, Some(repositories)) => legacy::images(self, &files, &repositories)?,
            (None, None, None) => {
                let reason = "it holds neither `index.json` nor `manifest.json`".to_owned();
                return Err(Error::Archive { reason });
            }
        };
        if images.is_empty() {
            return Err(Error::Archive { reason: "it holds no image".to_owned() });
        }
        Ok(images)
    }

    fn read_files(&self, reader: impl Read) -> Result<Files> {
        let reader = BufReader::with_capacity(128 << 10, reader);
        let mut entries = TarEntries::new(compression::plain(reader).map_err(failed)?, self.limits.clone());
        let (mut blobs, mut links) = (HashMap::new(), Vec::new());
        let (mut left, mut names) = (self.limits.bytes, 0);
        while let Some(entry) = entries.advance().map_err(refused)? {
            names += remembered(&entry);
            if names > NAMES_MAX {
                let reason = "its names alone take more memory than the limit allows".to_owned();
                return Err(Error::Archive { reason });
            }
            match entry.kind {
                TarKind::File => {
                    left = left.checked_sub(entry.size).ok_or_else(|| Error::Archive {
                        reason: "its files are larger than the limit allows".to_owned(),
                    })?;
                    let found = self.ingest(&entry.path, &mut entries.body(), entry.size)?;
                    blobs.insert(entry.path, found);
                }
                // `docker save` before version 25 links layers that images share.
                TarKind::Symlink(target) => links.push((entry.path, target)),
                _ => {}
            }
        }
        for (path, target) in links {
            let target = String::from_utf8_lossy(&target).into_owned();
            let resolved = resolve_link(&path, Path::new(&target));
            if let Some(found) = blobs.get(&resolved).cloned() {
                blobs.insert(path, found);
            }
        }
        Ok(Files { blobs })
    }

    /// Stores one file. A path of the form `blobs/<algorithm>/<hex>` is a promise that is checked.
    fn ingest(&self, path: &Path, body: &mut dyn Read, size: u64) -> Result<(Digest, u64)> {
        let promised = path.strip_prefix("blobs").ok().and_then(|rest| {
            let (algorithm, hex) = rest.to_str()?.split_once('/')?;
            Digest::parse(&format!("{algorithm}:{hex}")).ok()
        });
        let mut ingest = self.layout.begin(promised.as_ref().map(|digest| (digest, Some(size))), size)?;
        io::copy(body, &mut ingest).map_err(failed)?;
        let sealed = ingest.seal()?;
        self.protect(sealed.digest());
        sealed.publish()
    }

    fn protect(&self, digest: &Digest) {
        if let Some(lease) = self.lease {
            lease.protect(digest);
        }
    }

    /// Stores a document that the archive leaves out.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<(Digest, u64)> {
        self.protect(&Digest::sha256_of(bytes));
        self.layout.put(bytes)
    }

    /// The descriptor of a layer, whose compression its first bytes tell.
    pub(super) fn layer(&self, digest: Digest, size: u64) -> Result<Descriptor> {
        let mut magic = Vec::new();
        self.layout.open_file(&digest)?.take(4).read_to_end(&mut magic).map_err(failed)?;
        let kind = match Compression::of(&magic) {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        Ok(Descriptor::new(kind, digest, size))
    }

    /// Writes the manifest that `docker save` leaves out.
    pub(super) fn manifest(&self, config: Descriptor, layers: Vec<Descriptor>) -> Result<Descriptor> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        let (digest, size) = self.put(manifest.to_string().as_bytes())?;
        Ok(Descriptor::new(media_type::OCI_MANIFEST, digest, size))
    }
}

/// Bytes that the table keeps of an entry.
fn remembered(entry: &TarEntry) -> usize {
    let target = match &entry.kind {
        TarKind::File => 0,
        TarKind::Symlink(target) => target.len(),
        _ => return 0,
    };
    entry.path.as_os_str().len() + target + size_of::<(PathBuf, (Digest, u64))>()
}

/// `../<id>/layer.tar`, seen from the link's folder, as a key of the table; no file system is asked.
fn resolve_link(path: &Path, target: &Path) -> PathBuf {
    let mut resolved = path.parent().map(Path::to_path_buf).unwrap_or_default();
    for component in target.components() {
        match component {
            std::path::Component::ParentDir => {
                resolved.pop();
            }
            std::path::Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    resolved
}

impl Files {
    /// A small JSON file at the archive's top.
    fn document(&self, name: &str, layout: &Layout) -> Result<Option<Vec<u8>>> {
        let Some((digest, size)) = self.blobs.get(Path::new(name)) else { return Ok(None) };
        layout.read(&Descriptor::new("", digest.clone(), *size), DOCUMENT_MAX).map(Some)
    }

    pub(super) fn get(&self, path: &str) -> Result<(Digest, u64)> {
        let found = self.blobs.get(Path::new(path.trim_start_matches("./")));
        found.cloned().ok_or_else(|| Error::Archive { reason: format!("it lacks `{path}`, which its manifest names") })
    }
}

fn oci_images(layout: &Layout, index: &[u8]) -> Result<Vec<TakenIn>> {
    let index: Index = serde_json::from_slice(index).map_err(|e| malformed("index.json", &e))?;
    let mut loaded = Vec::new();
    for entry in index.manifests {
        if !media_type::is_index(&entry.media_type) && !media_type::is_manifest(&entry.media_type) {
            continue;
        }
        check_complete(layout, &entry)?;
        let (reference, label) = (name_in(&entry), entry.annotations.get(REF_NAME).cloned());
        loaded.push(TakenIn { loaded: Loaded { descriptor: entry.without_names(), reference }, label });
    }
    Ok(loaded)
}

/// One image of `docker save`'s manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

fn docker_images(intake: &Intake<'_>, files: &Files, manifest: &[u8]) -> Result<Vec<TakenIn>> {
    let saved: Vec<Saved> = serde_json::from_slice(manifest).map_err(|e| malformed("manifest.json", &e))?;
    let mut loaded = Vec::new();
    for image in saved {
        let descriptor = docker_image(intake, files, &image)?;
        if image.repo_tags.is_empty() {
            loaded.push(TakenIn::new(descriptor.clone(), None));
        }
        for name in &image.repo_tags {
            loaded.push(TakenIn::new(descriptor.clone(), Some(Reference::parse(name)?)));
        }
    }
    Ok(loaded)
}

fn docker_image(intake: &Intake<'_>, files: &Files, image: &Saved) -> Result<Descriptor> {
    let (digest, size) = files.get(&image.config)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, size);
    let parsed = ConfigFile::parse(&intake.layout.read(&config, DOCUMENT_MAX)?, &config.digest)?;
    if parsed.diff_ids().len() != image.layers.len() {
        return Err(Error::Archive { reason: format!("`{}` does not name as many layers as it has", image.config) });
    }
    let mut layers = Vec::new();
    for path in &image.layers {
        let (digest, size) = files.get(path)?;
        layers.push(intake.layer(digest, size)?);
    }
    intake.manifest(config, layers)
}

pub(super) fn malformed(name: &str, error: &serde_json::Error) -> Error {
    Error::Document { what: "archive file", name: name.to_owned(), reason: error.to_string() }
}

fn failed(source: io::Error) -> Error {
    match Error::from_io(source) {
        Ok(inner) => inner,
        Err(source) => Error::ArchiveIo { action: "read", source },
    }
}

fn refused(fault: Fault) -> Error {
    match fault {
        Fault::Refused { entry, reason } => Error::Archive { reason: format!("entry `{entry}` {reason}") },
        Fault::Malformed { reason } => Error::Archive { reason },
        Fault::Write { source, .. } | Fault::Read { source } => failed(source),
    }
}
