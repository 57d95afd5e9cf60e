//! Blobs on their way out: `/v2/<name>/blobs/<digest>`.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc;

use super::State;
use super::answer::{self, Answer, CONTENT_DIGEST, Refusal};
use super::manifests::blocking;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Error;

const PIECE: usize = 128 << 10;
const QUEUE: usize = 8;

pub(super) async fn get(state: &State, digest: Digest) -> Result<Answer, Refusal> {
    let layout = state.layout.clone();
    let wanted = digest.clone();
    let (size, reader) = blocking(move || {
        let size = layout.blob_size(&wanted).ok_or_else(|| Error::NoBlob { digest: wanted.clone() })?;
        Ok((size, layout.open_blob(&Descriptor::new("", wanted, size))?))
    })
    .await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    // Ends when the client has gone, for then nobody receives.
    tokio::task::spawn_blocking(move || send_all(reader, &sender));
    let frames =
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) });
    let mut answer = answer::stream(200, size, StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(answer::with(answer, CONTENT_DIGEST, &digest.to_string()))
}

/// A blob that proves corrupt breaks the connection off: the client has been promised the size.
fn send_all(mut reader: impl Read, sender: &mpsc::Sender<io::Result<Frame<Bytes>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let sent = match reader.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                sender.blocking_send(Ok(Frame::data(piece.into())))
            }
            Err(error) => sender.blocking_send(Err(error)),
        };
        if sent.is_err() {
            return;
        }
    }
}
