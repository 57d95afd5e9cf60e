//! Where a container is in its life, and what may happen to it there.
//!
//! ```text
//!               fail_start
//!                 .---.
//!                 v   |
//!   create ----> Created ---start---> Running ---exit---> Exited
//!                 |  |                   ^                  | |
//!                 |  '------exit---------|----------------->' |
//!                 |                      '------start---------'
//!                 |                                         |
//!                 '-----remove-----> Removing <---remove----'
//!                                     |    ^
//!                                fail_remove remove
//!                                     v    |
//!                                      Dead
//! ```
//! A container that is gone has no status: it has left the table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a container is in its life; the names are Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Exited,
    Removing,
    Dead,
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Start,
    /// A start that failed before the guest's first instruction.
    FailStart,
    Exit,
    Remove,
    FailRemove,
}

/// Why an event cannot happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It already is as asked.
    Already,
    /// The container runs.
    Running,
    /// It does not run.
    NotRunning,
    /// Somebody is removing it, or failed to.
    Removing,
}

impl Status {
    /// Every status, for tables and tests.
    pub const ALL: [Status; 5] = [Status::Created, Status::Running, Status::Exited, Status::Removing, Status::Dead];

    /// What comes of `event`; total, so that every pair has a defined answer.
    pub fn after(self, event: Event) -> Result<Status, Refusal> {
        use Status::*;
        match (self, event) {
            (Created | Exited, Event::Start) => Ok(Running),
            (Created, Event::FailStart) => Ok(Created),
            (Exited, Event::FailStart) => Ok(Exited),
            (Created | Running, Event::Exit) => Ok(Exited),
            (Created | Exited | Dead, Event::Remove) => Ok(Removing),
            (Removing, Event::FailRemove) => Ok(Dead),
            (Running, Event::Start) | (Exited, Event::Exit) | (Removing, Event::Remove) => Err(Refusal::Already),
            (Running, Event::Remove | Event::FailStart) => Err(Refusal::Running),
            (Removing | Dead, Event::Start | Event::FailStart | Event::Exit) => Err(Refusal::Removing),
            (Created | Running | Exited | Dead, Event::FailRemove) => Err(Refusal::NotRunning),
        }
    }

    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Exited => "exited",
            Status::Removing => "removing",
            Status::Dead => "dead",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Start),
            Just(Event::FailStart),
            Just(Event::Exit),
            Just(Event::Remove),
            Just(Event::FailRemove)
        ]
    }

    proptest! {
        #[test]
        fn any_order_of_events_keeps_the_rules(events in proptest::collection::vec(any_event(), 0..40)) {
            let mut status = Status::Created;
            for event in events {
                let Ok(next) = status.after(event) else { continue };
                prop_assert!(!(status == Status::Running && next == Status::Removing), "removed while running");
                prop_assert!(next != Status::Running || event == Event::Start, "only a start makes it run");
                prop_assert!(!(status == Status::Removing && next != Status::Dead), "removing ends gone or dead");
                prop_assert!(next != Status::Created || status == Status::Created, "nothing is created twice");
                status = next;
            }
        }
    }

    #[test]
    fn a_running_container_is_never_removed_or_started_again() {
        assert_eq!(Status::Running.after(Event::Remove), Err(Refusal::Running));
        assert_eq!(Status::Running.after(Event::Start), Err(Refusal::Already));
    }
}
