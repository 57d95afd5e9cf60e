//! Whether a guest may compute: shut while it is paused. A guest that computes meets its gate at its next epoch, one that
//! waits when what it waits for has come.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// See the module; open at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    shut: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    /// Nobody passes from now on.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// Everybody passes, whoever waits first.
    pub(crate) fn open(&self) {
        self.shut.store(false, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    /// Ready while it is open.
    pub(crate) fn poll_passage(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        // Opened between the look and the entry in the list, nobody would wake it.
        if self.is_shut() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Waits until it is open.
    pub(crate) async fn passage(&self) {
        poll_fn(|context| self.poll_passage(context)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_at_a_shut_gate_passes_when_it_opens() {
        let gate = std::sync::Arc::new(Gate::default());
        gate.passage().await;
        gate.shut();
        let passing = tokio::spawn({
            let gate = gate.clone();
            async move { gate.passage().await }
        });
        while gate.waiting.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!passing.is_finished());
        gate.open();
        passing.await.unwrap();
    }
}
