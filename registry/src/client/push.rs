//! A push: blobs first, then manifests, the document the name will point at last, so that a registry never names what
//! it does not have.

use std::collections::{HashMap, HashSet};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::transport::{Ask, Remote, Transport};
use super::upload::Upload;
use super::{Progress, Pushed, Status, blocking, event};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::document::{DOCUMENT_MAX, Document};
use crate::error::{Error, Result};
use crate::image;
use crate::layout::Layout;
use crate::reference::Reference;
use crate::store::Store;

const AT_ONCE: usize = 3;
/// Bytes of a blob that are sent at once; longer ones go in pieces of this.
pub(super) const PIECE: u64 = 64 << 20;
/// So many other repositories are asked for their blobs.
const ELSEWHERE_MAX: usize = 4;

/// What has to go, in an order in which nothing refers to what has not gone before.
#[derive(Default)]
struct Cargo {
    blobs: Vec<Descriptor>,
    /// Which of the blobs are layers.
    layers: HashSet<Digest>,
    documents: Vec<Descriptor>,
}

pub(super) async fn push(
    transport: &Transport,
    reference: &Reference,
    descriptor: &Descriptor,
    store: &Store,
    piece: u64,
    progress: Progress,
) -> Result<Pushed> {
    let mut remote = Remote::new(transport, reference, "pull,push")?;
    let lease = store.lease();
    lease.protect(&descriptor.digest);
    let (owner, top, name) = (store.clone(), descriptor.clone(), reference.clone());
    let (top, cargo, elsewhere) = blocking("gathered an image", move || {
        let (top, cargo) = gather(&owner, &top)?;
        let elsewhere = elsewhere(&owner, &name, &cargo)?;
        Ok((top, cargo, elsewhere))
    })
    .await?;
    let repositories: HashSet<&String> = elsewhere.values().collect();
    for repository in repositories {
        remote.and_pull(repository);
    }
    for blob in &cargo.blobs {
        if cargo.layers.contains(&blob.digest) {
            progress(event(&blob.digest, Status::Preparing));
        }
    }
    let mut jobs = Vec::new();
    for blob in &cargo.blobs {
        // Docker tells of layers only.
        let progress = cargo.layers.contains(&blob.digest).then_some(&progress);
        let upload = Upload { remote: &remote, layout: store.layout(), piece, progress };
        let from = elsewhere.get(&blob.digest).map(String::as_str);
        jobs.push(async move { upload.blob(blob, from).await }.boxed());
    }
    stream::iter(jobs).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    for document in &cargo.documents {
        push_document(&remote, store.layout(), document, &document.digest.to_string()).await?;
    }
    let name = reference.tag().map_or_else(|| top.digest.to_string(), str::to_owned);
    push_document(&remote, store.layout(), &top, &name).await?;
    Ok(Pushed { digest: top.digest, size: top.size })
}

/// What the name shall point at, and everything below it.
fn gather(store: &Store, descriptor: &Descriptor) -> Result<(Descriptor, Cargo)> {
    let layout = store.layout();
    let variants = store.variants(descriptor)?;
    let present = variants.iter().filter(|variant| variant.present).count();
    let top = match variants.iter().find(|variant| !variant.present) {
        None => descriptor.clone(),
        // A pull fetches what this machine can run; that alone can be sent on, under its own digest.
        Some(_) if present == 1 => store.image(descriptor, None)?.descriptor,
        Some(missing) => {
            let reason = format!("its variant for {} is not in the store", missing.platform);
            return Err(Error::Document { what: "image", name: descriptor.digest.to_string(), reason });
        }
    };
    let mut cargo = Cargo::default();
    collect(layout, &top, &mut cargo, &mut HashSet::new(), 0)?;
    Ok((top, cargo))
}

/// Which other repositories of the registry have blobs of the cargo, as far as the store's names tell: the registry is
/// asked to mount them, and says no where a name was never pushed.
fn elsewhere(store: &Store, reference: &Reference, cargo: &Cargo) -> Result<HashMap<Digest, String>> {
    let mut known: Vec<(String, HashSet<Digest>)> = Vec::new();
    for named in store.list()? {
        let there =
            |name: &&Reference| name.registry() == reference.registry() && name.repository() != reference.repository();
        for name in named.names.iter().filter(there) {
            let mut reached = HashSet::new();
            image::reachable(store.layout(), &named.descriptor, &mut reached)?;
            if cargo.blobs.iter().any(|blob| reached.contains(&blob.digest)) {
                known.push((name.repository().to_owned(), reached));
            }
        }
    }
    known.truncate(ELSEWHERE_MAX);
    let found = |blob: &Descriptor| {
        let (repository, _) = known.iter().find(|(_, reached)| reached.contains(&blob.digest))?;
        Some((blob.digest.clone(), repository.clone()))
    };
    Ok(cargo.blobs.iter().filter_map(found).collect())
}

fn collect(
    layout: &Layout,
    descriptor: &Descriptor,
    cargo: &mut Cargo,
    seen: &mut HashSet<Digest>,
    depth: usize,
) -> Result<()> {
    match layout.document(descriptor)? {
        Document::Manifest(manifest) => {
            let manifest = *manifest;
            cargo.layers.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
            for blob in std::iter::once(manifest.config).chain(manifest.layers) {
                if seen.insert(blob.digest.clone()) {
                    cargo.blobs.push(blob);
                }
            }
        }
        Document::Index(index) => {
            for child in index.manifests.iter().filter(|child| layout.has(child)) {
                if depth < 2 && seen.insert(child.digest.clone()) {
                    collect(layout, child, cargo, seen, depth + 1)?;
                    cargo.documents.push(child.clone());
                }
            }
        }
    }
    Ok(())
}

async fn push_document(remote: &Remote<'_>, layout: &Layout, document: &Descriptor, name: &str) -> Result<()> {
    let (owner, descriptor) = (layout.clone(), document.clone());
    let bytes = blocking("read a manifest", move || owner.read(&descriptor, DOCUMENT_MAX)).await?;
    let mut ask = Ask::new(Method::PUT, remote.url(&format!("manifests/{name}"))?);
    ask = ask.header(CONTENT_TYPE, &document.media_type);
    ask.body = bytes;
    let response = remote.send(ask).await?;
    if response.status().is_success() { Ok(()) } else { Err(remote.answer(response).await) }
}
