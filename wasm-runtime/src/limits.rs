//! A guest's bounds: one account for all its instances, with one budget for all their memories and tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::engine::Gate;

/// Size of one table element in the engine, in bytes.
const ELEMENT: u64 = 8;

/// What a guest's instances use together: those of its requests, and of the programs executed in its container.
/// Clones are the same account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) budget: Arc<Budget>,
    /// Processor time, in nanoseconds.
    pub(crate) spent: Arc<AtomicU64>,
    /// Shut while it is paused.
    pub(crate) gate: Arc<Gate>,
}

impl Account {
    /// A new account of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Account {
        Account { budget: Budget::new(limit), spent: Arc::default(), gate: Arc::default() }
    }
}

/// What a guest may hold, and what it holds now.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    refused: AtomicBool,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget { limit: limit.into(), used: 0.into(), peak: 0.into(), refused: false.into() })
    }

    /// Its limit in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Makes it another limit.
    ///
    /// # Errors
    /// The bytes that are held, where they are more: an engine takes nothing back.
    pub(crate) fn set_limit(&self, limit: u64) -> Result<(), u64> {
        // First the limit, then the look: what grows in between is refused or seen.
        let before = self.limit.swap(limit, Ordering::SeqCst);
        let used = self.used.load(Ordering::SeqCst);
        if used > limit {
            self.limit.store(before, Ordering::SeqCst);
            return Err(used);
        }
        Ok(())
    }

    /// Bytes held now, and held at most.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.used.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }

    /// Whether a growth was ever refused.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|total| *total <= self.limit())
        });
        match taken {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                true
            }
            Err(_) => {
                self.refused.store(true, Ordering::Relaxed);
                false
            }
        }
    }
}

/// What one store has taken from its guest's budget; given back when the store goes.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    taken: u64,
}

impl Share {
    /// An empty share of `budget`.
    pub(crate) fn of(budget: &Arc<Budget>) -> Share {
        Share { budget: Arc::clone(budget), taken: 0 }
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let granted = self.budget.take(bytes);
        if granted {
            self.taken += bytes;
        }
        granted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Share {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow((desired.saturating_sub(current) as u64).saturating_mul(ELEMENT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_one_budget_add_up_and_are_given_back() {
        let budget = Budget::new(100);
        let mut first = Share::of(&budget);
        assert!(first.memory_growing(0, 60, None).unwrap());
        let mut second = Share::of(&budget);
        assert!(!second.memory_growing(0, 60, None).unwrap());
        assert!(budget.refused());
        drop(first);
        assert!(second.table_growing(0, 10, None).unwrap());
        assert_eq!(budget.held(), (80, 80));
    }

    #[test]
    fn a_limit_moves_but_never_below_what_is_held() {
        let budget = Budget::new(100);
        let mut share = Share::of(&budget);
        assert!(share.memory_growing(0, 60, None).unwrap());
        assert_eq!(budget.set_limit(59), Err(60));
        assert_eq!((budget.set_limit(60), budget.limit()), (Ok(()), 60));
        assert!(!share.memory_growing(60, 61, None).unwrap());
        assert_eq!(budget.set_limit(200), Ok(()));
        assert!(share.memory_growing(60, 160, None).unwrap());
    }
}
