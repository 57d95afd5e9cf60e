//! `POST /containers/prune`, and what every prune's filters mean.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;

use crate::api::call::Call;
use crate::api::filters::Filters;
use crate::api::reply::{Answer, Failure, ok};
use crate::host::Host;
use crate::timestamp::{parse_until, unix_nanos};

const FILTERS: [&str; 3] = ["label", "label!", "until"];

/// Removes containers that do not run.
pub(crate) async fn containers(host: &Arc<Host>, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &FILTERS)?;
    let until = until(&filters)?;
    let host = host.clone();
    // In a task of its own: a client that hangs up does not leave it half done unseen.
    let task = tokio::spawn(async move {
        host.prune_containers(|record| {
            let labels = record.config.labels.as_ref();
            until.is_none_or(|until| record.created < until) && filters.labels(labels) && filters.no_labels(labels)
        })
        .await
    });
    let pruned = crate::api::containers::joined(task).await?;
    // As Go writes an empty list that was never made.
    let deleted = (!pruned.containers.is_empty()).then_some(pruned.containers);
    ok(&json!({ "ContainersDeleted": deleted, "SpaceReclaimed": pruned.reclaimed }))
}

/// The one moment that `until` names, in nanoseconds since 1970.
///
/// # Errors
/// 400 for several, and for one that is none.
pub(crate) fn until(filters: &Filters) -> Result<Option<u64>, Failure> {
    match filters.values("until") {
        [] => Ok(None),
        [text] => parse_until(text, unix_nanos(SystemTime::now()))
            .map(Some)
            .ok_or_else(|| Failure::bad_request(format!("invalid filter 'until={text}'"))),
        _ => Err(Failure::bad_request("more than one until filter specified")),
    }
}
