//! The scheduler behind a lock, and the permits it gives out.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::scheduler::{Decision, Scheduler};

/// The node's account, shared by all who admit.
#[derive(Debug, Clone)]
pub struct Account(Arc<Mutex<Scheduler>>);

/// The right to use some of the node's capacity, given back on drop.
#[derive(Debug)]
pub struct Permit {
    demand: u64,
    account: Account,
}

impl Account {
    /// A node of `capacity` bytes.
    pub fn new(capacity: u64) -> Account {
        Account(Arc::new(Mutex::new(Scheduler::new(capacity))))
    }

    /// A permit for `demand` bytes.
    ///
    /// # Errors
    /// `Admit` with the numbers when there is no room.
    pub fn admit(&self, demand: u64) -> Result<Permit> {
        match self.with(|scheduler| scheduler.admit(demand)) {
            Decision::Admitted => Ok(Permit { demand, account: self.clone() }),
            Decision::Refused(sentence) => Err(Error::Admit(sentence)),
        }
    }

    /// A permit for what already runs.
    pub fn adopt(&self, demand: u64) -> Permit {
        self.with(|scheduler| scheduler.adopt(demand));
        Permit { demand, account: self.clone() }
    }

    /// Bytes of the node, and of those given out.
    pub fn numbers(&self) -> (u64, u64) {
        self.with(|scheduler| scheduler.account())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Scheduler) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.with(|scheduler| scheduler.release(self.demand));
    }
}
