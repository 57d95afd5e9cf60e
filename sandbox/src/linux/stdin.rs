//! The host's end of a guest's standard input.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Sandbox;
use crate::error::{Error, Kind, Result};

/// A pipe's write end or a terminal's master.
#[derive(Debug)]
pub(super) struct End {
    fd: AsyncFd<OwnedFd>,
    terminal: bool,
}

impl End {
    pub(super) fn pipe(fd: OwnedFd) -> Result<End> {
        End::new(fd, false)
    }

    pub(super) fn terminal(fd: OwnedFd) -> Result<End> {
        End::new(fd, true)
    }

    fn new(fd: OwnedFd, terminal: bool) -> Result<End> {
        let fd = super::watch(fd, Interest::WRITABLE);
        let fd = fd.map_err(|error| Error::new(Kind::Failed, "watch a standard input").caused_by(error))?;
        Ok(End { fd, terminal })
    }
}

/// A guest's standard input; dropping it closes nothing.
#[derive(Debug)]
pub struct Stdin {
    end: Option<Arc<End>>,
    sandbox: Sandbox,
}

impl Stdin {
    pub(super) fn new(end: Arc<End>, sandbox: Sandbox) -> Stdin {
        Stdin { end: Some(end), sandbox }
    }

    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let closed = |sandbox: &Sandbox| Error::new(Kind::Conflict, format!("`{}` no longer reads", sandbox.id()));
        let Some(end) = &self.end else { return Err(closed(&self.sandbox)) };
        while !bytes.is_empty() {
            let written = end.fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)).await;
            match written {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => return Err(closed(&self.sandbox).caused_by(error)),
            }
        }
        Ok(())
    }

    pub(crate) async fn close(&mut self) -> Result<()> {
        match self.end.take() {
            Some(end) if !end.terminal => {
                drop(end);
                self.sandbox.close_stdin().await
            }
            end => {
                self.end = end;
                Ok(())
            }
        }
    }
}
