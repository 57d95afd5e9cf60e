//! What can be asked of a registry without taking anything in: whether a login is good, and what a name points at.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::transport::{Ask, Remote, Transport};
use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::document::{ConfigFile, DOCUMENT_MAX, Document};
use crate::error::{Error, Result};
use crate::image;
use crate::platform::Platform;
use crate::reference::Reference;

/// What a name points at in its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    pub descriptor: Descriptor,
    /// Of an index all it lists; of a manifest the one of its config.
    pub platforms: Vec<Platform>,
}

/// The media types of what a name may point at, as a registry is told to choose among them.
pub(super) const ACCEPTED: [&str; 4] =
    [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST];

/// A document as it came: its bytes, the media type it was declared to have, and the digest it was said to have.
pub(super) type Fetched = (Vec<u8>, String, Option<Digest>);

impl Remote<'_> {
    /// The manifest or index at a tag or digest, not yet verified.
    pub(super) async fn document(&self, target: &str) -> Result<Fetched> {
        let mut ask = Ask::new(Method::GET, self.url(&format!("manifests/{target}"))?);
        for media_type in ACCEPTED {
            ask = ask.header(ACCEPT, media_type);
        }
        let response = self.send(ask).await?;
        if !response.status().is_success() {
            return Err(self.answer(response).await);
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let told = header("docker-content-digest").and_then(|text| Digest::parse(&text).ok());
        let declared = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let declared = declared.split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = self.body(response, DOCUMENT_MAX as usize).await?;
        Ok((bytes, declared, told))
    }
}

/// A document the registry sent for `reference`, understood: nothing in it is what the registry says unless it fits.
pub(super) fn understand(reference: &Reference, fetched: &Fetched) -> Result<(Descriptor, Document)> {
    let (bytes, declared, told) = fetched;
    let pinned = reference.digest();
    let digest = Digest::sha256_of(bytes);
    // A pinned digest is checked where the document is kept, by its own algorithm.
    let told = told.as_ref().filter(|told| pinned.is_none() && told.algorithm() == digest.algorithm());
    if let Some(told) = told.filter(|told| **told != digest) {
        let reason = format!("the registry sent it with digest `{digest}`");
        return Err(Error::Corrupt { digest: told.clone(), reason });
    }
    let digest = pinned.cloned().unwrap_or(digest);
    let document = Document::parse(bytes, declared, &reference.familiar())?;
    let known = media_type::is_index(declared) || media_type::is_manifest(declared);
    let media_type = if known { declared.clone() } else { document.media_type().to_owned() };
    Ok((Descriptor::new(&media_type, digest, bytes.len() as u64), document))
}

/// The tag or digest by which a registry is asked for `reference`.
pub(super) fn target(reference: &Reference) -> String {
    reference.digest().map_or_else(|| reference.tag().unwrap_or("latest").to_owned(), Digest::to_string)
}

pub(super) async fn look_up(transport: &Transport, reference: &Reference) -> Result<Distribution> {
    let remote = Remote::new(transport, reference, "pull")?;
    let fetched = remote.document(&target(reference)).await?;
    let (descriptor, document) = understand(reference, &fetched)?;
    if let Some(pinned) = reference.digest() {
        verify(pinned, &fetched.0)?;
    }
    let platforms = match document {
        Document::Index(index) => index
            .manifests
            .iter()
            .filter(|child| image::is_runnable(child))
            .filter_map(|m| m.platform.clone())
            .collect(),
        Document::Manifest(manifest) => platform(&remote, &manifest.config).await?.into_iter().collect(),
    };
    Ok(Distribution { descriptor, platforms })
}

/// What a manifest's config says it is for; a config that says nothing, or is too long to be one, is for nothing.
async fn platform(remote: &Remote<'_>, config: &Descriptor) -> Result<Option<Platform>> {
    if config.size > DOCUMENT_MAX {
        return Ok(None);
    }
    let response = remote.send(Ask::new(Method::GET, remote.url(&format!("blobs/{}", config.digest))?)).await?;
    if !response.status().is_success() {
        return Err(remote.answer(response).await);
    }
    let bytes = remote.body(response, DOCUMENT_MAX as usize).await?;
    verify(&config.digest, &bytes)?;
    let config = ConfigFile::parse(&bytes, &config.digest).unwrap_or_default();
    let (os, architecture, variant) = (config.os, config.architecture, config.variant);
    Ok(Some(Platform { os, architecture, variant }).filter(|platform| !platform.os.is_empty()))
}

fn verify(digest: &Digest, bytes: &[u8]) -> Result<()> {
    use std::io::Read;
    let size = bytes.len() as u64;
    let mut verified = crate::digest::Verified::new(bytes, digest, size);
    verified.read_to_end(&mut Vec::new()).map(drop).map_err(Error::file("verify", "answer"))
}

/// `GET /v2/`, as everybody who logs in asks it.
pub(super) async fn log_in(transport: &Transport, registry: &str) -> Result<Option<String>> {
    let remote = Remote::whole(transport, registry)?;
    let ask = Ask::new(Method::GET, remote.base.clone());
    let mut response = remote.send_once(&ask, &ask.url).await?;
    let mut identity_token = None;
    if response.status() == StatusCode::UNAUTHORIZED {
        let shown = remote.authenticate(&response).await?;
        identity_token = shown.identity_token;
        if shown.changed {
            response = remote.send_once(&ask, &ask.url).await?;
        }
    }
    if response.status().is_success() { Ok(identity_token) } else { Err(remote.answer(response).await) }
}
