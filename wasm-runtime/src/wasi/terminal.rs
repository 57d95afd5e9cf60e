//! A guest's terminal: its own end, non-blocking, as output; as input it is an [`Input`](super::Input).

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::descriptor::watch;

/// The output side of a terminal; clones write to the same one.
#[derive(Debug, Clone)]
pub(crate) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    /// Writes to `handle`, which becomes non-blocking. Must be called on a tokio runtime.
    pub(crate) fn new(handle: OwnedFd) -> io::Result<Terminal> {
        Ok(Terminal(Arc::new(watch(handle, Interest::WRITABLE)?)))
    }

    /// Writes what fits without waiting: last words of a guest whose reader may be gone.
    pub(crate) fn write_last(&self, text: &str) {
        // Terminals want carriage returns; the line discipline adds them.
        let _ = rustix::io::write(&*self.0, text.as_bytes());
    }
}

impl IsTerminal for Terminal {
    fn is_terminal(&self) -> bool {
        true
    }
}

impl StdoutStream for Terminal {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match rustix::io::write(&*self.0, bytes) {
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                other => return Poll::Ready(other.map_err(io::Error::from)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
