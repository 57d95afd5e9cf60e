//! How fast an answer must come. A registry that falls silent is given up by the time between two pieces; one that sends a byte
//! now and then would hold a pull, and whoever waits for it, for as long as it likes.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::Instant;

/// An answer that brings fewer than `least` bytes while it is waited for `window` long is given up; its head has twice as long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) window: Duration,
    pub(super) least: u64,
}

impl Default for Pace {
    /// 1 KiB a second, far below any line that images can be fetched over.
    fn default() -> Pace {
        Pace { window: Duration::from_secs(60), least: 60 << 10 }
    }
}

/// Why no further piece came.
#[derive(Debug)]
pub(super) enum Halt {
    Slow,
    Broken(reqwest::Error),
}

impl Pace {
    /// Waits for an answer's head.
    pub(super) async fn head(self, head: impl Future<Output = reqwest::Result<Response>>) -> Result<Response, Halt> {
        match tokio::time::timeout(self.window * 2, head).await {
            Ok(answered) => answered.map_err(Halt::Broken),
            Err(_) => Err(Halt::Slow),
        }
    }
}

/// An answer's body, piece by piece.
#[derive(Debug)]
pub(super) struct Pieces {
    response: Response,
    pace: Pace,
    /// Spent waiting for the registry, and what came of it, since the last look; what becomes of a piece takes its own time.
    waited: Duration,
    brought: u64,
}

impl Pieces {
    pub(super) fn of(response: Response, pace: Pace) -> Pieces {
        Pieces { response, pace, waited: Duration::ZERO, brought: 0 }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Halt> {
        let began = Instant::now();
        let piece = self.response.chunk().await.map_err(Halt::Broken)?;
        self.waited += began.elapsed();
        self.brought += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.waited >= self.pace.window && piece.is_some() {
            if self.brought < self.pace.least {
                return Err(Halt::Slow);
            }
            (self.waited, self.brought) = (Duration::ZERO, 0);
        }
        Ok(piece)
    }
}
