//! Bodies: what answers carry, and requests read within bounds.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};

use crate::api::reply::Failure;

/// The largest JSON a request may bring.
const LARGEST: usize = 4 << 20;
/// How long a refused body is read on.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// An answer's body: whole, or as it comes.
pub enum Body {
    Whole(Option<Bytes>),
    Stream(BoxStream<'static, Bytes>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body {
    /// Nothing.
    pub(crate) fn empty() -> Body {
        Body::Whole(None)
    }

    /// What `stream` yields, sent at once; the head goes out before the first piece is there.
    pub(crate) fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        Body::Stream(Box::pin(stream))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Whole(Some(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// A request's whole body, within bounds.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, LARGEST).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => Err(Failure::bad_request(format!("read the request: {error}"))),
    }
}

/// A request's body as JSON; an empty one is the default.
pub(crate) async fn json<T: serde::de::DeserializeOwned + Default>(body: Incoming) -> Result<T, Failure> {
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| Failure::bad_request(format!("invalid JSON: {error}")))
}

/// A request's body for code that blocks, with a bounded number of pieces on their way.
pub(crate) struct Reader {
    pieces: tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>,
    current: Bytes,
}

impl Reader {
    /// Reads `body`; a task of its own fetches the pieces.
    pub(crate) fn new(mut body: Incoming) -> Reader {
        let (sender, pieces) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let piece = match frame {
                    Ok(frame) => frame.into_data().map(Ok).ok(),
                    Err(error) => Some(Err(std::io::Error::other(error))),
                };
                let Some(piece) = piece else { continue };
                if sender.send(piece).await.is_err() {
                    let _ = tokio::time::timeout(PATIENCE, read_on(body)).await;
                    return;
                }
            }
        });
        Reader { pieces, current: Bytes::new() }
    }
}

/// Reads a refused body on, within bounds: a client cut off while it writes sees a broken connection instead of the
/// sentence.
async fn read_on(mut body: Incoming) {
    let mut unread = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        unread = unread.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if unread > LARGEST {
            return;
        }
    }
}

impl std::io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}
