//! Images as the host uses them: found by name, chosen by isolation, made ready to run. What is known of an image is
//! kept in memory, because a start may not wait for the disk. Must not know wire formats or the API.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use proa_registry::{
    Descriptor, Digest, ErrorKind, Image, ImageKind, Limits, Named, Platform, Reference, Store, Variant,
};
use proa_sandbox::Runtimes;

use crate::error::{Error, Result};
use crate::policy::Offer;
use crate::state::record::Content;

pub mod changes;
pub mod check;
pub mod extras;
pub mod transfer;
pub mod user;

/// An image found by name, with all it offers.
#[derive(Debug)]
pub struct Found {
    /// The name it was asked by.
    pub name: String,
    pub named: Named,
    pub variants: Vec<Variant>,
    /// Its blobs that are here, with their bytes.
    pub content: BTreeMap<Digest, u64>,
}

/// The store, and what is known of its images.
#[derive(Debug)]
pub struct Images {
    store: Store,
    run: PathBuf,
    /// Where authorities of single registries are kept, as in `/etc/docker/certs.d`.
    authorities: Vec<PathBuf>,
    known: RwLock<Known>,
}

/// Everything here is true until a name changes; digests never change what they mean.
#[derive(Debug, Default)]
struct Known {
    found: HashMap<String, Arc<Found>>,
    images: HashMap<(Digest, String), Arc<Image>>,
    contents: HashMap<Digest, Content>,
    extras: HashMap<Digest, extras::Extras>,
    users: HashMap<(Digest, String), crate::state::record::User>,
}

/// What went with images that were removed.
#[derive(Debug)]
pub struct Removed {
    /// The names of each.
    pub names: Vec<Vec<Reference>>,
    /// That were freed.
    pub bytes: u64,
    /// Digests of blobs and files that were modules, or could have been.
    pub modules: HashSet<String>,
}

impl Found {
    /// What it offers on `platform` (`None`: on any of ours), of what is here.
    pub fn offer(&self, platform: Option<&Platform>) -> Offer {
        let fits = |variant: &&Variant| {
            variant.present
                && platform.is_none_or(|platform| platform.matches(&variant.platform))
                && (variant.wasm || Platform::host().matches(&variant.platform))
        };
        let mut offer = Offer { wasm: false, linux: false };
        for variant in self.variants.iter().filter(fits) {
            if variant.wasm {
                offer.wasm = true;
            } else {
                offer.linux = true;
            }
        }
        offer
    }

    /// Why nothing in it can run here on `platform` (`None`: on any of ours): `FindImage`, which makes clients pull, only
    /// where a pull would bring what is wanted.
    pub fn nothing_for(&self, platform: Option<&Platform>) -> Error {
        let host = Platform::host();
        let runs = |variant: &Variant| variant.wasm || host.matches(&variant.platform);
        let wanted = |variant: &Variant| platform.is_none_or(|platform| platform.matches(&variant.platform));
        let mut offered: Vec<String> = self.variants.iter().map(|variant| variant.platform.to_string()).collect();
        offered.sort();
        offered.dedup();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        if let Some(variant) = self.variants.iter().find(|variant| runs(variant) && wanted(variant)) {
            let (name, platform) = (&self.name, &variant.platform);
            return Error::FindImage(format!("{name}: of what it offers ({offered}) {platform} was not pulled"));
        }
        let asked = platform.filter(|platform| !platform.is_wasm() && !host.matches(platform));
        Error::Invalid(match (asked, platform) {
            (Some(asked), _) => {
                format!("image `{}` offers {offered}, and {asked} does not run on this machine ({host})", self.name)
            }
            (None, Some(platform)) => format!("image `{}` offers {offered}, not {platform}", self.name),
            (None, None) => format!("image `{}` offers {offered}, neither Wasm nor {host}", self.name),
        })
    }

    /// Bytes of all of it that is here, as stored.
    pub fn size(&self) -> u64 {
        self.content.values().sum()
    }

    /// Its id: the digest of its index or manifest, as with Docker's containerd image store.
    pub fn id(&self) -> String {
        self.named.descriptor.digest.to_string()
    }
}

impl Images {
    /// Opens the store below `root`; `run` is where modules lie while they are compiled.
    pub fn open(root: &Path, run: PathBuf) -> Result<Images> {
        let store = Store::open(root).map_err(|source| match source {
            proa_registry::Error::InUse { .. } => Error::LockRoot(root.to_owned()),
            source => Error::OpenStore { path: root.to_owned(), source: Box::new(source) },
        })?;
        Ok(Images { store, run, authorities: vec![root.join("certs.d")], known: RwLock::default() })
    }

    /// The store itself.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Forgets which names mean what; called after every change of the store.
    pub fn forget_names(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).found.clear();
    }

    /// The image that `name` names: a reference, an id, or a prefix of one.
    pub async fn find(&self, name: &str) -> Result<Arc<Found>> {
        if let Some(found) = self.known.read().unwrap_or_else(PoisonError::into_inner).found.get(name) {
            return Ok(found.clone());
        }
        let owned = name.to_owned();
        let found = self
            .blocking("find image", name, move |store| {
                let named = store.resolve(&owned)?;
                let variants = store.variants(&named.descriptor)?;
                let content = store.content(&named.descriptor)?;
                Ok(Found { name: owned, named, variants, content })
            })
            .await
            .map_err(|error| missing(name, error))?;
        let found = Arc::new(found);
        self.known.write().unwrap_or_else(PoisonError::into_inner).found.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// Every image, named ones first.
    pub async fn list(&self) -> Result<Vec<Named>> {
        self.blocking("list images of", "the store", |store| store.list()).await
    }

    /// The variant of `found` that runs as Wasm or natively, on `platform` where one was asked for.
    pub async fn variant(&self, found: &Found, wasm: bool, platform: Option<&Platform>) -> Result<Arc<Image>> {
        let platform = match platform {
            Some(platform) => platform.clone(),
            None if wasm => wasi(),
            None => Platform::host(),
        };
        self.image(&found.named.descriptor, &platform, &found.name).await
    }

    /// The image at `descriptor` for `platform`.
    pub async fn image(&self, descriptor: &Descriptor, platform: &Platform, name: &str) -> Result<Arc<Image>> {
        let key = (descriptor.digest.clone(), platform.to_string());
        if let Some(image) = self.known.read().unwrap_or_else(PoisonError::into_inner).images.get(&key) {
            return Ok(image.clone());
        }
        let (descriptor, platform) = (descriptor.clone(), platform.clone());
        let image = self.blocking("read image", name, move |store| store.image(&descriptor, Some(&platform))).await?;
        let image = Arc::new(image);
        self.known.write().unwrap_or_else(PoisonError::into_inner).images.insert(key, image.clone());
        Ok(image)
    }

    /// Makes `image` ready to run: its layers unpacked, or its module compiled.
    pub async fn content(&self, image: &Arc<Image>, name: &str, runtimes: &Runtimes) -> Result<Content> {
        let key = image.descriptor.digest.clone();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).contents.get(&key).cloned();
        if let Some(content) = known.filter(still_there) {
            return Ok(content);
        }
        let content = match &image.kind {
            ImageKind::Linux => Content::Layers { lower: self.unpack(image, name).await? },
            ImageKind::WasmBlob(_) | ImageKind::WasmFile(_) | ImageKind::Unrunnable(_) => {
                self.compile(image, name, runtimes).await?
            }
        };
        self.known.write().unwrap_or_else(PoisonError::into_inner).contents.insert(key, content.clone());
        Ok(content)
    }

    /// The numbers of `user` (Docker's `USER[:GROUP]`) in an image whose layers are `lower`.
    pub async fn user(&self, manifest: &Digest, lower: &[PathBuf], user: &str) -> Result<crate::state::record::User> {
        let key = (manifest.clone(), user.to_owned());
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).users.get(&key) {
            return Ok(known.clone());
        }
        let (lower, text) = (lower.to_vec(), user.to_owned());
        let found = run_blocking(move || user::resolve(&lower, &text)).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).users.insert(key, found.clone());
        Ok(found)
    }

    /// The raw configuration of an image, for inspect.
    pub async fn config_json(&self, image: Arc<Image>, name: &str) -> Result<serde_json::Value> {
        self.blocking("read the configuration of", name, move |store| store.config_json(&image)).await
    }

    /// Gives `target` to the image that `source` names.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<()> {
        let found = self.find(source).await?;
        let (descriptor, reference) = (found.named.descriptor.clone(), target.clone());
        self.blocking("tag image", source, move |store| store.tag(&descriptor, &reference)).await?;
        self.forget_names();
        Ok(())
    }

    /// Takes one name away from its image.
    pub async fn untag(&self, reference: &Reference) -> Result<()> {
        let name = reference.familiar();
        let reference = reference.clone();
        self.blocking("untag image", &name, move |store| store.untag(&reference).map(drop)).await?;
        self.forget_names();
        Ok(())
    }

    /// Takes one name away from an image that stays without one, for containers that run it.
    pub async fn untag_last(&self, found: &Found, reference: &Reference) -> Result<()> {
        let (descriptor, owned) = (found.named.descriptor.clone(), reference.clone());
        let untagged = move |store: &Store| {
            // Entered first: what nothing names could be collected in between.
            let lease = store.lease();
            lease.protect(&descriptor.digest);
            store.untag(&owned)?;
            store.keep(&descriptor)
        };
        self.blocking("untag image", &reference.familiar(), untagged).await?;
        self.forget_names();
        Ok(())
    }

    /// Removes images with every name, and frees what `live` (ids and manifests that containers use) does not need.
    pub async fn remove(&self, digests: &[Digest], live: HashSet<Digest>) -> Result<Removed> {
        let digests = digests.to_vec();
        let name = digests.first().map_or_else(|| "none".to_owned(), Digest::to_string);
        let removed = self
            .blocking("remove image", &name, move |store| {
                let files = digests.iter().flat_map(|digest| wasm_files(store, digest)).collect::<Vec<_>>();
                let names = digests.iter().map(|digest| store.remove(digest)).collect::<Result<Vec<_>, _>>()?;
                let swept = store.gc(&live)?;
                let gone: HashSet<Digest> = swept.blobs.into_iter().collect();
                let files = files.into_iter().filter(|(manifest, _)| gone.contains(manifest)).map(|(_, module)| module);
                let modules = files.chain(gone.iter().cloned()).map(|digest| digest.to_string()).collect();
                Ok(Removed { names, bytes: swept.bytes, modules })
            })
            .await?;
        // Layers may be gone, so nothing that was known of any image can be relied on.
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
        Ok(removed)
    }

    /// Runs `work` on the store where blocking is allowed.
    pub async fn blocking<T: Send + 'static>(
        &self,
        attempt: &'static str,
        reference: &str,
        work: impl FnOnce(&Store) -> proa_registry::Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        let reference = reference.to_owned();
        run_blocking(move || {
            work(&store).map_err(|source| Error::Image { attempt, reference, source: Box::new(source) })
        })
        .await
    }

    /// Removes modules that a host was compiling when it was killed.
    pub fn remove_stale_modules(&self) {
        for entry in std::fs::read_dir(&self.run).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(MODULE) {
                // Left for the next host if it cannot be removed.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    async fn unpack(&self, image: &Arc<Image>, name: &str) -> Result<Vec<PathBuf>> {
        let image = image.clone();
        self.blocking("unpack image", name, move |store| store.unpack(&image, &Limits::default(), &|_| {})).await
    }

    async fn compile(&self, image: &Arc<Image>, name: &str, runtimes: &Runtimes) -> Result<Content> {
        let (source, run) = (image.clone(), self.run.clone());
        let (digest, path, files) = self
            .blocking("read the module of", name, move |store| {
                let module = store.module(&source)?;
                let (digest, files) = match &source.kind {
                    ImageKind::WasmBlob(blob) => (blob.digest.clone(), None),
                    _ => (Digest::sha256_of(&module), Some(store.flatten(&source, &Limits::default())?)),
                };
                // A copy of verified bytes in our own folder: the image's own file could be a link to anywhere.
                let path = run.join(format!("{MODULE}{}", crate::random_id()));
                Ok((digest, std::fs::write(&path, module).map(|()| path), files))
            })
            .await?;
        let path = path.map_err(Error::file("write a module below", &self.run))?;
        let compiled = runtimes.compile(&digest.to_string(), &path).await;
        // It was only there to be read.
        let _ = std::fs::remove_file(&path);
        let artifact = compiled.map_err(|source| Error::Compile { reference: name.to_owned(), source })?;
        Ok(Content::Module { folder: artifact.folder, kind: artifact.kind, imports: artifact.imports, files })
    }
}

/// How the name of a module begins that lies in the run directory to be compiled.
const MODULE: &str = "module-";

/// The platform of every Wasm variant.
pub fn wasi() -> Platform {
    Platform { os: "wasi".to_owned(), architecture: "wasm".to_owned(), variant: None }
}

/// Runs `work` where blocking is allowed.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}

/// The manifests of an image whose program is a file in its layers, with the digest of that file, by which its compiled
/// code is known.
fn wasm_files(store: &Store, digest: &Digest) -> Vec<(Digest, Digest)> {
    let entry = store.list().unwrap_or_default().into_iter().find(|named| named.descriptor.digest == *digest);
    let variants = entry.and_then(|named| store.variants(&named.descriptor).ok()).unwrap_or_default();
    let wasm = variants.into_iter().filter(|variant| variant.wasm && variant.present);
    wasm.filter_map(|variant| {
        let image = store.image(&variant.descriptor, Some(&variant.platform)).ok()?;
        let ImageKind::WasmFile(_) = &image.kind else { return None };
        Some((variant.descriptor.digest, Digest::sha256_of(&store.module(&image).ok()?)))
    })
    .collect()
}

/// What is remembered may have been collected since: another name of the same content was removed, and came back.
fn still_there(content: &Content) -> bool {
    match content {
        Content::Module { folder, files, .. } => folder.exists() && files.as_ref().is_none_or(|files| files.exists()),
        Content::Layers { lower } => lower.iter().all(|folder| folder.exists()),
    }
}

fn missing(name: &str, error: Error) -> Error {
    match &error {
        Error::Image { source, .. } if source.kind() == ErrorKind::NotFound => {
            // Docker shows the tag it looked for.
            let shown = Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar());
            Error::FindImage(shown)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(offered: &[(&str, bool)], platform: Option<&str>) -> String {
        let descriptor = Descriptor::new("x/y", Digest::sha256_of(b""), 0);
        let variant = |(platform, present): &(&str, bool)| {
            let platform: Platform = platform.parse().unwrap();
            Variant { descriptor: descriptor.clone(), wasm: platform.is_wasm(), platform, present: *present }
        };
        let variants = offered.iter().map(variant).collect();
        let named = Named { descriptor: descriptor.clone(), names: Vec::new() };
        let found = Found { name: "far:1".to_owned(), named, variants, content: BTreeMap::new() };
        found.nothing_for(platform.map(|text| text.parse().unwrap()).as_ref()).sentence()
    }

    #[test]
    fn an_image_for_another_platform_is_refused_with_what_it_offers() {
        let host = Platform::host().to_string();
        let far = [("linux/s390x", true), ("linux/mips", false)];
        assert_eq!(
            sentence(&far, None),
            format!("image `far:1` offers linux/mips, linux/s390x, neither Wasm nor {host}")
        );
        assert_eq!(
            sentence(&far, Some("linux/s390x")),
            format!(
                "image `far:1` offers linux/mips, linux/s390x, and linux/s390x does not run on this machine ({host})"
            )
        );
        assert_eq!(
            sentence(&[(&host, true)], Some("wasi/wasm")),
            format!("image `far:1` offers {host}, not wasi/wasm")
        );
        let elsewhere = sentence(&[(&host, false)], None);
        assert!(
            elsewhere.starts_with("No such image: far:1: ") && elsewhere.ends_with("was not pulled"),
            "{elsewhere}"
        );
    }
}
