//! Archives and folders that hold images: write an OCI image layout as a tar, take one in (or `docker save`'s of any age),
//! and copy between layouts. What comes in is bounded and verified like a pull. Knows no network.

mod legacy;
mod load;
mod name;
mod save;

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read, Write};

use serde_json::json;

use crate::descriptor::{CONTAINERD_NAME, Descriptor, REF_NAME, media_type};
use crate::digest::Digest;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::reference::Reference;
use crate::store::Store;

pub use load::{Loaded, load, open};
pub use name::{ArchiveKind, ArchiveName, LayoutName};
pub use save::{Chosen, save};

/// Writes the images named `names` of `layout` as the tar of an OCI image layout; what an index lists and the layout
/// does not hold is left out. The same images give the same bytes.
pub fn export(layout: &Layout, names: &[Reference], out: impl Write) -> Result<()> {
    let mut entries = Vec::new();
    for name in names {
        entries.push(layout.find_name(Some(&name.to_string()))?);
    }
    write(layout, &entries, out)
}

/// The same for descriptors as they stand in index.json, names in their annotations.
pub fn write(layout: &Layout, entries: &[Descriptor], out: impl Write) -> Result<()> {
    pack(layout, entries, &[], out)
}

/// An OCI image layout as a tar, with `more` files at its top.
fn pack(layout: &Layout, entries: &[Descriptor], more: &[(&str, Vec<u8>)], out: impl Write) -> Result<()> {
    let mut digests = HashSet::new();
    for entry in entries {
        crate::image::reachable(layout, entry, &mut digests)?;
    }
    let blobs: BTreeSet<Digest> = digests.into_iter().filter(|digest| layout.blob_size(digest).is_some()).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries });
    let failed = |source: io::Error| match Error::from_io(source) {
        Ok(inner) => inner,
        Err(source) => Error::ArchiveIo { action: "write", source },
    };
    let mut tar = tar::Builder::new(out);
    append(&mut tar, "oci-layout", &br#"{"imageLayoutVersion":"1.0.0"}"#[..], 30).map_err(failed)?;
    let index = index.to_string();
    append(&mut tar, "index.json", index.as_bytes(), index.len() as u64).map_err(failed)?;
    for (name, bytes) in more {
        append(&mut tar, name, &bytes[..], bytes.len() as u64).map_err(failed)?;
    }
    for digest in blobs {
        let size = layout.blob_size(&digest).unwrap_or(0);
        let path = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        let blob = layout.open_blob(&Descriptor::new("", digest, size))?;
        append(&mut tar, &path, blob, size).map_err(failed)?;
    }
    tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, content: impl Read, size: u64) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, path, content)
}

/// Copies the image `descriptor` of `layout` into the store, verified, and names it.
pub fn import(store: &Store, layout: &Layout, descriptor: &Descriptor, reference: Option<&Reference>) -> Result<()> {
    let lease = store.lease();
    let mut digests = HashSet::new();
    crate::image::reachable(layout, descriptor, &mut digests)?;
    let blobs = digests.iter().filter_map(|digest| layout.blob_size(digest).map(|size| (digest, size)));
    for (digest, size) in blobs {
        lease.protect(digest);
        let blob = Descriptor::new("", digest.clone(), size);
        if !store.layout().is_whole(&blob) {
            store.layout().ingest(layout.open_blob(&blob)?, Some((digest, Some(size))), size)?;
        }
    }
    check_complete(store.layout(), descriptor)?;
    let descriptor = descriptor.clone().without_names();
    match reference {
        Some(reference) => store.tag(&descriptor, reference),
        None => store.keep(&descriptor),
    }
}

/// A manifest must be there with all its blobs, of an index at least one manifest.
fn check_complete(layout: &Layout, descriptor: &Descriptor) -> Result<()> {
    let incomplete = |reason: &str| Error::Archive { reason: format!("image `{}` {reason}", descriptor.digest) };
    if !layout.has(descriptor) {
        return Err(incomplete("is not in it"));
    }
    match layout.document(descriptor)? {
        Document::Manifest(manifest) => {
            match std::iter::once(&manifest.config).chain(&manifest.layers).find(|blob| !layout.has(blob)) {
                Some(missing) => Err(incomplete(&format!("lacks blob `{}`, or it has another size", missing.digest))),
                None => Ok(()),
            }
        }
        Document::Index(_) => match crate::image::variants(layout, descriptor)?.iter().any(|v| v.present) {
            true => Ok(()),
            false => Err(incomplete("has no complete variant")),
        },
    }
}

/// The full name an entry of a foreign index.json carries. A bare tag there (`latest`) is not a name.
fn name_in(entry: &Descriptor) -> Option<Reference> {
    let full = entry.annotations.get(CONTAINERD_NAME);
    let name = entry.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':']));
    full.or(name).and_then(|name| Reference::parse(name).ok())
}

#[cfg(test)]
mod tests;
