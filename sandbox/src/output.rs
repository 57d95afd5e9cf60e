//! A guest's standard streams as the doors see them: two-phase output that survives a killed reader, and a standard
//! input that stays open while the host is away.

use crate::error::Result;
use crate::{linux, wasm};

/// Which stream a chunk came from; the numbers are those of Docker's multiplexed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    Stdout = 1,
    Stderr = 2,
}

/// Some output that has been read but not yet consumed.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub stream: Stream,
    /// 1 byte to 64 KiB.
    pub bytes: Vec<u8>,
}

/// A guest's output in two phases: [`peek`](Output::peek), record it, [`consume`](Output::consume). A reader killed
/// between the two leaves the chunk for its successor, so at most one buffer is ever repeated and none is lost
/// (a terminal, which cannot be peeked, may lose one).
#[derive(Debug)]
pub enum Output {
    Linux(linux::Output),
    Wasm(wasm::Output),
}

impl Output {
    /// The next chunk; `None` when every stream has ended. Cancel safe.
    pub async fn peek(&mut self) -> Result<Option<Chunk>> {
        match self {
            Output::Linux(output) => output.peek().await,
            Output::Wasm(output) => output.peek().await,
        }
    }

    /// Lets go of the chunk last peeked, once it is recorded.
    pub async fn consume(&mut self) -> Result<()> {
        match self {
            Output::Linux(output) => output.consume().await,
            Output::Wasm(output) => output.consume().await,
        }
    }
}

/// A guest's standard input. The zygote or worker keeps a duplicate, so that the guest sees its end only by
/// [`close`](Stdin::close), never by the host going away. Dropping it closes nothing.
#[derive(Debug)]
pub enum Stdin {
    Linux(linux::Stdin),
    Wasm(wasm::Stdin),
}

impl Stdin {
    /// Writes all of `bytes`, waiting while the guest does not read.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Stdin::Linux(stdin) => stdin.write(bytes).await,
            Stdin::Wasm(stdin) => stdin.write(bytes).await,
        }
    }

    /// Ends the guest's standard input (half-close); a terminal stays open.
    pub async fn close(&mut self) -> Result<()> {
        match self {
            Stdin::Linux(stdin) => stdin.close().await,
            Stdin::Wasm(stdin) => stdin.close().await,
        }
    }
}
