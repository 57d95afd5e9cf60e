//! Blobs on their way in: `/v2/<name>/blobs/uploads/`. An upload is begun, appended to and finished; it is whole in one
//! request or in many. Nothing is visible under its digest before it is verified and synced; uploads that are open are
//! bounded in number and forgotten when idle.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, LOCATION, RANGE};
use tokio::sync::mpsc;

use super::State;
use super::answer::{self, Answer, CONTENT_DIGEST, Refusal, UPLOAD_ID};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layout::{Ingest, unique_name};

const OPEN_MAX: usize = 256;
const IDLE_MAX: Duration = Duration::from_secs(3600);
const BLOB_MAX: u64 = 64 << 30;
const QUEUE: usize = 16;

/// The uploads that are open.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: Mutex<HashMap<String, Upload>>,
}

#[derive(Debug)]
struct Upload {
    repository: String,
    /// Gone while a request writes to it.
    ingest: Option<Ingest>,
    written: u64,
    touched: Instant,
}

impl Uploads {
    /// A request that panicked leaves the table consistent.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, repository: String, ingest: Ingest) -> Result<String, Refusal> {
        let mut open = self.lock();
        open.retain(|_, upload| upload.ingest.is_none() || upload.touched.elapsed() < IDLE_MAX);
        if open.len() >= OPEN_MAX {
            return Err(Refusal::new(429, "TOOMANYREQUESTS", "too many uploads are open"));
        }
        let id = unique_name();
        open.insert(id.clone(), Upload { repository, ingest: Some(ingest), written: 0, touched: Instant::now() });
        Ok(id)
    }

    /// Takes the upload's content out for one request; a second one meanwhile is refused.
    fn take(&self, repository: &str, id: &str) -> Result<Ingest, Refusal> {
        let mut open = self.lock();
        let upload = open.get_mut(id).filter(|upload| upload.repository == repository).ok_or_else(unknown)?;
        upload
            .ingest
            .take()
            .ok_or_else(|| Refusal::new(409, "BLOB_UPLOAD_INVALID", "another request writes to the upload"))
    }

    fn put_back(&self, id: &str, ingest: Ingest) {
        if let Some(upload) = self.lock().get_mut(id) {
            upload.written = ingest.written();
            upload.touched = Instant::now();
            upload.ingest = Some(ingest);
        }
    }

    fn remove(&self, id: &str) -> Option<Upload> {
        self.lock().remove(id)
    }
}

fn unknown() -> Refusal {
    Refusal::new(404, "BLOB_UPLOAD_UNKNOWN", "the upload is not known")
}

pub(super) async fn begin(
    state: &State,
    repository: String,
    mount: Option<Digest>,
    digest: Option<Digest>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if let Some(digest) = mount.filter(|digest| state.layout.blob_size(digest).is_some()) {
        return Ok(created(&repository, &digest));
    }
    let expected = digest.as_ref().map(|digest| (digest, None));
    let ingest = state.layout.begin(expected, BLOB_MAX)?;
    if let Some(digest) = digest {
        let ingest = receive(ingest, request).await?;
        seal(ingest, &digest).await?;
        return Ok(created(&repository, &digest));
    }
    let id = state.uploads.insert(repository.clone(), ingest)?;
    Ok(progress(202, &repository, &id, 0))
}

pub(super) fn status(state: &State, repository: &str, id: &str) -> Result<Answer, Refusal> {
    let open = state.uploads.lock();
    let upload = open.get(id).filter(|upload| upload.repository == repository).ok_or_else(unknown)?;
    Ok(progress(204, repository, id, upload.written))
}

pub(super) async fn append(
    state: &State,
    repository: &str,
    id: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let ingest = state.uploads.take(repository, id)?;
    if let Some(start) = range_start(&request)
        && start != ingest.written()
    {
        let written = ingest.written();
        state.uploads.put_back(id, ingest);
        let answer = Refusal::new(416, "BLOB_UPLOAD_INVALID", "the piece does not follow the last one").into_answer();
        return Ok(answer::with(answer, RANGE, &range(written)));
    }
    match receive(ingest, request).await {
        Ok(ingest) => {
            let written = ingest.written();
            state.uploads.put_back(id, ingest);
            Ok(progress(202, repository, id, written))
        }
        Err(refusal) => {
            state.uploads.remove(id);
            Err(refusal)
        }
    }
}

pub(super) async fn finish(
    state: &State,
    repository: &str,
    id: &str,
    digest: Digest,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let ingest = state.uploads.take(repository, id)?;
    // Right or wrong, the upload ends here.
    state.uploads.remove(id);
    let ingest = receive(ingest, request).await?;
    seal(ingest, &digest).await?;
    Ok(created(repository, &digest))
}

pub(super) fn cancel(state: &State, id: &str) -> Result<Answer, Refusal> {
    state.uploads.remove(id).map(|_| answer::empty(204)).ok_or_else(unknown)
}

/// Moves a request's body into the upload, by a bounded queue to a thread that may block.
async fn receive(mut ingest: Ingest, request: Request<Incoming>) -> Result<Ingest, Refusal> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = receiver.blocking_recv() {
            ingest.write_all(&piece).map_err(Error::file("write upload", "upload"))?;
        }
        Ok::<_, Error>(ingest)
    });
    let mut body = request.into_body();
    let mut broken = false;
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(piece)) => {
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            Ok(Err(_trailers)) => {}
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    drop(sender);
    let ingest = writer.await.map_err(|_| Error::Thread { doing: "received a blob" })??;
    if broken { Err(Refusal::new(400, "BLOB_UPLOAD_INVALID", "the connection broke")) } else { Ok(ingest) }
}

async fn seal(ingest: Ingest, digest: &Digest) -> Result<(), Refusal> {
    let expected = digest.clone();
    let sealed = super::manifests::blocking(move || {
        let sealed = ingest.seal()?;
        if *sealed.digest() != expected {
            let reason = format!("the upload's digest is `{}`", sealed.digest());
            return Err(Error::Corrupt { digest: expected, reason });
        }
        sealed.publish()
    })
    .await;
    Ok(sealed.map(drop)?)
}

fn range_start(request: &Request<Incoming>) -> Option<u64> {
    let value = request.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    value.trim_start_matches("bytes ").split('-').next()?.trim().parse().ok()
}

/// `0-<last byte>`; the specification writes `0-0` for an upload that is still empty.
fn range(written: u64) -> String {
    format!("0-{}", written.saturating_sub(1))
}

fn progress(status: u16, repository: &str, id: &str, written: u64) -> Answer {
    let answer = answer::with(answer::empty(status), LOCATION, &format!("/v2/{repository}/blobs/uploads/{id}"));
    answer::with(answer::with(answer, UPLOAD_ID, id), RANGE, &range(written))
}

fn created(repository: &str, digest: &Digest) -> Answer {
    let answer = answer::with(answer::empty(201), LOCATION, &format!("/v2/{repository}/blobs/{digest}"));
    answer::with(answer, CONTENT_DIGEST, &digest.to_string())
}
