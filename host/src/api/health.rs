//! `State.Health` of inspect.

use serde_json::{Value, json};

use crate::healing::health::Health;
use crate::timestamp::rfc3339_nanos;

/// What is known of a container's health, as dockerd writes it.
pub(crate) fn health(health: &Health) -> Value {
    let log: Vec<Value> = health
        .log
        .iter()
        .map(|answer| {
            json!({ "Start": rfc3339_nanos(answer.begin), "End": rfc3339_nanos(answer.end),
                "ExitCode": answer.code, "Output": answer.output })
        })
        .collect();
    json!({ "Status": health.feeling.as_str(), "FailingStreak": health.streak, "Log": log })
}
