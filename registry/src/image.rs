//! Images: one manifest understood. Which variants an index offers, and what a manifest holds: a Linux root file system
//! or Wasm, in any of the shapes Wasm is shipped in. Reads blobs from a layout, verified; must not know who runs them.
//!
//! The shapes of Wasm:
//! 1. artifacts whose layer is the binary: the CNCF Wasm OCI artifact and its kin (image/dialect.rs);
//! 2. an ordinary image of platform `wasi/wasm` (os wasi, wasip1 or wasip2, architecture wasm or wasm32) whose
//!    entrypoint is a .wasm file in its layers;
//! 3. the compat variant: an ordinary image of any platform with the annotation `module.wasm.image/variant`.

mod dialect;

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::document::{ConfigFile, DOCUMENT_MAX, Document, Manifest};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::platform::Platform;

const COMPAT_ANNOTATION: &str = "module.wasm.image/variant";
/// Indexes within indexes beyond this depth are refused; nobody ships more than one.
const NESTING_MAX: usize = 2;

/// One choice an image offers.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Of the manifest.
    pub descriptor: Descriptor,
    pub platform: Platform,
    /// Whether it is Wasm, in any shape.
    pub wasm: bool,
    /// Whether the manifest and all its blobs are here.
    pub present: bool,
}

/// One manifest, understood.
#[derive(Debug, Clone)]
pub struct Image {
    /// Of the manifest.
    pub descriptor: Descriptor,
    pub platform: Platform,
    pub config_digest: Digest,
    /// Entrypoint, command, environment, user and so on; empty for the CNCF artifact.
    pub config: oci_spec::image::Config,
    /// RFC 3339.
    pub created: Option<String>,
    pub author: Option<String>,
    /// Lowest first; empty for the CNCF artifact.
    pub layers: Vec<Layer>,
    pub kind: ImageKind,
    /// Bytes of config and layers as stored.
    pub size: u64,
}

impl Image {
    /// Whether it is Wasm, in any shape.
    pub fn is_wasm(&self) -> bool {
        !matches!(self.kind, ImageKind::Linux)
    }
}

/// What an image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// A root file system in layers.
    Linux,
    /// A Wasm module or component as a blob of its own.
    WasmBlob(Descriptor),
    /// A Wasm file within the layers: relative, without `.` and `..`.
    WasmFile(PathBuf),
    /// Wasm in a shape that cannot be run here; what is missing, as a clause.
    Unrunnable(String),
}

/// One layer of a root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Of the blob, which may be compressed.
    pub descriptor: Descriptor,
    /// Of the uncompressed tar.
    pub diff_id: Digest,
}

/// The variants behind `descriptor`: itself when it is a manifest, all runnable ones when it is an index.
pub(crate) fn variants(layout: &Layout, descriptor: &Descriptor) -> Result<Vec<Variant>> {
    let mut found = Vec::new();
    collect(layout, descriptor, 0, &mut HashSet::new(), &mut found)?;
    Ok(found)
}

fn collect(
    layout: &Layout,
    descriptor: &Descriptor,
    depth: usize,
    seen: &mut HashSet<Digest>,
    found: &mut Vec<Variant>,
) -> Result<()> {
    if !seen.insert(descriptor.digest.clone()) {
        return Ok(());
    }
    if depth > 0 && layout.blob_size(&descriptor.digest).is_none() {
        found.extend(absent(descriptor));
        return Ok(());
    }
    match layout.document(descriptor)? {
        Document::Index(index) => {
            if depth >= NESTING_MAX {
                let reason = format!("indexes are nested more than {NESTING_MAX} deep");
                return Err(Error::Document { what: "image index", name: descriptor.digest.to_string(), reason });
            }
            for child in index.manifests.iter().filter(|child| is_runnable(child)) {
                collect(layout, child, depth + 1, seen, found)?;
            }
        }
        Document::Manifest(manifest) => found.push(present(layout, descriptor, &manifest)?),
    }
    Ok(())
}

/// Attestations and other attachments ride along in indexes as manifests for no platform.
pub(crate) fn is_runnable(descriptor: &Descriptor) -> bool {
    let attached = descriptor.annotations.contains_key("vnd.docker.reference.type");
    let unknown = descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
    !attached && !unknown
}

/// What an index says of a manifest that is not here.
fn absent(descriptor: &Descriptor) -> Option<Variant> {
    let platform = descriptor.platform.clone()?;
    let wasm = platform.is_wasm() || descriptor.annotations.contains_key(COMPAT_ANNOTATION);
    Some(Variant { descriptor: descriptor.clone(), platform, wasm, present: false })
}

fn present(layout: &Layout, descriptor: &Descriptor, manifest: &Manifest) -> Result<Variant> {
    let complete = layout.has(&manifest.config) && manifest.layers.iter().all(|layer| layout.has(layer));
    if layout.has(&manifest.config) {
        let config = parse_config(manifest, &layout.read(&manifest.config, DOCUMENT_MAX)?)?;
        let platform = platform_of(descriptor, manifest, &config);
        let wasm = is_wasm(descriptor, manifest, &platform);
        return Ok(Variant { descriptor: descriptor.clone(), platform, wasm, present: complete });
    }
    let platform = platform_of(descriptor, manifest, &ConfigFile::default());
    let wasm = is_wasm(descriptor, manifest, &platform);
    Ok(Variant { descriptor: descriptor.clone(), platform, wasm, present: false })
}

fn is_wasm(descriptor: &Descriptor, manifest: &Manifest, platform: &Platform) -> bool {
    platform.is_wasm() || dialect::is_dialect(manifest) || is_compat(descriptor, manifest)
}

fn is_compat(descriptor: &Descriptor, manifest: &Manifest) -> bool {
    let says_so = |annotations: &BTreeMap<String, String>| {
        annotations.get(COMPAT_ANNOTATION).is_some_and(|value| value == "compat" || value == "compat-smart")
    };
    says_so(&manifest.annotations) || says_so(&descriptor.annotations)
}

/// The index's word wins; the config's os and architecture stand in for it.
fn platform_of(descriptor: &Descriptor, manifest: &Manifest, config: &ConfigFile) -> Platform {
    if let Some(platform) = &descriptor.platform {
        return platform.clone();
    }
    if dialect::is_dialect(manifest) {
        let os = if config.os.starts_with("wasi") { config.os.as_str() } else { "wasi" };
        return Platform::new(os, "wasm");
    }
    Platform { os: config.os.clone(), architecture: config.architecture.clone(), variant: config.variant.clone() }
}

/// Understands the manifest at `descriptor`, all of whose blobs must be here.
pub(crate) fn image(layout: &Layout, descriptor: &Descriptor) -> Result<Image> {
    let Document::Manifest(manifest) = layout.document(descriptor)? else {
        let reason = "an image manifest was expected, not an index".to_owned();
        return Err(Error::Document { what: "manifest", name: descriptor.digest.to_string(), reason });
    };
    if let Some(missing) = manifest.layers.iter().find(|layer| !layout.has(layer)) {
        return Err(Error::NoBlob { digest: missing.digest.clone() });
    }
    let bytes = layout.read(&manifest.config, DOCUMENT_MAX)?;
    let mut config = parse_config(&manifest, &bytes)?;
    let platform = platform_of(descriptor, &manifest, &config);
    let (kind, layers) = if dialect::is_dialect(&manifest) {
        (dialect_kind(&manifest, &bytes, &mut config), Vec::new())
    } else {
        let layers = layers_of(descriptor, &manifest, &config)?;
        match is_wasm(descriptor, &manifest, &platform) {
            true => (ImageKind::WasmFile(wasm_file(descriptor, &platform, &config)?), layers),
            false => (ImageKind::Linux, layers),
        }
    };
    Ok(Image {
        descriptor: descriptor.clone(),
        platform,
        config_digest: manifest.config.digest.clone(),
        size: manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
        config: config.config.unwrap_or_default(),
        created: config.created,
        author: config.author,
        layers,
        kind,
    })
}

/// The dialects of Wasm artifacts have configs of their own, or empty ones: none of theirs is wrong for lacking ours.
fn parse_config(manifest: &Manifest, bytes: &[u8]) -> Result<ConfigFile> {
    match ConfigFile::parse(bytes, &manifest.config.digest) {
        Err(_) if dialect::is_dialect(manifest) => Ok(ConfigFile::default()),
        parsed => parsed,
    }
}

fn dialect_kind(manifest: &Manifest, bytes: &[u8], config: &mut ConfigFile) -> ImageKind {
    match dialect::program(manifest, bytes) {
        dialect::Program::Missing(reason) => ImageKind::Unrunnable(reason),
        dialect::Program::Blob { layer, env } => {
            if !env.is_empty() {
                let process = config.config.get_or_insert_default();
                let all = process.env().iter().flatten().cloned().chain(env).collect();
                process.set_env(Some(all));
            }
            ImageKind::WasmBlob(*layer)
        }
    }
}

fn layers_of(descriptor: &Descriptor, manifest: &Manifest, config: &ConfigFile) -> Result<Vec<Layer>> {
    let diff_ids = config.diff_ids();
    if diff_ids.len() != manifest.layers.len() {
        let reason = format!("it has {} layers but its config names {}", manifest.layers.len(), diff_ids.len());
        return Err(Error::Document { what: "manifest", name: descriptor.digest.to_string(), reason });
    }
    let pair = |(layer, diff_id): (&Descriptor, &Digest)| Layer { descriptor: layer.clone(), diff_id: diff_id.clone() };
    Ok(manifest.layers.iter().zip(diff_ids).map(pair).collect())
}

/// The .wasm file an image of shape 2 or 3 starts: the first word of its entrypoint, or of its command.
fn wasm_file(descriptor: &Descriptor, platform: &Platform, config: &ConfigFile) -> Result<PathBuf> {
    let malformed =
        |reason: String| Error::Document { what: "Wasm image", name: descriptor.digest.to_string(), reason };
    let process = config.config.as_ref();
    let entrypoint = process.and_then(|config| config.entrypoint().as_ref()).and_then(|words| words.first());
    let command = process.and_then(|config| config.cmd().as_ref()).and_then(|words| words.first());
    let word = entrypoint.or(command).ok_or_else(|| malformed("it has no entrypoint".to_owned()))?;
    let directory = process.and_then(|config| config.working_dir().as_deref()).unwrap_or("/");
    let mut path = PathBuf::new();
    for component in Path::new("/").join(directory).join(word).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return Err(malformed(format!("its entrypoint `{word}` holds `..`"))),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    // Under a Wasm platform the name may be anything; a disguised image must at least say what it starts.
    if path.as_os_str().is_empty() || !(platform.is_wasm() || word.ends_with(".wasm")) {
        return Err(malformed(format!("its entrypoint `{word}` is not a .wasm file")));
    }
    Ok(path)
}

/// Every blob `descriptor` reaches and every diff id its configs name. What is not here is passed over: the variants of
/// an index that nobody asked for.
pub(crate) fn reachable(layout: &Layout, descriptor: &Descriptor, found: &mut HashSet<Digest>) -> Result<()> {
    reachable_within(layout, descriptor, found, 0)
}

/// The same for a digest of which nobody says whether it is a document.
pub(crate) fn reachable_from_digest(layout: &Layout, digest: &Digest, found: &mut HashSet<Digest>) -> Result<()> {
    found.insert(digest.clone());
    let Some(size) = layout.blob_size(digest).filter(|size| *size <= DOCUMENT_MAX) else { return Ok(()) };
    match layout.document(&Descriptor::new("", digest.clone(), size)) {
        Ok(document) => walk(layout, &document, found, 0),
        Err(Error::Document { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

fn reachable_within(layout: &Layout, descriptor: &Descriptor, found: &mut HashSet<Digest>, depth: usize) -> Result<()> {
    found.insert(descriptor.digest.clone());
    let is_document = media_type::is_index(&descriptor.media_type) || media_type::is_manifest(&descriptor.media_type);
    if !is_document || depth > NESTING_MAX || !layout.has(descriptor) {
        return Ok(());
    }
    walk(layout, &layout.document(descriptor)?, found, depth)
}

fn walk(layout: &Layout, document: &Document, found: &mut HashSet<Digest>, depth: usize) -> Result<()> {
    match document {
        Document::Index(index) => {
            index.manifests.iter().try_for_each(|child| reachable_within(layout, child, found, depth + 1))
        }
        Document::Manifest(manifest) => {
            found.insert(manifest.config.digest.clone());
            found.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
            if layout.has(&manifest.config) && manifest.config.size <= DOCUMENT_MAX {
                let bytes = layout.read(&manifest.config, DOCUMENT_MAX)?;
                let config = ConfigFile::parse(&bytes, &manifest.config.digest);
                found.extend(config.iter().flat_map(|config| config.diff_ids().iter().cloned()));
            }
            Ok(())
        }
    }
}
