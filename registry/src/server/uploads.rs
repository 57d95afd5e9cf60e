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
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
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

/// How long a body may be silent before its request is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

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
    fn take<'a>(&'a self, repository: &str, id: &'a str) -> Result<(Taken<'a>, Ingest), Refusal> {
        let mut open = self.lock();
        let upload = open.get_mut(id).filter(|upload| upload.repository == repository).ok_or_else(unknown)?;
        let busy = || Refusal::new(409, "BLOB_UPLOAD_INVALID", "another request writes to the upload");
        let ingest = upload.ingest.take().ok_or_else(busy)?;
        Ok((Taken { uploads: self, id, gone: true }, ingest))
    }

    fn remove(&self, id: &str) -> Option<Upload> {
        self.lock().remove(id)
    }
}

/// An upload that a request has taken out. One that is not put back, be it that the client went away, is forgotten: its
/// content is gone.
#[derive(Debug)]
struct Taken<'a> {
    uploads: &'a Uploads,
    id: &'a str,
    gone: bool,
}

impl Taken<'_> {
    fn put_back(mut self, ingest: Ingest) {
        if let Some(upload) = self.uploads.lock().get_mut(self.id) {
            upload.written = ingest.written();
            upload.touched = Instant::now();
            upload.ingest = Some(ingest);
        }
        self.gone = false;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.gone {
            self.uploads.remove(self.id);
        }
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
    let (taken, ingest) = state.uploads.take(repository, id)?;
    if !follows(request.headers(), ingest.written()) {
        let written = ingest.written();
        taken.put_back(ingest);
        let answer = Refusal::new(416, "BLOB_UPLOAD_INVALID", "the piece does not follow the last one").into_answer();
        return Ok(answer::with(answer, RANGE, &range(written)));
    }
    let ingest = receive(ingest, request).await?;
    let written = ingest.written();
    taken.put_back(ingest);
    Ok(progress(202, repository, id, written))
}

pub(super) async fn finish(
    state: &State,
    repository: &str,
    id: &str,
    digest: Digest,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (taken, ingest) = state.uploads.take(repository, id)?;
    // Right or wrong, the upload ends here.
    drop(taken);
    let ingest = receive(ingest, request).await?;
    seal(ingest, &digest).await?;
    Ok(created(repository, &digest))
}

pub(super) fn cancel(state: &State, repository: &str, id: &str) -> Result<Answer, Refusal> {
    // Taken out like for any other request, and then not put back.
    state.uploads.take(repository, id).map(|_| answer::empty(204))
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
    let mut silent = false;
    loop {
        let frame = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_elapsed) => {
                silent = true;
                break;
            }
        };
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
    if silent {
        return Err(Refusal::new(408, "BLOB_UPLOAD_INVALID", "the upload's body was silent for too long"));
    }
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

/// Whether the piece that a request announces begins where the last one ended and is as long as it says; a piece without a
/// range follows whatever came before. `<first>-<last>` in the distribution specification, `bytes <first>-<last>/<of>`
/// in HTTP's.
fn follows(headers: &HeaderMap, written: u64) -> bool {
    let Some(value) = headers.get(CONTENT_RANGE) else { return true };
    let range = value.to_str().ok().and_then(|text| {
        let text = text.trim_start_matches("bytes ");
        let (first, last) = text.split_once('/').map_or(text, |(range, _)| range).split_once('-')?;
        Some((first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?))
    });
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    range.is_some_and(|(first, last)| {
        let length = last.checked_sub(first).and_then(|length| length.checked_add(1));
        first == written && length.is_some() && announced.is_none_or(|announced| length == Some(announced))
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn a_piece_that_does_not_follow_is_told_from_one_that_does() {
        let check = |range: &str, length: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            assert_eq!(follows(&headers, 6), expected, "{range}");
        };
        check("6-9", "4", true);
        check("bytes 6-9/100", "4", true);
        for range in ["7-10", "3-5", "9-6", "x", "-6-9", "6-", "6-18446744073709551615", "6-8"] {
            check(range, "4", false);
        }
        assert!(follows(&HeaderMap::new(), 6));
    }

    #[test]
    fn an_upload_whose_request_was_dropped_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(&folder.path().join("layout")).unwrap();
        let uploads = Uploads::default();
        let begin = || uploads.insert("a".to_owned(), layout.begin(None, BLOB_MAX).unwrap());
        let id = begin().unwrap();
        let (taken, ingest) = uploads.take("a", &id).unwrap();
        assert!(uploads.take("a", &id).is_err(), "a second writer is refused");
        taken.put_back(ingest);
        drop(uploads.take("a", &id).unwrap());
        assert!(uploads.take("a", &id).is_err(), "its content is gone");
        for _ in 0..=OPEN_MAX {
            drop(uploads.take("a", &begin().unwrap()).unwrap());
        }
    }
}
