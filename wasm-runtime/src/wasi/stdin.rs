//! A guest's standard input from a pipe: read ahead by one buffer, shared by all streams the guest opens on it.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use crate::descriptor::watch;
use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// Read at once, in bytes: a pipe's default capacity.
const CHUNK: usize = 64 << 10;

/// The read end of a guest's standard input.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    source: Arc<Source>,
    terminal: bool,
}

#[derive(Debug)]
struct Source {
    handle: AsyncFd<OwnedFd>,
    ahead: Mutex<Ahead>,
}

#[derive(Debug, Default)]
struct Ahead {
    bytes: BytesMut,
    ended: Option<io::Result<()>>,
}

impl Input {
    /// Reads from `handle`, which becomes non-blocking. Must be called on a tokio runtime.
    pub(crate) fn new(handle: OwnedFd, terminal: bool) -> io::Result<Input> {
        let handle = watch(handle, Interest::READABLE)?;
        Ok(Input { source: Arc::new(Source { handle, ahead: Mutex::default() }), terminal })
    }
}

impl Source {
    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until bytes are there or the end is known.
    fn poll_filled(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut ahead = self.ahead();
            if !ahead.bytes.is_empty() || ahead.ended.is_some() {
                return Poll::Ready(());
            }
            let mut guard = match ready!(self.handle.poll_read_ready(context)) {
                Ok(guard) => guard,
                Err(error) => {
                    ahead.ended = Some(Err(error));
                    return Poll::Ready(());
                }
            };
            let mut chunk = vec![0; CHUNK];
            match rustix::io::read(&self.handle, &mut chunk) {
                // A terminal whose other end is gone answers EIO.
                Ok(0) | Err(Errno::IO) => ahead.ended = Some(Ok(())),
                Ok(length) => ahead.bytes.extend_from_slice(&chunk[..length]),
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(errno) => ahead.ended = Some(Err(errno.into())),
            }
        }
    }

    fn take(&self, most: usize) -> Result<Bytes, Option<io::Error>> {
        let mut ahead = self.ahead();
        if !ahead.bytes.is_empty() {
            let length = most.min(ahead.bytes.len());
            return Ok(ahead.bytes.split_to(length).freeze());
        }
        match ahead.ended.take() {
            None => Ok(Bytes::new()),
            Some(end) => {
                ahead.ended = Some(Ok(()));
                Err(end.err())
            }
        }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.source.poll_filled(context)).await;
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.source.take(size.min(CHUNK)).map_err(|end| match end {
            None => StreamError::Closed,
            Some(error) => StreamError::LastOperationFailed(error.into()),
        })
    }
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.source.poll_filled(context));
        Poll::Ready(match self.source.take(buffer.remaining()) {
            Ok(bytes) => {
                buffer.put_slice(&bytes);
                Ok(())
            }
            Err(None) => Ok(()),
            Err(Some(error)) => Err(error),
        })
    }
}
