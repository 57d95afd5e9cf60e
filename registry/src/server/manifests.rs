//! Manifests and tags: `/v2/<name>/manifests/<reference>` and `/v2/<name>/tags/list`.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, LOCATION};
use serde_json::json;

use super::State;
use super::answer::{self, Answer, CONTENT_DIGEST, Refusal};
use super::route::Target;
use crate::descriptor::{Descriptor, REF_NAME, media_type};
use crate::digest::Digest;
use crate::document::{DOCUMENT_MAX, Document};
use crate::error::{Error, Result};
use crate::layout::Layout;

pub(super) async fn get(state: &State, repository: String, target: Target) -> Result<Answer, Refusal> {
    let layout = state.layout.clone();
    let (descriptor, bytes) = blocking(move || {
        let descriptor = find(&layout, &repository, &target)?;
        let bytes = layout.read(&descriptor, DOCUMENT_MAX)?;
        // A layer that happens to be asked for as a manifest is not one.
        let document = Document::parse(&bytes, &descriptor.media_type, &descriptor.digest)?;
        let media_type = document.media_type().to_owned();
        let declared = media_type::is_index(&descriptor.media_type) || media_type::is_manifest(&descriptor.media_type);
        let media_type = if declared { descriptor.media_type.clone() } else { media_type };
        Ok((Descriptor { media_type, ..descriptor }, bytes))
    })
    .await
    .map_err(unknown_manifest)?;
    let answer = answer::body(200, Bytes::from(bytes));
    let answer = answer::with(answer, CONTENT_TYPE, &descriptor.media_type);
    Ok(answer::with(answer, CONTENT_DIGEST, &descriptor.digest.to_string()))
}

fn unknown_manifest(error: Error) -> Refusal {
    match error {
        Error::NoBlob { .. }
        | Error::NoImage { .. }
        | Error::Document { .. }
        | Error::TooLarge { .. }
        | Error::TooLong { .. } => Refusal::new(404, "MANIFEST_UNKNOWN", "the manifest is not known"),
        other => other.into(),
    }
}

fn find(layout: &Layout, repository: &str, target: &Target) -> Result<Descriptor> {
    match target {
        Target::Tag(tag) => layout.find_name(Some(&format!("{repository}:{tag}"))),
        Target::Digest(digest) => match layout.blob_size(digest) {
            Some(size) => Ok(Descriptor::new("", digest.clone(), size)),
            None => Err(Error::NoBlob { digest: digest.clone() }),
        },
    }
}

pub(super) async fn put(
    state: &State,
    repository: String,
    target: Target,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let header = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let declared = header.split(';').next().unwrap_or_default().trim().to_owned();
    let limited = Limited::new(request.into_body(), DOCUMENT_MAX as usize).collect().await;
    let too_large =
        |_| Refusal::new(413, "MANIFEST_INVALID", "the manifest is longer than 4 MiB, or the connection broke");
    let bytes = limited.map_err(too_large)?.to_bytes();
    let (layout, name) = (state.layout.clone(), repository.clone());
    let digest = tokio::task::spawn_blocking(move || store(&layout, &name, &target, &bytes, &declared))
        .await
        .map_err(|_| Refusal::from(Error::Thread { doing: "stored a manifest" }))??;
    let answer = answer::with(answer::empty(201), LOCATION, &format!("/v2/{repository}/manifests/{digest}"));
    Ok(answer::with(answer, CONTENT_DIGEST, &digest.to_string()))
}

fn store(layout: &Layout, repository: &str, target: &Target, bytes: &[u8], declared: &str) -> Result<Digest, Refusal> {
    let document = Document::parse(bytes, declared, &"upload")?;
    check_references(layout, &document)?;
    let known = media_type::is_index(declared) || media_type::is_manifest(declared);
    let media_type = if known { declared } else { document.media_type() };
    let expected = match target {
        Target::Digest(digest) => Some(digest),
        Target::Tag(_) => None,
    };
    let (digest, size) = layout.ingest(bytes, expected.map(|digest| (digest, None)), DOCUMENT_MAX)?;
    if let Target::Tag(tag) = target {
        let descriptor = Descriptor::new(media_type, digest.clone(), size);
        layout.set_name(&descriptor, &format!("{repository}:{tag}"))?;
    }
    Ok(digest)
}

/// A registry never names what it does not have.
fn check_references(layout: &Layout, document: &Document) -> Result<(), Refusal> {
    let missing = |blob: &Descriptor| {
        let message = format!("`{}` is not known, or has another size", blob.digest);
        Refusal::new(404, "MANIFEST_BLOB_UNKNOWN", &message)
    };
    let absent = match document {
        Document::Manifest(manifest) => std::iter::once(&manifest.config)
            .chain(&manifest.layers)
            .find(|blob| blob.urls.is_empty() && !layout.has(blob)),
        Document::Index(index) => index.manifests.iter().find(|child| !layout.has(child)),
    };
    absent.map_or(Ok(()), |blob| Err(missing(blob)))
}

pub(super) async fn delete(state: &State, repository: String, target: Target) -> Result<Answer, Refusal> {
    let layout = state.layout.clone();
    let removed = blocking(move || match target {
        Target::Tag(tag) => Ok(layout.remove_name(&format!("{repository}:{tag}"))?.is_some()),
        Target::Digest(digest) => {
            let mut any = false;
            for entry in layout.descriptors()? {
                let name = entry.annotations.get(REF_NAME).filter(|name| tag_of(name, &repository).is_some());
                if let Some(name) = name.filter(|_| entry.digest == digest) {
                    any |= layout.remove_name(name)?.is_some();
                }
            }
            Ok(any)
        }
    })
    .await?;
    if removed {
        Ok(answer::empty(202))
    } else {
        Err(Refusal::new(404, "MANIFEST_UNKNOWN", "the manifest is not known"))
    }
}

pub(super) async fn tags(
    state: &State,
    repository: String,
    after: Option<String>,
    most: usize,
) -> Result<Answer, Refusal> {
    let (layout, name) = (state.layout.clone(), repository.clone());
    let mut tags = blocking(move || {
        let entries = layout.descriptors()?;
        let names = entries.iter().filter_map(|entry| tag_of(entry.annotations.get(REF_NAME)?, &name));
        Ok(names.map(str::to_owned).collect::<Vec<_>>())
    })
    .await?;
    if tags.is_empty() {
        return Err(Refusal::new(404, "NAME_UNKNOWN", "the repository is not known"));
    }
    tags.sort();
    tags.retain(|tag| after.as_ref().is_none_or(|after| tag > after));
    tags.truncate(most);
    Ok(answer::json(200, &json!({ "name": repository, "tags": tags })))
}

fn tag_of<'a>(name: &'a str, repository: &str) -> Option<&'a str> {
    name.strip_prefix(repository)?.strip_prefix(':')
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Thread { doing: "answered a request" })?
}
