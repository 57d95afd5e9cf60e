//! `POST /containers/{id}/wait`: the head goes out at once, so that the client knows it is waited for; the body comes
//! with the end.

use std::sync::Arc;

use bollard_stubs::models::{ContainerWaitExitError, ContainerWaitResponse};
use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;

use crate::api::body::Body;
use crate::api::call::Call;
use crate::api::reply::{Answer, Failure, with_type};
use crate::host::{Condition, Host};

/// The code for an end that nobody saw; no guest has it, and the answer's `Error` says so.
const UNKNOWN: i64 = -1;

/// Waits for a container's end or removal.
pub(crate) fn wait(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let container = host.containers.find(id)?;
    let condition = match call.query.get("condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => return Err(Failure::bad_request(format!("invalid condition: \"{other}\""))),
    };
    // Subscribed before the head goes out: an end right after it is not missed.
    let end = host.wait(container, condition);
    let body = stream::once(async move {
        let (code, reason) = end.await;
        let response = ContainerWaitResponse {
            status_code: code.map_or(UNKNOWN, i64::from),
            error: code.is_none().then_some(ContainerWaitExitError { message: Some(reason) }),
        };
        Bytes::from(serde_json::to_vec(&response).unwrap_or_default())
    });
    Ok(with_type(StatusCode::OK, "application/json", Body::stream(body)))
}
