//! A guest's output between the guest and the host: bounded, kept until the host says it is recorded.
//!
//! ```text
//!   push -> pending --take--> sent --acknowledge--> gone
//!                     ^         |
//!                     '-rewind--'   a new host gets what the last one did not acknowledge
//! ```
//! One ring holds both streams, so that their order survives. When it is full the guest waits; nothing is dropped.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::protocol::Stream;

/// Bytes a guest may be ahead of its reader.
pub(crate) const CAPACITY: usize = 256 << 10;

/// Largest frame, in bytes; two make the host's buffers, one packet carries one.
pub(crate) const FRAME: usize = 60 << 10;

/// Output as it goes to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) stream: Stream,
    pub(crate) bytes: Bytes,
}

/// See the module.
pub(crate) struct Ring {
    state: Mutex<State>,
    /// Tells the connection's sender that there is something to take.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    pending: VecDeque<(Stream, BytesMut)>,
    sent: VecDeque<Frame>,
    /// The host that may take, and how many of `sent` it has taken.
    host: u64,
    taken: usize,
    held: usize,
    next: u64,
    waiting: Vec<Waker>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("held", &self.state().held).finish_non_exhaustive()
    }
}

impl Ring {
    /// An empty ring; `wake` is called after bytes came in.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Ring {
        Ring { state: Mutex::default(), wake: Box::new(wake) }
    }

    /// Appends `bytes`. Callers ask for [`space`](Ring::space) first; last words need not.
    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        state.held += bytes.len();
        for piece in bytes.chunks(FRAME) {
            match state.pending.back_mut() {
                Some((last, held)) if *last == stream && held.len() + piece.len() <= FRAME => {
                    held.extend_from_slice(piece);
                }
                _ => state.pending.push_back((stream, BytesMut::from(piece))),
            }
        }
        drop(state);
        (self.wake)();
    }

    /// Bytes that may be pushed now.
    pub(crate) fn space(&self) -> usize {
        CAPACITY.saturating_sub(self.state().held)
    }

    /// Ready when there is space.
    pub(crate) fn poll_space(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.held < CAPACITY {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// The next frame for `host`; nothing for a host that was replaced.
    pub(crate) fn take(&self, host: u64) -> Option<Frame> {
        let mut state = self.state();
        if state.host != host {
            return None;
        }
        if let Some(frame) = state.sent.get(state.taken).cloned() {
            state.taken += 1;
            return Some(frame);
        }
        let (stream, bytes) = state.pending.pop_front()?;
        state.next += 1;
        let frame = Frame { number: state.next, stream, bytes: bytes.freeze() };
        state.sent.push_back(frame.clone());
        state.taken += 1;
        Some(frame)
    }

    /// Lets go of all frames up to `through`.
    pub(crate) fn acknowledge(&self, through: u64) {
        let mut state = self.state();
        while state.sent.front().is_some_and(|frame| frame.number <= through) {
            if let Some(frame) = state.sent.pop_front() {
                state.held -= frame.bytes.len();
                state.taken = state.taken.saturating_sub(1);
            }
        }
        if state.held < CAPACITY {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// `host` begins with the oldest frame that was not acknowledged; the one before gets no more.
    pub(crate) fn rewind(&self, host: u64) {
        let mut state = self.state();
        state.host = host;
        state.taken = 0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_host_gets_what_was_not_acknowledged_and_in_order() {
        let ring = Ring::new(|| ());
        ring.push(Stream::Stdout, b"one");
        let first = ring.take(0).unwrap();
        ring.push(Stream::Stdout, b"two");
        let second = ring.take(0).unwrap();
        ring.push(Stream::Stderr, b"three");
        ring.acknowledge(first.number);
        ring.rewind(1);
        assert_eq!(ring.take(0), None);
        assert_eq!(ring.take(1).unwrap(), second);
        assert_eq!(ring.take(1).unwrap().bytes, &b"three"[..]);
        assert_eq!(ring.take(1), None);
    }

    #[test]
    fn a_full_ring_makes_its_guest_wait_until_frames_are_acknowledged() {
        let ring = Ring::new(|| ());
        ring.push(Stream::Stdout, &vec![7; CAPACITY]);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(ring.space(), 0);
        assert!(ring.poll_space(&mut context).is_pending());
        let frame = ring.take(0).unwrap();
        ring.acknowledge(frame.number);
        assert!(ring.poll_space(&mut context).is_ready());
        assert_eq!(ring.space(), frame.bytes.len());
    }

    #[test]
    fn small_writes_to_one_stream_become_one_frame() {
        let ring = Ring::new(|| ());
        ring.push(Stream::Stdout, b"a");
        ring.push(Stream::Stdout, b"b");
        ring.push(Stream::Stderr, b"c");
        assert_eq!(ring.take(0).unwrap().bytes, &b"ab"[..]);
        assert_eq!(ring.take(0).unwrap().stream, Stream::Stderr);
    }
}
