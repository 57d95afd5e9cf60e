//! The connections that are open, so that room can be made: clients that connect and stay silent must not keep out one
//! that asks. Knows no socket and no request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// An answer's last bytes may still be on their way so long.
const REST: Duration = Duration::from_secs(1);

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Seat>>>,
}

/// What is known of one connection.
#[derive(Debug)]
struct Seat {
    /// Requests under way, and since when there have been as many.
    requests: Mutex<(usize, Instant)>,
    leave: Notify,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    id: u64,
    seat: Arc<Seat>,
}

/// A request under way, to the last piece of its answer.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Crowd {
    /// A place for one more connection.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat { requests: Mutex::new((0, Instant::now())), leave: Notify::new() });
        self.open().insert(id, seat.clone());
        Place { crowd: self.clone(), id, seat }
    }

    /// Tells the connection that has been silent for longest to leave, if any is silent at all.
    pub(super) fn make_room(&self) {
        let open = self.open();
        let silent = open.values().filter_map(|seat| Some((seat.silent_since()?, seat)));
        if let Some((_, seat)) = silent.min_by_key(|(since, _)| *since) {
            seat.leave.notify_one();
        }
    }

    /// Consistent after every statement that changes it.
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn silent_since(&self) -> Option<Instant> {
        let (requests, since) = *self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        (requests == 0 && since.elapsed() >= REST).then_some(since)
    }

    fn change(&self, edit: impl FnOnce(usize) -> usize) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests = (edit(requests.0), Instant::now());
    }
}

impl Place {
    /// Marks the connection as busy until what comes back is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.seat.change(|requests| requests + 1);
        Busy(self.seat.clone())
    }

    /// Ready when the place is needed for another.
    pub(super) async fn told_to_leave(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open().remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|requests| requests.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_ago(place: &Place) {
        place.seat.requests.lock().unwrap().1 -= REST;
    }

    #[tokio::test]
    async fn whoever_is_silent_for_longest_makes_room_and_nobody_who_is_answered() {
        let crowd = Arc::new(Crowd::default());
        let (first, second, third) = (crowd.enter(), crowd.enter(), crowd.enter());
        let busy = first.busy();
        [&first, &second, &third].into_iter().for_each(long_ago);
        crowd.make_room();
        second.told_to_leave().await;
        drop(second);
        drop(busy);
        crowd.make_room();
        third.told_to_leave().await;
        drop((first, third));
        crowd.make_room();
        assert!(crowd.open().is_empty());
    }
}
