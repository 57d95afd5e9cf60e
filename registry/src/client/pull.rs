//! A pull: the document the name points at, the variants that were asked for, their blobs, their folders, and the name
//! last.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::fetch::Fetch;
use super::look;
use super::transport::{Remote, Transport};
use super::{Event, Progress, Pulled, Selection, Status, blocking, event};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::document::{DOCUMENT_MAX, Document, Manifest};
use crate::error::{Error, Result};
use crate::gc::Lease;
use crate::image::{self, ImageKind, Variant};
use crate::layers::{LayerEvent, Limits};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{self, Store};

/// Blobs of one pull that travel at once, as Docker does it.
const AT_ONCE: usize = 3;
const NESTING_MAX: usize = 2;

/// One pull under way.
struct Pull<'a> {
    remote: Remote<'a>,
    store: &'a Store,
    /// Shared with the threads that write.
    lease: Arc<Lease>,
    progress: Progress,
    /// Blobs that were here before: told of once, and not at all where the name stays where it is.
    present: Arc<Mutex<HashSet<Digest>>>,
    is_known: bool,
}

pub(super) async fn pull(
    transport: &Transport,
    reference: &Reference,
    selection: &Selection,
    store: &Store,
    progress: Progress,
) -> Result<Pulled> {
    let remote = Remote::new(transport, reference, "pull")?;
    let (lease, present) = (Arc::new(store.lease()), Arc::default());
    let mut pull = Pull { remote, store, lease, progress, present, is_known: false };
    (pull.progress)(Event { id: None, status: Status::Resolving });
    let before = store.find(reference)?;
    let (top, document) = pull.resolve(reference).await?;
    pull.is_known = before.as_ref().is_some_and(|before| before.digest == top.digest);
    let manifests = pull.choose(reference, &top, document, selection).await?;
    let mut fetched = !pull.is_known;
    for (descriptor, manifest) in &manifests {
        fetched |= pull.blobs(manifest).await?;
        pull.check_platform(reference, descriptor, selection).await?;
        pull.unpack(descriptor).await?;
    }
    let (owner, name, descriptor) = (store.clone(), reference.clone(), top.clone());
    blocking("named an image", move || owner.tag(&descriptor, &name)).await?;
    Ok(Pulled { descriptor: top, changed: fetched })
}

impl Pull<'_> {
    /// The document the reference points at, verified, in the store.
    async fn resolve(&self, reference: &Reference) -> Result<(Descriptor, Document)> {
        let fetched = self.remote.document(&look::target(reference)).await?;
        let (descriptor, document) = look::understand(reference, &fetched)?;
        let (bytes, ..) = fetched;
        self.keep(&descriptor, bytes).await?;
        Ok((descriptor, document))
    }

    /// A document some index points at.
    async fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        self.lease.protect(&descriptor.digest);
        if self.store.layout().is_whole(descriptor) {
            return self.store.layout().document(descriptor);
        }
        if descriptor.size > DOCUMENT_MAX {
            let name = descriptor.digest.to_string();
            return Err(Error::TooLarge { what: "manifest", name, size: descriptor.size, limit: DOCUMENT_MAX });
        }
        let (bytes, _, _) = self.remote.document(&descriptor.digest.to_string()).await?;
        self.keep(descriptor, bytes).await?;
        self.store.layout().document(descriptor)
    }

    async fn keep(&self, descriptor: &Descriptor, bytes: Vec<u8>) -> Result<()> {
        self.lease.protect(&descriptor.digest);
        let (layout, descriptor) = (self.store.layout().clone(), descriptor.clone());
        blocking("stored a manifest", move || {
            layout.ingest(&bytes[..], Some((&descriptor.digest, Some(descriptor.size))), DOCUMENT_MAX).map(drop)
        })
        .await
    }

    /// The manifests to fetch: the document itself, or what the selection asks of an index.
    async fn choose(
        &self,
        reference: &Reference,
        top: &Descriptor,
        document: Document,
        selection: &Selection,
    ) -> Result<Vec<(Descriptor, Manifest)>> {
        let (mut chosen, mut offered, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let mut open = vec![(top.clone(), document, 0)];
        let mut hosts_found = false;
        while let Some((descriptor, document, depth)) = open.pop() {
            let index = match document {
                Document::Manifest(manifest) => {
                    chosen.push((descriptor, *manifest));
                    continue;
                }
                Document::Index(index) => index,
            };
            if depth >= NESTING_MAX {
                let reason = format!("indexes are nested more than {NESTING_MAX} deep");
                return Err(Error::Document { what: "image index", name: descriptor.digest.to_string(), reason });
            }
            let mut wanted = Vec::new();
            for child in index.manifests.into_iter().filter(image::is_runnable) {
                offered.extend(child.platform.as_ref().map(Platform::to_string));
                if is_wanted(&child, selection, &mut hosts_found) && seen.insert(child.digest.clone()) {
                    wanted.push(child);
                }
            }
            for child in wanted.into_iter().rev() {
                let document = self.child(&child).await?;
                open.push((child, document, depth + 1));
            }
        }
        if chosen.is_empty() {
            offered.sort();
            offered.dedup();
            return Err(no_variant(reference, selection, offered.join(", ")));
        }
        Ok(chosen)
    }

    /// Fetches the blobs of a manifest that are not here; tells whether there were any.
    async fn blobs(&self, manifest: &Manifest) -> Result<bool> {
        if manifest.config.size > DOCUMENT_MAX {
            let name = manifest.config.digest.to_string();
            let (size, limit) = (manifest.config.size, DOCUMENT_MAX);
            return Err(Error::TooLarge { what: "image config", name, size, limit });
        }
        let mut seen = HashSet::new();
        let blobs: Vec<&Descriptor> = std::iter::once(&manifest.config)
            .chain(&manifest.layers)
            .filter(|blob| seen.insert(&blob.digest))
            .collect();
        for layer in blobs.iter().skip(1).filter(|layer| !self.store.layout().is_whole(layer)) {
            (self.progress)(event(&layer.digest, Status::PullingFsLayer));
        }
        // Boxed one by one: a closure here would have to be general over lifetimes for the whole pull to be `Send`.
        let mut jobs = Vec::new();
        for blob in blobs {
            jobs.push(self.blob(blob, blob.digest != manifest.config.digest).boxed());
        }
        let fetched: Vec<bool> = stream::iter(jobs).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(fetched.contains(&true))
    }

    async fn blob(&self, blob: &Descriptor, shown: bool) -> Result<bool> {
        let report = |status| {
            let is_present = status == Status::AlreadyExists;
            if is_present {
                self.present.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest.clone());
            }
            if shown && !(is_present && self.is_known) {
                (self.progress)(event(&blob.digest, status));
            }
        };
        Fetch { remote: &self.remote, store: self.store, lease: &self.lease }.blob(blob, &report).await
    }

    /// An image that is no index is what it is; when a platform was asked for by name it must be that.
    async fn check_platform(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        selection: &Selection,
    ) -> Result<()> {
        let Selection::Platform(platform) = selection else { return Ok(()) };
        let variants = self.variants(descriptor).await?;
        if variants.iter().any(|variant| store::fits(platform, variant)) {
            return Ok(());
        }
        Err(no_variant(reference, selection, store::offered(&variants)))
    }

    async fn variants(&self, descriptor: &Descriptor) -> Result<Vec<Variant>> {
        let (store, descriptor) = (self.store.clone(), descriptor.clone());
        blocking("read a manifest", move || store.variants(&descriptor)).await
    }

    /// Prepares the image's folders, so that nothing needs unpacking when it is started.
    async fn unpack(&self, descriptor: &Descriptor) -> Result<()> {
        let (store, descriptor) = (self.store.clone(), descriptor.clone());
        let (progress, lease) = (self.progress.clone(), self.lease.clone());
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner).clone();
        blocking("unpacked an image", move || {
            let image = image::image(store.layout(), &descriptor)?;
            for layer in &image.layers {
                lease.protect(&layer.diff_id);
            }
            match image.kind {
                ImageKind::Linux => {
                    let told = |step: LayerEvent<'_>| match step {
                        LayerEvent::Exists { layer, .. } if present.contains(layer) => {}
                        step => progress(layer_event(step)),
                    };
                    store.unpack(&image, &Limits::default(), &told).map(drop)
                }
                ImageKind::WasmFile(_) => store.flatten(&image, &Limits::default()).map(drop),
                // What cannot be run can still be kept, and sent on.
                ImageKind::WasmBlob(_) | ImageKind::Unrunnable(_) => Ok(()),
            }?;
            if let ImageKind::WasmBlob(blob) = &image.kind
                && !present.contains(&blob.digest)
            {
                progress(event(&blob.digest, Status::PullComplete));
            }
            Ok(())
        })
        .await
    }
}

fn layer_event(step: LayerEvent<'_>) -> Event {
    match step {
        LayerEvent::Exists { layer, .. } | LayerEvent::Done { layer, .. } => event(layer, Status::PullComplete),
        LayerEvent::Extracting { layer, .. } => event(layer, Status::Extracting),
    }
}

/// Of several variants for this machine's Linux the first is enough; of Wasm all are wanted.
fn is_wanted(child: &Descriptor, selection: &Selection, found: &mut bool) -> bool {
    let Some(platform) = &child.platform else { return true };
    let is_compat = child.annotations.contains_key("module.wasm.image/variant");
    let mut first_match = |wanted: &Platform| {
        let hit = wanted.matches(platform) && !*found;
        *found |= hit && !wanted.is_wasm();
        hit
    };
    match selection {
        Selection::All => true,
        Selection::Default => platform.is_wasm() || is_compat || first_match(&Platform::host()),
        Selection::Platform(wanted) => wanted.is_wasm() && is_compat || first_match(wanted),
    }
}

fn no_variant(reference: &Reference, selection: &Selection, offered: String) -> Error {
    let wanted = match selection {
        Selection::Platform(platform) => platform.to_string(),
        Selection::Default => format!("wasi/wasm or {}", Platform::host()),
        Selection::All => "any platform".to_owned(),
    };
    let offered = if offered.is_empty() { "none".to_owned() } else { offered };
    Error::NoVariant { image: reference.familiar(), wanted, offered }
}
