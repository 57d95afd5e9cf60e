//! Restart policies, by Docker's rules: whether a container that ended runs again, and after how long.

use std::time::Duration;

use bollard_stubs::models::{HostConfig, RestartPolicyNameEnum as Name};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The first pause before a restart; each further one is twice as long, up to the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A run of this length makes the next pause the first one again.
const LONG_RUN: Duration = Duration::from_secs(10);

/// What is remembered of a container's restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// Restarts since somebody started it: Docker's `RestartCount`.
    pub count: u64,
    /// The last pause, in milliseconds; 0 before the first.
    pub pause: u64,
    /// Somebody ended it by hand: `unless-stopped` leaves it so when a host starts.
    pub stopped: bool,
    /// When this run began, in nanoseconds of the machine's monotonic clock, which goes on while no host is there.
    pub began: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// `None` where nobody knows, which counts as a failure.
    pub code: Option<u8>,
    pub ran: Duration,
    /// It fell ill, and its label says that it starts again then.
    pub ill: bool,
}

impl Restarts {
    /// What is remembered when a run ends: `Some` if there is to be another one.
    pub fn after(self, host: &HostConfig, ended: Ended) -> Option<Restarts> {
        let policy = host.restart_policy.as_ref();
        let most = policy.and_then(|policy| policy.maximum_retry_count).and_then(|most| u64::try_from(most).ok());
        let again = match policy.and_then(|policy| policy.name) {
            Some(Name::ALWAYS) => true,
            Some(Name::UNLESS_STOPPED) => !self.stopped,
            // No number, and 0, mean for ever.
            Some(Name::ON_FAILURE) => {
                ended.code != Some(0) && most.filter(|most| *most > 0).is_none_or(|most| self.count < most)
            }
            None | Some(Name::EMPTY | Name::NO) => false,
        };
        if !again && !ended.ill {
            return None;
        }
        let pause = match Duration::from_millis(self.pause) {
            _ if ended.ran >= LONG_RUN => FIRST,
            Duration::ZERO => FIRST,
            last => (last * 2).min(LONGEST),
        };
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Some(Restarts { count: self.count + 1, pause, ..self })
    }

    /// Whether a container that ended earlier is started when a host starts. `on-failure` is about failures, not about
    /// hosts.
    pub fn at_opening(self, host: &HostConfig) -> bool {
        match host.restart_policy.as_ref().and_then(|policy| policy.name) {
            Some(Name::ALWAYS) => true,
            Some(Name::UNLESS_STOPPED) => !self.stopped,
            None | Some(Name::EMPTY | Name::NO | Name::ON_FAILURE) => false,
        }
    }

    /// The pause before the restart that was decided.
    pub fn pause(self) -> Duration {
        Duration::from_millis(self.pause)
    }
}

/// Refuses what Docker refuses of a restart policy, in its words.
///
/// # Errors
/// `Invalid`.
pub fn check(host: &HostConfig) -> Result<()> {
    let Some(policy) = &host.restart_policy else { return Ok(()) };
    let name = policy.name.unwrap_or(Name::EMPTY);
    let most = policy.maximum_retry_count.unwrap_or(0);
    let refuse = |sentence: &str| Err(Error::Invalid(sentence.to_owned()));
    if most != 0 && !matches!(name, Name::ON_FAILURE) {
        let hint = if most < 0 { " and cannot be negative" } else { "" };
        return refuse(&format!(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'{hint}"
        ));
    }
    if most < 0 {
        return refuse("invalid restart policy: maximum retry count cannot be negative");
    }
    if host.auto_remove == Some(true) && !matches!(name, Name::EMPTY | Name::NO) {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    Ok(())
}

/// Nanoseconds of the machine's monotonic clock.
pub fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::RestartPolicy;
    use proptest::prelude::*;

    use super::*;

    fn host(name: Name, most: i64) -> HostConfig {
        let policy = RestartPolicy { name: Some(name), maximum_retry_count: Some(most) };
        HostConfig { restart_policy: Some(policy), ..HostConfig::default() }
    }

    fn ended(code: u8, seconds: u64) -> Ended {
        Ended { code: Some(code), ran: Duration::from_secs(seconds), ill: false }
    }

    #[test]
    fn each_policy_restarts_what_docker_s_would() {
        let fresh = Restarts::default();
        let stopped = Restarts { stopped: true, ..fresh };
        let again = |restarts: Restarts, name, code| restarts.after(&host(name, 0), ended(code, 0)).is_some();
        assert!(!again(fresh, Name::NO, 1) && !again(fresh, Name::EMPTY, 1));
        assert!(again(fresh, Name::ALWAYS, 0) && again(fresh, Name::ALWAYS, 1));
        assert!(again(fresh, Name::UNLESS_STOPPED, 0) && !again(stopped, Name::UNLESS_STOPPED, 0));
        assert!(again(fresh, Name::ON_FAILURE, 3) && !again(fresh, Name::ON_FAILURE, 0));
        let ill = Ended { ill: true, ..ended(137, 0) };
        assert!(fresh.after(&host(Name::NO, 0), ill).is_some());
    }

    #[test]
    fn on_failure_counts_its_tries() {
        let policy = host(Name::ON_FAILURE, 3);
        let mut restarts = Restarts::default();
        let mut tries = 0;
        while let Some(next) = restarts.after(&policy, ended(1, 0)) {
            (restarts, tries) = (next, tries + 1);
        }
        assert_eq!((tries, restarts.count), (3, 3));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_a_long_run_forgives() {
        let policy = host(Name::ALWAYS, 0);
        let mut restarts = Restarts::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            restarts = restarts.after(&policy, ended(1, 0)).unwrap();
            pauses.push(restarts.pause().as_millis());
        }
        assert_eq!(pauses[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(pauses[10..], [60_000, 60_000]);
        assert_eq!(restarts.after(&policy, ended(1, 10)).unwrap().pause(), FIRST);
    }

    #[test]
    fn a_host_that_starts_starts_what_is_wanted_always() {
        let stopped = Restarts { stopped: true, ..Restarts::default() };
        for (name, fresh, by_hand) in [
            (Name::NO, false, false),
            (Name::ON_FAILURE, false, false),
            (Name::ALWAYS, true, true),
            (Name::UNLESS_STOPPED, true, false),
        ] {
            assert_eq!(Restarts::default().at_opening(&host(name, 0)), fresh, "{name}");
            assert_eq!(stopped.at_opening(&host(name, 0)), by_hand, "{name}");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        assert!(check(&host(Name::ON_FAILURE, 3)).is_ok() && check(&HostConfig::default()).is_ok());
        assert!(check(&host(Name::ALWAYS, 3)).is_err() && check(&host(Name::ON_FAILURE, -1)).is_err());
        let both = HostConfig { auto_remove: Some(true), ..host(Name::ALWAYS, 0) };
        assert_eq!(check(&both).unwrap_err().sentence(), "can't create 'AutoRemove' container with restart policy");
    }

    proptest! {
        #[test]
        fn no_pause_is_shorter_than_the_first_or_longer_than_the_longest(
            runs in proptest::collection::vec((any::<u8>(), 0..30_u64), 1..60),
        ) {
            let policy = host(Name::ALWAYS, 0);
            let mut restarts = Restarts::default();
            for (count, (code, seconds)) in runs.into_iter().enumerate() {
                restarts = restarts.after(&policy, ended(code, seconds)).unwrap();
                prop_assert!((FIRST..=LONGEST).contains(&restarts.pause()));
                prop_assert_eq!(restarts.count, count as u64 + 1);
            }
        }
    }
}
