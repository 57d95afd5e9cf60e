//! The clock that interrupts guests: every 10 ms each running guest yields to the executor, so that a kill gets through
//! a compute loop and no neighbour starves. When no guest computes the clock stops: an idle worker does not wake.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::limits::Account;

/// Time between two epochs.
const EPOCH: Duration = Duration::from_millis(10);

/// Epochs without a guest after which the clock stops; starting it again costs a wake-up, so not at once.
const QUIET: u32 = 10;

/// The clock. Its thread starts with the first guest, which is after a worker has been locked down.
#[derive(Debug)]
pub(crate) struct Ticker {
    engine: wasmtime::Engine,
    thread: OnceLock<Thread>,
    /// Guests that compute at this moment.
    computing: AtomicUsize,
    /// Turns guests have had.
    turns: AtomicU64,
    parked: AtomicBool,
}

impl Ticker {
    pub(crate) fn new(engine: wasmtime::Engine) -> Arc<Ticker> {
        Arc::new(Ticker {
            engine,
            thread: OnceLock::new(),
            computing: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            parked: AtomicBool::new(false),
        })
    }

    fn enter(self: &Arc<Ticker>) {
        self.computing.fetch_add(1, Ordering::SeqCst);
        self.turns.fetch_add(1, Ordering::Relaxed);
        let thread = self.thread.get_or_init(|| {
            let ticker = Arc::clone(self);
            let thread = std::thread::Builder::new().name("epochs".to_owned()).spawn(move || ticker.run());
            // Without its clock a worker could not end a guest: better to fail the guest that asks first.
            thread.expect("start the epoch thread").thread().clone()
        });
        if self.parked.swap(false, Ordering::SeqCst) {
            thread.unpark();
        }
    }

    fn leave(&self) {
        self.computing.fetch_sub(1, Ordering::SeqCst);
    }

    fn run(&self) {
        let mut quiet = 0;
        let mut turns = 0;
        loop {
            std::thread::sleep(EPOCH);
            self.engine.increment_epoch();
            let now = self.turns.load(Ordering::Relaxed);
            quiet = if now == turns && self.computing.load(Ordering::SeqCst) == 0 { quiet + 1 } else { 0 };
            turns = now;
            if quiet >= QUIET {
                self.stop();
                quiet = 0;
            }
        }
    }

    /// Sleeps until a guest computes. `parked` is set before `computing` is read and `enter` does it the other way
    /// round, so one of the two always sees the other.
    fn stop(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while self.parked.load(Ordering::SeqCst) && self.computing.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// A guest's future: keeps the clock running while it computes, counts its processor time, and holds it while it is
/// paused.
pub(crate) struct Metered<F> {
    ticker: Arc<Ticker>,
    account: Account,
    future: Pin<Box<F>>,
}

impl<F: Future> Metered<F> {
    /// `future`, which uses `account`.
    pub(crate) fn new(ticker: &Arc<Ticker>, account: &Account, future: F) -> Metered<F> {
        Metered { ticker: Arc::clone(ticker), account: account.clone(), future: Box::pin(future) }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        /// Also leaves when the guest panics.
        struct Turn<'a>(&'a Ticker, &'a AtomicU64, Instant);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.leave();
                self.1.fetch_add(self.2.elapsed().as_nanos() as u64, Ordering::Relaxed);
            }
        }
        let this = &mut *self;
        if this.account.gate.poll_passage(context).is_pending() {
            return Poll::Pending;
        }
        this.ticker.enter();
        let _turn = Turn(&this.ticker, &this.account.spent, Instant::now());
        this.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(fact: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !fact() {
            assert!(Instant::now() < deadline, "it does not come about");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_clock_stops_when_no_guest_computes_and_starts_again_with_the_next() {
        let ticker = Ticker::new(wasmtime::Engine::default());
        for _ in 0..2 {
            ticker.enter();
            until(|| !ticker.parked.load(Ordering::SeqCst));
            ticker.leave();
            until(|| ticker.parked.load(Ordering::SeqCst));
        }
    }
}
