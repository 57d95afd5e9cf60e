//! The scheduler behind a lock, and the permits it gives out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::scheduler::{Decision, Scheduler};

/// The node's account, shared by all who admit.
#[derive(Debug, Clone)]
pub struct Account(Arc<Mutex<Scheduler>>);

/// The right to use some of the node's capacity, given back on drop.
#[derive(Debug)]
pub struct Permit(Share);

/// What a permit stands for, for whoever may change how much it is. Clones are the same share.
#[derive(Debug, Clone)]
pub struct Share {
    /// `None` once it was given back.
    demand: Arc<Mutex<Option<u64>>>,
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
            Decision::Admitted => Ok(self.permit(demand)),
            Decision::Refused(sentence) => Err(Error::Admit(sentence)),
        }
    }

    /// A permit for what already runs.
    pub fn adopt(&self, demand: u64) -> Permit {
        self.with(|scheduler| scheduler.adopt(demand));
        self.permit(demand)
    }

    fn permit(&self, demand: u64) -> Permit {
        Permit(Share { demand: Arc::new(Mutex::new(Some(demand))), account: self.clone() })
    }

    /// Bytes of the node, and of those given out.
    pub fn numbers(&self) -> (u64, u64) {
        self.with(|scheduler| scheduler.account())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Scheduler) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit {
    /// What it stands for.
    pub fn share(&self) -> Share {
        self.0.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(demand) = self.0.lock().take() {
            self.0.account.with(|scheduler| scheduler.release(demand));
        }
    }
}

impl Share {
    /// Makes it `demand` bytes; one that was given back stays so.
    ///
    /// # Errors
    /// `Admit` with the numbers when there is no room for more.
    pub fn change(&self, demand: u64) -> Result<()> {
        let mut held = self.lock();
        let Some(before) = *held else { return Ok(()) };
        let decision = self.account.with(|scheduler| {
            if demand > before {
                return scheduler.admit(demand - before);
            }
            scheduler.release(before - demand);
            Decision::Admitted
        });
        match decision {
            Decision::Admitted => {
                *held = Some(demand);
                Ok(())
            }
            Decision::Refused(sentence) => Err(Error::Admit(sentence)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_within_the_node_and_is_given_back_as_it_is() {
        let account = Account::new(100);
        let permit = account.admit(40).unwrap();
        let share = permit.share();
        assert!(share.change(101).is_err());
        assert_eq!(account.numbers(), (100, 40), "what was refused changes nothing");
        share.change(90).unwrap();
        share.change(60).unwrap();
        assert_eq!(account.numbers(), (100, 60));
        drop(permit);
        share.change(80).unwrap();
        assert_eq!(account.numbers(), (100, 0), "nothing is charged for what is over");
    }
}
