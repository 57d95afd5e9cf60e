//! Blobs on their way out: `/v2/<name>/blobs/<digest>`.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc;

use super::State;
use super::answer::{self, Answer, CONTENT_DIGEST, Refusal};
use super::manifests::blocking;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Error;

const PIECE: usize = 128 << 10;
const QUEUE: usize = 8;

pub(super) async fn get(state: &State, digest: Digest, range: Option<&HeaderValue>) -> Result<Answer, Refusal> {
    let layout = state.layout.clone();
    let wanted = digest.clone();
    let (size, mut reader) = blocking(move || {
        let size = layout.blob_size(&wanted).ok_or_else(|| Error::NoBlob { digest: wanted.clone() })?;
        Ok((size, layout.open_blob(&Descriptor::new("", wanted, size))?))
    })
    .await?;
    let part = match range.map(|value| part_of(value, size)) {
        None | Some(Part::Whole) => None,
        Some(Part::Some(start, end)) => Some((start, end)),
        Some(Part::Nothing) => {
            let answer = Refusal::new(416, "SIZE_INVALID", "the blob has no such range").into_answer();
            return Ok(answer::with(answer, CONTENT_RANGE, &format!("bytes */{size}")));
        }
    };
    let (start, end) = part.unwrap_or((0, size));
    let (sender, receiver) = mpsc::channel(QUEUE);
    // Ends when the client has gone, for then nobody receives. All of the blob is read, for all of it is verified.
    tokio::task::spawn_blocking(move || match io::copy(&mut (&mut reader).take(start), &mut io::sink()) {
        Ok(_) if end == size => send_all(reader, &sender),
        Ok(_) => send_all(reader.take(end - start), &sender),
        Err(error) => drop(sender.blocking_send(Err(error))),
    });
    let frames =
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) });
    let status = if part.is_some() { 206 } else { 200 };
    let mut answer = answer::stream(status, end - start, StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some((start, end)) = part {
        answer = answer::with(answer, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
    }
    Ok(answer::with(answer, CONTENT_DIGEST, &digest.to_string()))
}

/// What a Range header asks for of a blob.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Not understood, so not heeded (RFC 9110, section 14.2).
    Whole,
    /// From the first byte to before the second; not empty.
    Some(u64, u64),
    Nothing,
}

/// `bytes=FROM-`, `bytes=FROM-LAST` or `bytes=-COUNT`.
fn part_of(value: &HeaderValue, size: u64) -> Part {
    let text = value.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes="));
    let Some((from, last)) = text.filter(|text| !text.contains(',')).and_then(|text| text.split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (number(from), number(last)) {
        (Some(from), Some(last)) if last >= from => (from, last.saturating_add(1).min(size)),
        (Some(from), None) if last.trim().is_empty() => (from, size),
        (None, Some(count)) if from.trim().is_empty() => (size.saturating_sub(count), size),
        _ => return Part::Whole,
    };
    if start < end { Part::Some(start, end) } else { Part::Nothing }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let check = |text: &str, expected: Part| {
            assert_eq!(part_of(&HeaderValue::from_str(text).unwrap(), 10), expected, "{text}");
        };
        check("bytes=0-", Part::Some(0, 10));
        check("bytes=4-5", Part::Some(4, 6));
        check("bytes=4-99", Part::Some(4, 10));
        check("bytes=-3", Part::Some(7, 10));
        check("bytes=10-", Part::Nothing);
        check("bytes=-0", Part::Nothing);
        for text in ["bytes=0-1,3-4", "lines=1-2", "bytes=5-4", "bytes=a-b", "bytes=-", ""] {
            check(text, Part::Whole);
        }
    }
}
