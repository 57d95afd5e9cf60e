//! Where a container is in its life, and what may happen to it there.
//!
//! ```text
//!                       start               pause
//!   create ---> Created ------> Running <-----------> Paused
//!                |   |           ^   |     unpause      |
//!                |   |           |   '--------.---------'
//!                |   |     start |            | exit        retry
//!                |   |           |            v               v
//!                |   |           '------- Exited ---retry--> Restarting
//!                |   '--exit, retry---------> |  <---exit----'
//!                |                            |
//!                '---remove--> Removing <-----' remove
//!                               |    ^
//!                     fail_remove    remove
//!                               v    |
//!                                Dead
//! ```
//! `fail_start` leaves Created and Exited what they are and ends Restarting in Exited; Restarting starts as Exited does.
//! A container that is gone has no status: it has left the table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a container is in its life; the names are Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    /// It runs, and gets no processor time.
    Paused,
    /// A run has ended, and a policy starts the next one in a moment.
    Restarting,
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
    Pause,
    Unpause,
    Exit,
    /// It does not run, and another run is to follow.
    Retry,
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
    /// It is paused.
    Paused,
    /// It is not paused.
    NotPaused,
    /// It waits for its next run.
    Restarting,
    /// Somebody is removing it, or failed to.
    Removing,
}

impl Status {
    /// Every status, for tables and tests.
    pub const ALL: [Status; 7] = [
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Restarting,
        Status::Exited,
        Status::Removing,
        Status::Dead,
    ];

    /// What comes of `event`; total, so that every pair has a defined answer.
    pub fn after(self, event: Event) -> Result<Status, Refusal> {
        use Status::*;
        match (self, event) {
            (Created | Exited | Restarting, Event::Start) | (Paused, Event::Unpause) => Ok(Running),
            (Created, Event::FailStart) => Ok(Created),
            (Exited | Restarting, Event::FailStart) => Ok(Exited),
            (Running, Event::Pause) => Ok(Paused),
            (Created | Running | Paused | Restarting, Event::Exit) => Ok(Exited),
            (Created | Running | Paused | Restarting | Exited, Event::Retry) => Ok(Restarting),
            (Created | Exited | Dead, Event::Remove) => Ok(Removing),
            (Removing, Event::FailRemove) => Ok(Dead),
            (Running, Event::Start) | (Exited, Event::Exit) | (Removing, Event::Remove) => Err(Refusal::Already),
            (Running, Event::Remove | Event::FailStart) => Err(Refusal::Running),
            (Paused, Event::Start | Event::FailStart | Event::Pause | Event::Remove) => Err(Refusal::Paused),
            (Restarting, Event::Pause | Event::Remove) => Err(Refusal::Restarting),
            (Running | Restarting, Event::Unpause) => Err(Refusal::NotPaused),
            (Created | Exited, Event::Pause | Event::Unpause) => Err(Refusal::NotRunning),
            (
                Removing | Dead,
                Event::Start | Event::FailStart | Event::Pause | Event::Unpause | Event::Exit | Event::Retry,
            ) => Err(Refusal::Removing),
            (Created | Running | Paused | Restarting | Exited | Dead, Event::FailRemove) => Err(Refusal::NotRunning),
        }
    }

    /// Whether a guest lives in it, paused or not.
    pub fn is_running(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }

    /// Whether it runs or will in a moment: what `ps` shows unasked, and what has to be stopped before it is removed.
    pub fn is_active(self) -> bool {
        self.is_running() || self == Status::Restarting
    }

    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
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
            Just(Event::Pause),
            Just(Event::Unpause),
            Just(Event::Exit),
            Just(Event::Retry),
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
                prop_assert!(!(status.is_active() && next == Status::Removing), "removed while running");
                let retried = next == Status::Restarting && status != Status::Restarting;
                prop_assert!(!retried || event == Event::Retry, "only a policy restarts");
                let begins = next.is_running() && !status.is_running();
                prop_assert!(!begins || event == Event::Start, "only a start makes it run");
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
        assert_eq!(Status::Paused.after(Event::Remove), Err(Refusal::Paused));
        assert_eq!(Status::Paused.after(Event::Start), Err(Refusal::Paused));
        assert_eq!(Status::Restarting.after(Event::Remove), Err(Refusal::Restarting));
    }
}
