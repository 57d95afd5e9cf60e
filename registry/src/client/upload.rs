//! One blob from the store to a registry: not sent where it is already, mounted from another repository of the registry
//! where the store knows it to be, else uploaded; a long one in pieces, of which a lost one is sent again.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use reqwest::header::{CONTENT_LENGTH, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::sync::mpsc;

use super::transport::{Ask, Remote};
use super::{Progress, Status, event};
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::layout::Layout;

const QUEUE: usize = 8;
const READ: usize = 128 << 10;
/// The largest piece a registry may ask for.
const PIECE_MAX: u64 = 1 << 30;
/// Lost pieces in a row that are sent again.
const FAILURES_MAX: u32 = 5;
const PATIENCE: Duration = Duration::from_millis(200);

/// Where blobs come from and go to.
pub(super) struct Upload<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) layout: &'a Layout,
    pub(super) piece: u64,
    /// `None` for what nobody wants to hear of.
    pub(super) progress: Option<&'a Progress>,
}

impl Upload<'_> {
    /// Brings `blob` to the registry; `from` is another repository there that may have it.
    pub(super) async fn blob(&self, blob: &Descriptor, from: Option<&str>) -> Result<()> {
        let asked =
            self.remote.send(Ask::new(Method::HEAD, self.remote.url(&format!("blobs/{}", blob.digest))?)).await?;
        if asked.status().is_success() {
            self.tell(blob, Status::LayerAlreadyExists);
            return Ok(());
        }
        let mut response = match from {
            Some(from) => {
                let mut url = self.remote.url("blobs/uploads/")?;
                url.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", from);
                self.begin(url).await?
            }
            None => self.begin(self.remote.url("blobs/uploads/")?).await?,
        };
        if from.is_some() && response.status() == StatusCode::CREATED {
            self.tell(blob, Status::Mounted);
            return Ok(());
        }
        // A registry that will not mount may also refuse to be asked.
        if from.is_some() && response.status() != StatusCode::ACCEPTED {
            response = self.begin(self.remote.url("blobs/uploads/")?).await?;
        }
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.remote.answer(response).await);
        }
        let location = self.remote.location(&response, &self.remote.url("blobs/uploads/")?)?;
        let least = response.headers().get("oci-chunk-min-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let piece = self.piece.max(least.unwrap_or(0)).min(PIECE_MAX);
        match blob.size > piece {
            false => self.whole(blob, location).await?,
            true => self.pieces(blob, location, piece).await?,
        }
        self.tell(blob, Status::Pushed);
        Ok(())
    }

    fn tell(&self, blob: &Descriptor, status: Status) {
        if let Some(progress) = self.progress {
            progress(event(&blob.digest, status));
        }
    }

    async fn begin(&self, url: Url) -> Result<Response> {
        self.remote.send(Ask::new(Method::POST, url).header(CONTENT_LENGTH, "0")).await
    }

    async fn whole(&self, blob: &Descriptor, location: Url) -> Result<()> {
        let url = with_digest(location, blob);
        let response = self.send(Method::PUT, &url, blob, (0, blob.size), false).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.remote.answer(response).await) }
    }

    /// PATCH after PATCH (distribution-spec, "pushing a blob in chunks"), each where the last one ended by the
    /// registry's own account.
    async fn pieces(&self, blob: &Descriptor, mut location: Url, piece: u64) -> Result<()> {
        let (mut sent, mut failures) = (0, 0);
        while sent < blob.size {
            let end = sent.saturating_add(piece).min(blob.size);
            let lost = match self.send(Method::PATCH, &location, blob, (sent, end), true).await {
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    let has = has(&response).unwrap_or(end);
                    if has <= sent || has > end {
                        return Err(self.remote.protocol(format!("has {has} bytes of a blob after {end} were sent")));
                    }
                    (sent, failures) = (has, 0);
                    location = self.next_location(&response, location)?;
                    continue;
                }
                Ok(response) if response.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                    self.remote.answer(response).await
                }
                Ok(response) => return Err(self.remote.answer(response).await),
                Err(error @ Error::Request { .. }) => error,
                Err(error) => return Err(error),
            };
            failures += 1;
            if failures >= FAILURES_MAX {
                return Err(lost);
            }
            tokio::time::sleep(PATIENCE * failures).await;
            // Whatever arrived of it: the registry says where to go on.
            let Ok(response) = self.remote.send(Ask::new(Method::GET, location.clone())).await else { continue };
            if !response.status().is_success() {
                return Err(lost);
            }
            sent = has(&response).unwrap_or(0).min(blob.size);
            location = self.next_location(&response, location)?;
        }
        let ask = Ask::new(Method::PUT, with_digest(location, blob)).header(CONTENT_LENGTH, "0");
        let response = self.remote.send(ask).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.remote.answer(response).await) }
    }

    fn next_location(&self, response: &Response, last: Url) -> Result<Url> {
        if response.headers().contains_key(reqwest::header::LOCATION) {
            return self.remote.location(response, &last);
        }
        Ok(last)
    }

    /// Sends a part of the blob; once more when a token has run out meanwhile.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        blob: &Descriptor,
        part: (u64, u64),
        is_piece: bool,
    ) -> Result<Response> {
        let size = part.1 - part.0;
        let range = is_piece.then_some(part);
        let body = || self.body(blob, part);
        let response = self.remote.send_stream(method.clone(), url, size, range, body()?).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.remote.authenticate(&response).await?.changed {
            return Ok(response);
        }
        self.remote.send_stream(method, url, size, range, body()?).await
    }

    /// A part of the blob as a body; the whole breaks off where the store's content turns out to be corrupt.
    fn body(&self, blob: &Descriptor, (start, end): (u64, u64)) -> Result<Body> {
        let reader: Box<dyn Read + Send> = if (start, end) == (0, blob.size) {
            Box::new(self.layout.open_blob(blob)?)
        } else {
            let mut file = self.layout.open_file(&blob.digest)?;
            file.seek(SeekFrom::Start(start)).map_err(Error::file("seek in blob", self.layout.path()))?;
            Box::new(file.take(end - start))
        };
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
        let (digest, total, progress) = (blob.digest.clone(), blob.size, self.progress.cloned());
        let told = move |done| {
            if let Some(progress) = &progress {
                progress(event(&digest, Status::Pushing { done, total }));
            }
        };
        tokio::task::spawn_blocking(move || read_out(reader, start, &told, &sender));
        let pieces =
            stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) });
        Ok(Body::wrap_stream(pieces.boxed()))
    }
}

fn read_out(mut reader: impl Read, mut done: u64, told: &dyn Fn(u64), sender: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; READ];
        let sent = match reader.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                done += count as u64;
                piece.truncate(count);
                told(done);
                sender.blocking_send(Ok(piece.into()))
            }
            Err(error) => sender.blocking_send(Err(error)),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn with_digest(mut location: Url, blob: &Descriptor) -> Url {
    location.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
    location
}

/// How many bytes of an upload a registry has, by `Range: 0-LAST`; an upload that is empty says `0-0`.
fn has(response: &Response) -> Option<u64> {
    let value = response.headers().get(RANGE)?.to_str().ok()?;
    let last: u64 = value.trim_start_matches("bytes=").strip_prefix("0-")?.trim().parse().ok()?;
    Some(if last == 0 { 0 } else { last.saturating_add(1) })
}
