//! A container's health: what its check asks for, and what follows from each answer. Docker's rules.

use std::collections::VecDeque;
use std::time::Duration;

use bollard_stubs::models::HealthConfig;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Results that are remembered, and bytes of output of each.
const REMEMBERED: usize = 5;
pub const OUTPUT: usize = 4096;

/// One check, with Docker's defaults for what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub probe: Probe,
    pub interval: Duration,
    pub timeout: Duration,
    pub retries: u64,
    /// Failures within this time after the start do not count.
    pub start_period: Duration,
    /// The interval within that time, while the container was never healthy.
    pub start_interval: Duration,
}

/// What is done to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A program in the container; for a Wasm container an instance of its own.
    Command(Vec<String>),
    /// The same through the container's shell; a Wasm container has none, and takes the line word by word.
    Shell(String),
    /// A request for this path through the handler of a Wasm HTTP container.
    Http(String),
}

/// How a container feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feeling {
    Starting,
    Healthy,
    Unhealthy,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Nanoseconds since 1970.
    pub begin: u64,
    pub end: u64,
    /// 0 is healthy; -1 for a check that took too long or could not be made.
    pub code: i64,
    /// At most [`OUTPUT`] bytes.
    pub output: String,
}

/// What is known of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub feeling: Feeling,
    /// Failures in a row.
    pub streak: u64,
    /// The last answers, the oldest first.
    pub log: VecDeque<Answer>,
}

/// What a container's record keeps of its health, for the next host: written when the feeling changes, not at every answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Felt {
    /// The run it is about, by `Restarts::began`.
    pub began: u64,
    pub health: Health,
}

impl Feeling {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Feeling::Starting => "starting",
            Feeling::Healthy => "healthy",
            Feeling::Unhealthy => "unhealthy",
        }
    }

    /// As `ps` says it in brackets.
    pub fn in_brackets(self) -> &'static str {
        match self {
            Feeling::Starting => "health: starting",
            other => other.as_str(),
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health { feeling: Feeling::Starting, streak: 0, log: VecDeque::new() }
    }
}

impl Health {
    /// Takes an answer in; the new feeling where it changed. `age` is how long the container had run.
    pub fn take(&mut self, check: &Check, answer: Answer, age: Duration) -> Option<Feeling> {
        let before = self.feeling;
        if answer.code == 0 {
            (self.streak, self.feeling) = (0, Feeling::Healthy);
        } else if self.feeling != Feeling::Starting || age >= check.start_period {
            self.streak += 1;
            if self.streak >= check.retries {
                self.feeling = Feeling::Unhealthy;
            }
        }
        while self.log.len() >= REMEMBERED {
            self.log.pop_front();
        }
        self.log.push_back(answer);
        (self.feeling != before).then_some(self.feeling)
    }

    /// How long to wait before the next check.
    pub fn pause(&self, check: &Check, age: Duration) -> Duration {
        if self.feeling == Feeling::Starting && age < check.start_period {
            check.start_interval
        } else {
            check.interval
        }
    }
}

impl Check {
    /// The check that `config` asks for; `None` where there is none, or where it says `NONE`.
    ///
    /// # Errors
    /// `Invalid` for a test of no known kind, and for times and numbers that Docker refuses.
    pub fn read(config: Option<&HealthConfig>) -> Result<Option<Check>> {
        let Some(config) = config else { return Ok(None) };
        let time = |value: Option<i64>, what: &str, usual: Duration| match value.unwrap_or(0) {
            0 => Ok(usual),
            nanos @ 1_000_000.. => Ok(Duration::from_nanos(nanos.cast_unsigned())),
            _ => Err(Error::Invalid(format!("{what} in Healthcheck cannot be less than 1ms"))),
        };
        let retries = match config.retries.unwrap_or(0) {
            0 => 3,
            count => u64::try_from(count)
                .map_err(|_| Error::Invalid("Retries in Healthcheck cannot be negative".to_owned()))?,
        };
        let half_minute = Duration::from_secs(30);
        let check = Check {
            interval: time(config.interval, "Interval", half_minute)?,
            timeout: time(config.timeout, "Timeout", half_minute)?,
            start_period: time(config.start_period, "StartPeriod", Duration::ZERO)?,
            start_interval: time(config.start_interval, "StartInterval", Duration::from_secs(5))?,
            retries,
            probe: Probe::Command(Vec::new()),
        };
        Ok(probe(config.test.as_deref().unwrap_or_default())?.map(|probe| Check { probe, ..check }))
    }
}

/// Puts a request's check over an image's: what the request leaves out is the image's.
pub fn merge(image: Option<HealthConfig>, request: Option<HealthConfig>) -> Option<HealthConfig> {
    let (Some(image), Some(request)) = (&image, &request) else { return request.or(image) };
    let number = |own: Option<i64>, other: Option<i64>| own.filter(|value| *value != 0).or(other);
    Some(HealthConfig {
        test: request.test.clone().filter(|test| !test.is_empty()).or_else(|| image.test.clone()),
        interval: number(request.interval, image.interval),
        timeout: number(request.timeout, image.timeout),
        retries: number(request.retries, image.retries),
        start_period: number(request.start_period, image.start_period),
        start_interval: number(request.start_interval, image.start_interval),
    })
}

fn probe(test: &[String]) -> Result<Option<Probe>> {
    let Some((kind, rest)) = test.split_first() else { return Ok(None) };
    match (kind.as_str(), rest) {
        ("NONE", _) => Ok(None),
        ("CMD", words) if !words.is_empty() => Ok(Some(Probe::Command(words.to_vec()))),
        ("CMD-SHELL", [line, ..]) => Ok(Some(Probe::Shell(line.clone()))),
        ("HTTP", [path]) if is_target(path) => Ok(Some(Probe::Http(path.clone()))),
        ("HTTP", _) => Err(Error::Invalid("an HTTP health check names one path, such as /healthz".to_owned())),
        ("CMD" | "CMD-SHELL", _) => Err(Error::Invalid("the health check names no command".to_owned())),
        (kind, _) => Err(Error::Invalid(format!(
            "unknown type of health check `{kind}`: there are NONE, CMD, CMD-SHELL and HTTP"
        ))),
    }
}

/// Whether `path` can stand in a request's first line.
fn is_target(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str]) -> HealthConfig {
        HealthConfig { test: Some(test.iter().map(|word| (*word).to_owned()).collect()), ..HealthConfig::default() }
    }

    fn answer(code: i64) -> Answer {
        Answer { begin: 0, end: 0, code, output: String::new() }
    }

    #[test]
    fn tests_are_read_and_unknown_ones_refused() {
        let read = |test: &[&str]| Check::read(Some(&config(test)));
        assert_eq!(read(&["CMD", "a", "b"]).unwrap().unwrap().probe, Probe::Command(vec!["a".into(), "b".into()]));
        assert_eq!(read(&["CMD-SHELL", "a b"]).unwrap().unwrap().probe, Probe::Shell("a b".into()));
        assert_eq!(read(&["HTTP", "/x"]).unwrap().unwrap().probe, Probe::Http("/x".into()));
        assert_eq!((read(&["NONE"]).unwrap(), read(&[]).unwrap()), (None, None));
        for test in [&["CMD"][..], &["CMD-SHELL"], &["HTTP", "x"], &["HTTP", "/a b"], &["HTTP"], &["PING"]] {
            assert!(read(test).is_err(), "{test:?}");
        }
        let short = HealthConfig { interval: Some(10), ..config(&["CMD", "a"]) };
        assert!(Check::read(Some(&short)).is_err());
    }

    #[test]
    fn a_request_s_check_stands_over_the_image_s() {
        let image = HealthConfig { interval: Some(7), retries: Some(2), ..config(&["CMD", "image"]) };
        let request = HealthConfig { retries: Some(9), test: Some(Vec::new()), ..HealthConfig::default() };
        let merged = merge(Some(image.clone()), Some(request)).unwrap();
        assert_eq!((merged.interval, merged.retries, merged.test), (Some(7), Some(9), image.test.clone()));
        assert_eq!(merge(Some(image.clone()), None), Some(image.clone()));
        assert_eq!(merge(Some(image), Some(config(&["NONE"]))).unwrap().test.unwrap(), ["NONE"]);
    }

    #[test]
    fn failures_in_a_row_make_unhealthy_and_one_success_heals() {
        let check = Check::read(Some(&config(&["CMD", "a"]))).unwrap().unwrap();
        let mut health = Health::default();
        let mut take = |code| health.take(&check, answer(code), Duration::ZERO);
        assert_eq!((take(1), take(1), take(1), take(1)), (None, None, Some(Feeling::Unhealthy), None));
        assert_eq!((take(0), take(0)), (Some(Feeling::Healthy), None));
        assert_eq!((take(1), take(-1), take(2)), (None, None, Some(Feeling::Unhealthy)));
        assert_eq!((health.log.len(), health.streak), (REMEMBERED, 3));
    }

    #[test]
    fn failures_within_the_start_period_do_not_count() {
        let times = HealthConfig { start_period: Some(5_000_000_000), retries: Some(1), ..config(&["CMD", "a"]) };
        let check = Check::read(Some(&times)).unwrap().unwrap();
        let mut health = Health::default();
        assert_eq!(health.take(&check, answer(1), Duration::from_secs(1)), None);
        assert_eq!((health.streak, health.pause(&check, Duration::from_secs(1))), (0, Duration::from_secs(5)));
        assert_eq!(health.take(&check, answer(1), Duration::from_secs(6)), Some(Feeling::Unhealthy));
        assert_eq!(health.pause(&check, Duration::from_secs(6)), Duration::from_secs(30));
    }
}
