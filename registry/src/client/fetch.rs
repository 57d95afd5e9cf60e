//! One blob from a registry into the store: fetched by one pull at a time, gone on with where it was broken off (RFC 9110,
//! section 14: ranges), and verified whole whatever its parts came from.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::pace::Pieces;
use super::transport::{Ask, Remote};
use super::{Status, blocking};
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::gc::Lease;
use crate::layout::Ingest;
use crate::store::Store;

/// Pieces of one blob between network and disk.
const QUEUE: usize = 16;
/// Broken connections in a row that are borne; one that brought this much does not count.
const FAILURES_MAX: u32 = 5;
const PROGRESS_MIN: u64 = 1 << 20;
/// Before the second attempt; longer before each later one.
const PATIENCE: Duration = Duration::from_millis(200);
/// The largest blob that is fetched.
const BLOB_MAX: u64 = 64 << 30;

/// Where blobs come from and go to.
pub(super) struct Fetch<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) store: &'a Store,
    pub(super) lease: &'a Arc<Lease>,
}

/// One attempt: the blob is in the store, or here is what was written and why it ended.
enum Attempt {
    Done,
    Broken(Box<Ingest>, Error),
}

impl Fetch<'_> {
    /// Brings `blob` into the store; tells whether it was not there before.
    pub(super) async fn blob(&self, blob: &Descriptor, report: &(dyn Fn(Status) + Send + Sync)) -> Result<bool> {
        self.lease.protect(&blob.digest);
        if self.store.layout().is_whole(blob) {
            report(Status::AlreadyExists);
            return Ok(false);
        }
        if !blob.urls.is_empty() {
            // CVE-2020-15157: what a manifest names outside its registry is not asked for, with or without credentials.
            let reason = format!("offers blob `{}` elsewhere; foreign layers are not taken in", blob.digest);
            return Err(self.remote.protocol(reason));
        }
        if blob.size > BLOB_MAX {
            let name = blob.digest.to_string();
            return Err(Error::TooLarge { what: "blob", name, size: blob.size, limit: BLOB_MAX });
        }
        let turn = self.store.downloads().of(&blob.digest);
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                report(Status::Waiting);
                turn.lock().await
            }
        };
        if self.store.layout().is_whole(blob) {
            // Another pull has brought it meanwhile.
            report(Status::DownloadComplete);
            return Ok(true);
        }
        self.all_of(blob, report).await?;
        report(Status::DownloadComplete);
        Ok(true)
    }

    async fn all_of(&self, blob: &Descriptor, report: &(dyn Fn(Status) + Send + Sync)) -> Result<()> {
        let (layout, digest, size) = (self.store.layout().clone(), blob.digest.clone(), blob.size);
        let mut ingest = blocking("opened a blob", move || layout.go_on(&digest, size)).await?;
        let resumed = ingest.written() > 0;
        let mut failures = 0;
        loop {
            let before = ingest.written();
            match self.attempt(blob, ingest, report).await {
                Ok(Attempt::Done) => return Ok(()),
                // What an earlier attempt left was not the beginning of this blob: once more from the start.
                Err(Error::Corrupt { .. }) if resumed && failures == 0 => {
                    failures = 1;
                    let (layout, digest) = (self.store.layout().clone(), blob.digest.clone());
                    ingest = blocking("opened a blob", move || layout.go_on(&digest, size)).await?;
                }
                Err(error) => return Err(error),
                Ok(Attempt::Broken(left, error)) => {
                    let has_grown = left.written() >= before.saturating_add(PROGRESS_MIN);
                    failures = if has_grown { 1 } else { failures + 1 };
                    if failures >= FAILURES_MAX {
                        return Err(error);
                    }
                    ingest = *left;
                    tokio::time::sleep(PATIENCE * failures).await;
                }
            }
        }
    }

    async fn attempt(
        &self,
        blob: &Descriptor,
        mut ingest: Ingest,
        report: &(dyn Fn(Status) + Send + Sync),
    ) -> Result<Attempt> {
        if ingest.written() < blob.size || blob.size == 0 {
            let asked = self.ask(blob, ingest.written()).await;
            let response = match asked {
                Err(error @ Error::Request { .. }) => return Ok(Attempt::Broken(Box::new(ingest), error)),
                asked => asked?,
            };
            // A server that does not do ranges sends all of it.
            if response.status() != StatusCode::PARTIAL_CONTENT && ingest.written() > 0 {
                ingest.restart()?;
            }
            let (left, broken) = self.stream(blob, ingest, response, report).await?;
            if let Some(error) = broken {
                return Ok(Attempt::Broken(Box::new(left), error));
            }
            ingest = left;
        }
        report(Status::Verifying);
        blocking("stored a blob", move || ingest.seal()?.publish().map(drop)).await?;
        Ok(Attempt::Done)
    }

    /// The answer that goes on at byte `from`, or one with the whole blob.
    async fn ask(&self, blob: &Descriptor, from: u64) -> Result<Response> {
        let url = self.remote.url(&format!("blobs/{}", blob.digest))?;
        let whole = || Ask::new(Method::GET, url.clone());
        let ask = if from > 0 { whole().header(RANGE, &format!("bytes={from}-")) } else { whole() };
        let mut response = self.remote.send(ask).await?;
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT && starts_at(&response) == Some(from);
        if from > 0 && !goes_on && response.status() != StatusCode::OK {
            response = self.remote.send(whole()).await?;
        }
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::PARTIAL_CONTENT if goes_on => Ok(response),
            status if status.is_success() => {
                Err(self.remote.protocol(format!("answered {} for blob `{}`", status.as_u16(), blob.digest)))
            }
            _ => Err(self.remote.answer(response).await),
        }
    }

    /// Writes an answer's body; gives back what was written, and why it broke off if it did.
    async fn stream(
        &self,
        blob: &Descriptor,
        ingest: Ingest,
        response: Response,
        report: &(dyn Fn(Status) + Send + Sync),
    ) -> Result<(Ingest, Option<Error>)> {
        let (url, total) = (response.url().clone(), blob.size);
        let mut done = ingest.written();
        let mut pieces = Pieces::of(response, self.remote.transport.pace);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write_all(ingest, receiver));
        let broken = loop {
            match pieces.next().await {
                Ok(Some(chunk)) => {
                    done += chunk.len() as u64;
                    report(Status::Downloading { done: done.min(total), total });
                    // The writer ends early only with an error, which it gives back below.
                    if sender.send(chunk).await.is_err() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(halt) => break Some(self.remote.halted(&url, halt)),
            }
        };
        drop(sender);
        let ingest = writer.await.map_err(|_| Error::Thread { doing: "wrote a blob" })??;
        Ok((ingest, broken))
    }
}

/// `bytes FROM-TO/SIZE`
fn starts_at(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn write_all(mut ingest: Ingest, mut chunks: mpsc::Receiver<Bytes>) -> Result<Ingest> {
    while let Some(chunk) = chunks.blocking_recv() {
        ingest.write_all(&chunk).map_err(Error::file("write blob", "store"))?;
    }
    Ok(ingest)
}
