//! A push: blobs first, then manifests, the document the name will point at last, so that a registry never names what
//! it does not have.

use std::collections::HashSet;
use std::io::Read;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method, StatusCode};
use tokio::sync::mpsc;

use super::transport::{Ask, Remote, Transport};
use super::{Progress, Pushed, Status, blocking, event};
use crate::descriptor::Descriptor;
use crate::document::{DOCUMENT_MAX, Document};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::reference::Reference;
use crate::store::Store;

const AT_ONCE: usize = 3;
const QUEUE: usize = 8;
const PIECE: usize = 128 << 10;

/// What has to go, in an order in which nothing refers to what has not gone before.
#[derive(Default)]
struct Cargo {
    blobs: Vec<Descriptor>,
    documents: Vec<Descriptor>,
}

pub(super) async fn push(
    transport: &Transport,
    reference: &Reference,
    descriptor: &Descriptor,
    store: &Store,
    progress: Progress,
) -> Result<Pushed> {
    let remote = Remote::new(transport, reference, "push")?;
    let lease = store.lease();
    lease.protect(&descriptor.digest);
    let (owner, top) = (store.clone(), descriptor.clone());
    let (top, cargo) = blocking("gathered an image", move || gather(&owner, &top)).await?;
    for blob in &cargo.blobs {
        progress(event(&blob.digest, Status::Preparing));
    }
    let mut jobs = Vec::new();
    for blob in &cargo.blobs {
        jobs.push(push_blob(&remote, store.layout(), blob, &progress).boxed());
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

fn collect(
    layout: &Layout,
    descriptor: &Descriptor,
    cargo: &mut Cargo,
    seen: &mut HashSet<crate::digest::Digest>,
    depth: usize,
) -> Result<()> {
    match layout.document(descriptor)? {
        Document::Manifest(manifest) => {
            let manifest = *manifest;
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

async fn push_blob(remote: &Remote<'_>, layout: &Layout, blob: &Descriptor, progress: &Progress) -> Result<()> {
    let asked = remote.send(Ask::new(Method::HEAD, remote.url(&format!("blobs/{}", blob.digest))?)).await?;
    if asked.status().is_success() {
        progress(event(&blob.digest, Status::LayerAlreadyExists));
        return Ok(());
    }
    let begin = Ask::new(Method::POST, remote.url("blobs/uploads/")?).header(reqwest::header::CONTENT_LENGTH, "0");
    let asked = begin.url.clone();
    let response = remote.send(begin).await?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(remote.answer(response).await);
    }
    let mut location = remote.location(&response, &asked)?;
    location.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
    let body = body_of(layout, blob, progress.clone())?;
    let response = remote.send_stream(Method::PUT, &location, blob.size, body).await?;
    if !response.status().is_success() {
        return Err(remote.answer(response).await);
    }
    progress(event(&blob.digest, Status::Pushed));
    Ok(())
}

/// The blob as a body that breaks off where the store's content turns out to be corrupt.
fn body_of(layout: &Layout, blob: &Descriptor, progress: Progress) -> Result<Body> {
    let mut reader = layout.open_blob(blob)?;
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(QUEUE);
    let (digest, total) = (blob.digest.clone(), blob.size);
    tokio::task::spawn_blocking(move || {
        let mut done = 0;
        loop {
            let mut piece = vec![0; PIECE];
            let sent = match reader.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    done += count as u64;
                    piece.truncate(count);
                    progress(event(&digest, Status::Pushing { done, total }));
                    sender.blocking_send(Ok(piece.into()))
                }
                Err(error) => sender.blocking_send(Err(error)),
            };
            if sent.is_err() {
                return;
            }
        }
    });
    let pieces =
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) });
    Ok(Body::wrap_stream(pieces.boxed()))
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
