//! The content-addressed disk:
//!
//! ```text
//! ROOT/store.lock                    held by the one process that has the store open
//! ROOT/store/                        an OCI image layout (layout.rs); index.json is the root set
//! ROOT/layers/sha256-<diff id>/      one unpacked layer, in overlayfs form (layers.rs)
//! ROOT/layers/blobs-sha256-<..>      the blobs that were found to be that layer
//! ROOT/layers/files-sha256-<hex>/    all layers of one Wasm image's manifest applied, plain files
//! ROOT/layers/seal-<folder>          the digest of everything in that folder (layers/seal.rs)
//! ROOT/layers/.<name>                on its way in or out; removed when the store is opened
//! ```
//!
//! ROOT/layers is 0700: layers hold other people's setuid programs. Garbage is what neither index.json, nor the
//! caller's live set, nor a lease reaches (gc.rs).

mod check;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{FlockOperation, flock};

use crate::descriptor::{Descriptor, REF_NAME};
use crate::digest::{Digest, Verified};
use crate::document::DOCUMENT_MAX;
use crate::error::{Error, Result};
use crate::gc::{self, Lease, Leases, Swept};
use crate::image::{self, Image, ImageKind, Variant};
use crate::layers::{self, LayerEvent, Limits};
use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::turns::Turns;

pub use check::{Check, Checked, Damage, Hold, Repair};

/// The largest Wasm binary that is read into memory.
const MODULE_MAX: u64 = 1 << 30;

/// The images of one root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    layers_path: PathBuf,
    layers: Dir,
    leases: Leases,
    /// One download of a blob, and one unpacking of a layer, at a time.
    downloads: Turns<tokio::sync::Mutex<()>>,
    unpackings: Turns<Mutex<()>>,
    /// Held as long as anybody holds the store.
    _lock: File,
}

/// An image of the store: its id is `descriptor.digest`, of the index or manifest its names point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub descriptor: Descriptor,
    pub names: Vec<Reference>,
}

impl Store {
    /// Opens the store beneath `root`, making it where there is none, and removes what an interrupted process left on
    /// its way in. Fails with [`Error::InUse`] while another process has it.
    pub fn open(root: &Path) -> Result<Store> {
        std::fs::create_dir_all(root).map_err(Error::file("create folder", root))?;
        let lock_path = root.join("store.lock");
        let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
        if let Err(errno) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            return Err(match errno {
                rustix::io::Errno::WOULDBLOCK => Error::InUse { root: root.to_path_buf() },
                other => Error::File { action: "lock", path: lock_path, source: other.into() },
            });
        }
        let layout = Layout::create(&root.join("store"))?.with_twin()?;
        layout.clear_ingest()?;
        let layers_path = root.join("layers");
        let layers = open_layers(&layers_path)?;
        layers::clear_unfinished(&layers, &layers_path)?;
        let (leases, downloads, unpackings) = Default::default();
        let inner = Inner { layout, layers_path, layers, leases, downloads, unpackings, _lock: lock };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// The OCI image layout within.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// Who fetches which blob at the moment: concurrent pulls fetch a layer once.
    pub(crate) fn downloads(&self) -> &Turns<tokio::sync::Mutex<()>> {
        &self.inner.downloads
    }

    /// A lease: while it lives, [`Store::gc`] keeps whatever it protects and everything that reaches. Protect first,
    /// then look whether the content is there.
    pub fn lease(&self) -> Lease {
        self.inner.leases.take()
    }

    /// Finds an image by reference, by id (`sha256:..` or its hex digits) or by at least four first digits of its id.
    /// A name wins over an id.
    pub fn resolve(&self, name: &str) -> Result<Named> {
        let missing = || Error::NoImage { name: name.to_owned() };
        let parsed = Reference::parse(name);
        if let Ok(reference) = &parsed
            && let Some(descriptor) = self.find(reference)?
        {
            let all = self.list()?;
            return all.into_iter().find(|named| named.descriptor.digest == descriptor.digest).ok_or_else(missing);
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let could_be_id = prefix.len() >= 4 && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !could_be_id {
            parsed?;
            return Err(missing());
        }
        let mut hits = self.list()?.into_iter().filter(|named| named.descriptor.digest.hex().starts_with(prefix));
        match (hits.next(), hits.next()) {
            (None, _) => Err(missing()),
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(Error::Ambiguous { name: name.to_owned() }),
        }
    }

    /// What `reference` points at. With a digest in it, an image of that name must have that digest.
    pub fn find(&self, reference: &Reference) -> Result<Option<Descriptor>> {
        let wanted = reference.to_string();
        for entry in self.inner.layout.descriptors()? {
            let Some(name) = entry.annotations.get(REF_NAME) else { continue };
            let by_digest = || {
                let same_name = || Reference::parse(name).is_ok_and(|found| found.name() == reference.name());
                reference.digest().is_some_and(|digest| *digest == entry.digest) && same_name()
            };
            if *name == wanted || by_digest() {
                return Ok(Some(entry.without_names()));
            }
        }
        Ok(None)
    }

    /// Every image, one entry for each digest, in the order they came in.
    pub fn list(&self) -> Result<Vec<Named>> {
        let mut found: Vec<Named> = Vec::new();
        for entry in self.inner.layout.descriptors()? {
            let name = entry.annotations.get(REF_NAME).and_then(|name| Reference::parse(name).ok());
            match found.iter_mut().find(|named| named.descriptor.digest == entry.digest) {
                Some(named) => named.names.extend(name),
                None => found.push(Named { descriptor: entry.without_names(), names: name.into_iter().collect() }),
            }
        }
        Ok(found)
    }

    /// Makes `reference` point at `descriptor`, which must be in the store. What it pointed at before stays an image, as
    /// Docker's do, without a name if that was its last.
    pub fn tag(&self, descriptor: &Descriptor, reference: &Reference) -> Result<()> {
        if !self.inner.layout.has(descriptor) {
            return Err(Error::NoBlob { digest: descriptor.digest.clone() });
        }
        self.inner.layout.move_name(descriptor, &reference.to_string())
    }

    /// Enters an image that has no name.
    pub fn keep(&self, descriptor: &Descriptor) -> Result<()> {
        self.inner.layout.add_unnamed(descriptor)
    }

    /// Takes a name away; gives back what it pointed at. The content stays until [`Store::gc`].
    pub fn untag(&self, reference: &Reference) -> Result<Option<Descriptor>> {
        self.inner.layout.remove_name(&reference.to_string())
    }

    /// Takes every name of an image away, and its own entry; gives back the names.
    pub fn remove(&self, digest: &Digest) -> Result<Vec<Reference>> {
        let names = self.inner.layout.remove_digest(digest)?;
        Ok(names.iter().filter_map(|name| Reference::parse(name).ok()).collect())
    }

    /// A whole blob, verified; refused when it is longer than `limit` bytes.
    pub fn read(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        self.inner.layout.read(descriptor, limit)
    }

    /// A blob as a reader that fails at its end unless every byte was right.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<Verified<File>> {
        self.inner.layout.open_blob(descriptor)
    }

    /// What an image offers: itself when it is a manifest, each runnable variant when it is an index.
    pub fn variants(&self, descriptor: &Descriptor) -> Result<Vec<Variant>> {
        image::variants(&self.inner.layout, descriptor)
    }

    /// The image behind `descriptor`: of an index the present variant that matches `platform`, by default Wasm where
    /// that is here and else this machine's Linux.
    pub fn image(&self, descriptor: &Descriptor, platform: Option<&Platform>) -> Result<Image> {
        let variants = self.variants(descriptor)?;
        let chosen = match platform {
            Some(platform) => variants.iter().find(|v| v.present && fits(platform, v)),
            None => variants.iter().find(|v| v.present && v.wasm).or_else(|| {
                let host = Platform::host();
                variants.iter().find(|v| v.present && host.matches(&v.platform))
            }),
        };
        let chosen = chosen.ok_or_else(|| Error::NoVariant {
            image: descriptor.digest.to_string(),
            wanted: platform.map_or_else(|| format!("wasi/wasm or {}", Platform::host()), Platform::to_string),
            offered: offered(&variants),
        })?;
        image::image(&self.inner.layout, &chosen.descriptor)
    }

    /// Every blob of an image that is here, with its bytes: of an index those of all its variants.
    pub fn content(&self, descriptor: &Descriptor) -> Result<BTreeMap<Digest, u64>> {
        let mut reached = HashSet::new();
        image::reachable(&self.inner.layout, descriptor, &mut reached)?;
        let sizes = reached.into_iter().filter_map(|digest| Some((self.inner.layout.blob_size(&digest)?, digest)));
        Ok(sizes.map(|(size, digest)| (digest, size)).collect())
    }

    /// The image whose manifest has this digest.
    pub fn image_at(&self, digest: &Digest) -> Result<Image> {
        let size = self.inner.layout.blob_size(digest).ok_or_else(|| Error::NoBlob { digest: digest.clone() })?;
        let mut descriptor = Descriptor::new("", digest.clone(), size);
        descriptor.media_type = self.inner.layout.document(&descriptor)?.media_type().to_owned();
        image::image(&self.inner.layout, &descriptor)
    }

    /// The image's config as it was written.
    pub fn config_json(&self, image: &Image) -> Result<serde_json::Value> {
        let size = self.inner.layout.blob_size(&image.config_digest).unwrap_or(0);
        let bytes = self.read(&Descriptor::new("", image.config_digest.clone(), size), DOCUMENT_MAX)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Document {
            what: "image config",
            name: image.config_digest.to_string(),
            reason: e.to_string(),
        })
    }

    /// Unpacks the layers that are not yet unpacked; gives back their folders, lowest first. Hold a lease on the image
    /// until whoever uses the folders is in the live set of [`Store::gc`].
    pub fn unpack(&self, image: &Image, limits: &Limits, progress: &dyn Fn(LayerEvent<'_>)) -> Result<Vec<PathBuf>> {
        let lease = self.lease();
        lease.protect(&image.descriptor.digest);
        let mut budget = limits.clone();
        let mut folders = Vec::new();
        for layer in &image.layers {
            lease.protect(&layer.diff_id);
            let turn = self.inner.unpackings.of(&layer.diff_id);
            // What a panic left behind has no name.
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let unpacked = layers::unpack(&self.inner.layout, &self.inner.layers, layer, &mut budget, progress);
            self.inner.layout.noting(unpacked)?;
            folders.push(self.inner.layers_path.join(layer.diff_id.folder()));
        }
        Ok(folders)
    }

    /// One plain folder with all layers applied, for a Wasm image's own files: no owners, no devices, no setuid.
    pub fn flatten(&self, image: &Image, limits: &Limits) -> Result<PathBuf> {
        let lease = self.lease();
        lease.protect(&image.descriptor.digest);
        let name = layers::flat_folder(&image.descriptor.digest);
        let turn = self.inner.unpackings.of(&image.descriptor.digest);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let flat = layers::flatten(&self.inner.layout, &self.inner.layers, &image.layers, &name, limits);
        self.inner.layout.noting(flat)?;
        Ok(self.inner.layers_path.join(name))
    }

    /// The bytes of a Wasm image's module or component.
    pub fn module(&self, image: &Image) -> Result<Vec<u8>> {
        let unrunnable =
            |reason: &str| Error::Unrunnable { image: image.descriptor.digest.to_string(), reason: reason.to_owned() };
        match &image.kind {
            ImageKind::WasmBlob(blob) => self.read(blob, MODULE_MAX),
            ImageKind::WasmFile(path) => {
                self.flatten(image, &Limits::default())?;
                self.module_file(image, path)
            }
            ImageKind::Linux => Err(unrunnable("it holds no Wasm")),
            ImageKind::Unrunnable(reason) => Err(unrunnable(reason)),
        }
    }

    /// Reads beneath the handle of the image's own folder: a link in it that leads out is refused.
    fn module_file(&self, image: &Image, path: &Path) -> Result<Vec<u8>> {
        let malformed = |reason: String| Error::Document {
            what: "Wasm image",
            name: image.descriptor.digest.to_string(),
            reason: format!("its entrypoint `/{}` {reason}", path.display()),
        };
        let folder = layers::flat_folder(&image.descriptor.digest);
        let opened = self.inner.layers.open_dir(&folder).and_then(|dir| dir.open(path));
        let file = opened.map_err(|e| malformed(format!("cannot be opened: {e}")))?;
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Err(malformed("is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MODULE_MAX + 1).read_to_end(&mut bytes).map_err(|e| malformed(format!("cannot be read: {e}")))?;
        if bytes.len() as u64 > MODULE_MAX {
            return Err(malformed(format!("is longer than {MODULE_MAX} bytes")));
        }
        Ok(bytes)
    }

    /// Removes every blob and folder that nothing reaches: not index.json, not `live` (digests of the manifests or
    /// indexes that containers use), not a lease.
    pub fn gc(&self, live: &HashSet<Digest>) -> Result<Swept> {
        gc::collect(&self.inner.layout, &self.inner.layers, &self.inner.layers_path, &self.inner.leases, live)
    }
}

/// A wish for Wasm is served by any shape of it; any other wish by the platform, but not by a disguised Wasm.
pub(crate) fn fits(wanted: &Platform, variant: &Variant) -> bool {
    if wanted.is_wasm() { variant.wasm } else { wanted.matches(&variant.platform) }
}

pub(crate) fn offered(variants: &[Variant]) -> String {
    let mut names: Vec<String> = variants
        .iter()
        .map(|v| if v.present { v.platform.to_string() } else { format!("{} (not pulled)", v.platform) })
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn open_layers(path: &Path) -> Result<Dir> {
    std::fs::create_dir_all(path).map_err(Error::file("create folder", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
        .map_err(Error::file("change mode of folder", path))?;
    Dir::open_ambient_dir(path, ambient_authority()).map_err(Error::file("open folder", path))
}

#[cfg(test)]
mod tests;
