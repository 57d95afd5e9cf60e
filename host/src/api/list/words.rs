//! What `ps` says in its column STATUS, in Docker's words.

use crate::healing::health::Feeling;
use crate::state::{Record, Status};

/// The words for a container at `now`, in nanoseconds since 1970.
pub(super) fn status(record: &Record, feeling: Option<Feeling>, now: u64) -> String {
    let ago = |time: Option<u64>| human(now.saturating_sub(time.unwrap_or(now)) / 1_000_000_000);
    // A code nobody knows has no number.
    let code = record.exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    match (record.status, feeling) {
        (Status::Created, _) => "Created".to_owned(),
        (Status::Running, None) => format!("Up {}", ago(record.started)),
        (Status::Running, Some(feeling)) => format!("Up {} ({})", ago(record.started), feeling.in_brackets()),
        (Status::Paused, _) => format!("Up {} (Paused)", ago(record.started)),
        (Status::Restarting, _) => format!("Restarting ({code}) {} ago", ago(record.finished)),
        (Status::Exited, _) => format!("Exited ({code}) {} ago", ago(record.finished)),
        (Status::Removing, _) => "Removal In Progress".to_owned(),
        (Status::Dead, _) => "Dead".to_owned(),
    }
}

/// Docker's words for a length of time.
fn human(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use proa_sandbox::Isolation;

    use super::*;

    #[test]
    fn lengths_of_time_are_docker_s_words() {
        let table = [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (20 * 86_400, "2 weeks"),
        ];
        for (seconds, words) in table {
            assert_eq!(human(seconds), words);
        }
    }

    #[test]
    fn a_status_is_docker_s_words() {
        let mut record = crate::spec::tests::record(Isolation::Linux);
        record.started = Some(0);
        record.finished = Some(7_000_000_000);
        record.exit_code = Some(3);
        let now = 10_000_000_000;
        for (state, feeling, words) in [
            (Status::Created, None, "Created"),
            (Status::Running, None, "Up 10 seconds"),
            (Status::Running, Some(Feeling::Starting), "Up 10 seconds (health: starting)"),
            (Status::Running, Some(Feeling::Healthy), "Up 10 seconds (healthy)"),
            (Status::Paused, Some(Feeling::Healthy), "Up 10 seconds (Paused)"),
            (Status::Restarting, None, "Restarting (3) 3 seconds ago"),
            (Status::Exited, Some(Feeling::Unhealthy), "Exited (3) 3 seconds ago"),
            (Status::Removing, None, "Removal In Progress"),
            (Status::Dead, None, "Dead"),
        ] {
            record.status = state;
            assert_eq!(status(&record, feeling, now), words);
        }
    }
}
