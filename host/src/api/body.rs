//! Bodies: what answers carry, and requests read within bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::reply::Failure;

/// The largest JSON a request may bring.
const LARGEST: usize = 4 << 20;
/// How long a body that code which blocks waits for may be silent: each of them holds a thread.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(600);
/// How long a refused body is read on.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// An answer's body: whole, or as it comes.
pub enum Body {
    Whole(Option<Bytes>),
    Stream(BoxStream<'static, Bytes>),
    /// One that can break off: the connection ends then, so that nobody takes half of it for all.
    Fallible(BoxStream<'static, io::Result<Bytes>>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Body::Stream(_) | Body::Fallible(_) => f.write_str("Stream"),
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

    /// Keeps `guard` until the last piece is taken.
    #[must_use]
    pub fn with(self, guard: impl Send + 'static) -> Body {
        match self {
            Body::Whole(bytes) => Body::Whole(bytes),
            Body::Stream(stream) => Body::stream(stream.inspect(move |_| {
                let _held = &guard;
            })),
            Body::Fallible(stream) => Body::Fallible(Box::pin(stream.inspect(move |_| {
                let _held = &guard;
            }))),
        }
    }

    /// What `write` writes, where blocking is allowed, as it comes. What it fails with breaks the connection off.
    pub(crate) fn written(write: impl FnOnce(&mut Writer) -> Result<(), String> + Send + 'static) -> Body {
        let (sender, receiver) = tokio::sync::mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            let mut writer = Writer { sender, piece: Vec::with_capacity(PIECE) };
            let written = write(&mut writer).and_then(|()| io::Write::flush(&mut writer).map_err(|e| e.to_string()));
            if let Err(sentence) = written
                && !writer.sender.is_closed()
            {
                // The head has gone out with 200: the log is where it can still be said.
                tracing::error!("an answer was broken off: {sentence}");
                let _ = writer.sender.blocking_send(Err(io::Error::other(sentence)));
            }
        });
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Body::Fallible(Box::pin(pieces))
    }
}

/// Bytes that are sent at once, and pieces between whoever writes and the client.
const PIECE: usize = 128 << 10;
const PIECES: usize = 8;
/// How long a client may take none of it; whoever writes may hold what others wait for.
pub(crate) const STALLED: std::time::Duration = std::time::Duration::from_secs(120);

/// The end of a body that is written by code that blocks.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: tokio::sync::mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = tokio::time::timeout(STALLED, self.sender.send(Ok(piece.into())));
        match tokio::runtime::Handle::current().block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped taking it")),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Whole(Some(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Fallible(stream) => {
                stream.as_mut().poll_next(context).map(|next| next.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Body::Stream(_) | Body::Fallible(_) => SizeHint::default(),
        }
    }
}

/// A request's body. What nobody has read of it is read on, within bounds, when it is dropped: a client that is refused
/// while it still writes would see a broken connection instead of the sentence.
#[derive(Debug)]
pub(crate) struct Sent(Option<Incoming>);

impl From<Incoming> for Sent {
    fn from(body: Incoming) -> Sent {
        Sent(Some(body))
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), hyper::body::Body::size_hint)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !hyper::body::Body::is_end_stream(body)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(PATIENCE, read_on(body)));
        }
    }
}

/// The time is what bounds it: reading costs no memory, and an archive's first megabytes say nothing of its length.
async fn read_on(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// A request's whole body, within bounds.
pub(crate) async fn read(body: Sent) -> Result<Bytes, Failure> {
    match Limited::new(body, LARGEST).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure {
            status: hyper::StatusCode::PAYLOAD_TOO_LARGE,
            message: format!("the request's body is longer than {LARGEST} bytes"),
        }),
        Err(error) => Err(Failure::bad_request(format!("read the request: {error}"))),
    }
}

/// A request's body as JSON; an empty one is the default.
pub(crate) async fn json<T: serde::de::DeserializeOwned + Default>(body: Sent) -> Result<T, Failure> {
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| Failure::bad_request(format!("invalid JSON: {error}")))
}

/// A request's body for code that blocks, with a bounded number of pieces on their way.
pub(crate) struct Reader {
    pieces: tokio::sync::mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    _room: Option<SemaphorePermit<'static>>,
}

/// Uploads that are read at once by code that blocks. Each holds a thread, of which there are 512, and a client may be silent
/// for long: the others wait for their turn without one.
static UPLOADS: Semaphore = Semaphore::const_new(64);

impl Reader {
    /// Reads `body` once there is room for one more upload; a task of its own fetches the pieces.
    pub(crate) async fn in_turn(body: Sent) -> Reader {
        let room = UPLOADS.acquire().await.ok();
        Reader { _room: room, ..Reader::within(SILENCE, body) }
    }

    /// The same from a client that has `patience` to send each piece: whoever reads may hold what others wait for.
    pub(crate) fn within(patience: std::time::Duration, mut body: Sent) -> Reader {
        let (sender, pieces) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            loop {
                let piece = match tokio::time::timeout(patience, body.frame()).await {
                    Ok(None) => return,
                    Ok(Some(Ok(frame))) => frame.into_data().map(Ok).ok(),
                    Ok(Some(Err(error))) => Some(Err(std::io::Error::other(error))),
                    Err(_) => Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped sending"))),
                };
                let Some(piece) = piece else { continue };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Reader { pieces, current: Bytes::new(), _room: None }
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
