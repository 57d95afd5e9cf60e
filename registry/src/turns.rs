//! Turns: whatever must be done once for a digest is done by one at a time, the others wait and then find it done. Knows
//! nothing of what is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::digest::Digest;

/// One lock `L` for each digest that somebody is busy with.
#[derive(Debug, Default)]
pub(crate) struct Turns<L> {
    open: Mutex<HashMap<Digest, Weak<L>>>,
}

impl<L: Default> Turns<L> {
    /// The lock of `digest`; it is forgotten with its last holder.
    pub(crate) fn of(&self, digest: &Digest) -> Arc<L> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = open.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(L::default());
        open.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digest_has_one_lock_while_anybody_holds_it() {
        let turns = Turns::<Mutex<()>>::default();
        let (one, other) = (Digest::sha256_of(b"1"), Digest::sha256_of(b"2"));
        let (first, again, second) = (turns.of(&one), turns.of(&one), turns.of(&other));
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &second));
        drop((first, again, second));
        turns.of(&other);
        assert_eq!(turns.open.lock().unwrap().len(), 1);
    }
}
