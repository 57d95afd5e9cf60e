//! Taking in an archive: every file becomes a blob on the way through, then the documents say what they are. An entry's
//! path is only ever compared, never opened, so nothing in an archive can climb anywhere.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::json;

use super::{check_complete, name_in};
use crate::descriptor::{Descriptor, media_type, null_is_empty};
use crate::digest::Digest;
use crate::document::{ConfigFile, DOCUMENT_MAX, Index};
use crate::error::{Error, Result};
use crate::gc::Lease;
use crate::layers::{Fault, Limits, TarEntries, TarEntry, TarKind};
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

/// The files of an archive by path; their content is in the store under a lease, without a name.
struct Files {
    blobs: HashMap<PathBuf, (Digest, u64)>,
}

/// Takes in the tar (plain or gzip) of an OCI image layout or of `docker save`, and names its images. Nothing is named
/// unless all of it is well; what came in without being named is garbage for [`Store::gc`].
pub fn load(store: &Store, reader: impl Read, limits: &Limits) -> Result<Vec<Loaded>> {
    let lease = store.lease();
    let files = read_files(store, &lease, reader, limits)?;
    let loaded = match (files.document("index.json", store)?, files.document("manifest.json", store)?) {
        (Some(index), _) => oci_images(store, &index)?,
        (None, Some(manifest)) => docker_images(store, &lease, &files, &manifest)?,
        (None, None) => {
            let reason = "it holds neither `index.json` nor `manifest.json`".to_owned();
            return Err(Error::Archive { reason });
        }
    };
    if loaded.is_empty() {
        return Err(Error::Archive { reason: "it holds no image".to_owned() });
    }
    for image in &loaded {
        match &image.reference {
            Some(reference) => store.tag(&image.descriptor, reference)?,
            None => store.keep(&image.descriptor)?,
        }
    }
    Ok(loaded)
}

fn read_files(store: &Store, lease: &Lease, reader: impl Read, limits: &Limits) -> Result<Files> {
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let magic = io::BufRead::fill_buf(&mut reader).map_err(failed)?;
    let plain: Box<dyn Read + '_> =
        if magic.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    let mut entries = TarEntries::new(plain, limits.clone());
    let (mut blobs, mut links) = (HashMap::new(), Vec::new());
    let (mut left, mut names) = (limits.bytes, 0);
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
                let found = ingest(store, lease, &entry.path, &mut entries.body(), entry.size)?;
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

/// Stores one file. A path of the form `blobs/<algorithm>/<hex>` is a promise that is checked.
fn ingest(store: &Store, lease: &Lease, path: &Path, body: &mut dyn Read, size: u64) -> Result<(Digest, u64)> {
    let promised = path.strip_prefix("blobs").ok().and_then(|rest| {
        let (algorithm, hex) = rest.to_str()?.split_once('/')?;
        Digest::parse(&format!("{algorithm}:{hex}")).ok()
    });
    let mut ingest = store.layout().begin(promised.as_ref().map(|digest| (digest, Some(size))), size)?;
    io::copy(body, &mut ingest).map_err(failed)?;
    let sealed = ingest.seal()?;
    lease.protect(sealed.digest());
    sealed.publish()
}

impl Files {
    /// A small JSON file at the archive's top.
    fn document(&self, name: &str, store: &Store) -> Result<Option<Vec<u8>>> {
        let Some((digest, size)) = self.blobs.get(Path::new(name)) else { return Ok(None) };
        store.read(&Descriptor::new("", digest.clone(), *size), DOCUMENT_MAX).map(Some)
    }

    fn get(&self, path: &str) -> Result<(Digest, u64)> {
        let found = self.blobs.get(Path::new(path.trim_start_matches("./")));
        found.cloned().ok_or_else(|| Error::Archive { reason: format!("it lacks `{path}`, which its manifest names") })
    }
}

fn oci_images(store: &Store, index: &[u8]) -> Result<Vec<Loaded>> {
    let index: Index = serde_json::from_slice(index).map_err(|e| malformed("index.json", &e))?;
    let mut loaded = Vec::new();
    for entry in index.manifests {
        if !media_type::is_index(&entry.media_type) && !media_type::is_manifest(&entry.media_type) {
            continue;
        }
        check_complete(store.layout(), &entry)?;
        let reference = name_in(&entry);
        loaded.push(Loaded { descriptor: entry.without_names(), reference });
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

fn docker_images(store: &Store, lease: &Lease, files: &Files, manifest: &[u8]) -> Result<Vec<Loaded>> {
    let saved: Vec<Saved> = serde_json::from_slice(manifest).map_err(|e| malformed("manifest.json", &e))?;
    let mut loaded = Vec::new();
    for image in saved {
        let descriptor = docker_image(store, lease, files, &image)?;
        if image.repo_tags.is_empty() {
            loaded.push(Loaded { descriptor: descriptor.clone(), reference: None });
        }
        for name in &image.repo_tags {
            loaded.push(Loaded { descriptor: descriptor.clone(), reference: Some(Reference::parse(name)?) });
        }
    }
    Ok(loaded)
}

/// Writes the manifest that `docker save` leaves out.
fn docker_image(store: &Store, lease: &Lease, files: &Files, image: &Saved) -> Result<Descriptor> {
    let (digest, size) = files.get(&image.config)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, size);
    let parsed = ConfigFile::parse(&store.read(&config, DOCUMENT_MAX)?, &config.digest)?;
    if parsed.diff_ids().len() != image.layers.len() {
        return Err(Error::Archive { reason: format!("`{}` does not name as many layers as it has", image.config) });
    }
    let mut layers = Vec::new();
    for path in &image.layers {
        let (digest, size) = files.get(path)?;
        let mut magic = [0; 2];
        let probe = Descriptor::new("", digest.clone(), size);
        let _ = store.open_blob(&probe)?.read(&mut magic).map_err(failed)?;
        let kind = if magic == [0x1f, 0x8b] { media_type::OCI_LAYER_GZIP } else { media_type::OCI_LAYER };
        layers.push(Descriptor::new(kind, digest, size));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": layers,
    });
    let bytes = manifest.to_string().into_bytes();
    lease.protect(&Digest::sha256_of(&bytes));
    let (digest, size) = store.layout().put(&bytes)?;
    Ok(Descriptor::new(media_type::OCI_MANIFEST, digest, size))
}

fn malformed(name: &str, error: &serde_json::Error) -> Error {
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
