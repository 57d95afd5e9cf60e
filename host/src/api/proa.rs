//! What only proa has.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use crate::api::call::Call;
use crate::api::containers::joined;
use crate::api::create;
use crate::api::reply::{Answer, done, ok, with_type};
use crate::error::plain;
use crate::host::Host;

/// `POST /proa/stop`: ends every workload of the root, then zygote and workers, answers 204, and the host goes. Whoever
/// wants to know that it is gone waits for the socket to be.
pub(crate) async fn stop(host: &Arc<Host>) -> Answer {
    let host = host.clone();
    // A client that hangs up does not leave half of it running.
    joined(tokio::spawn(async move { host.stop_all().await })).await?;
    done()
}

/// `POST /proa/check`, with `repair=1` to put right what can be: everything at rest is read and held against what was
/// written. Answers when it is through, and ends where it is when the client goes.
pub(crate) async fn check(host: &Arc<Host>, call: &Call) -> Answer {
    let report = host.check(call.query.truth("repair")).await?;
    let damages = report.damages.iter().map(|damage| {
        json!({ "What": damage.what, "Problem": plain(&damage.problem), "Remedy": plain(&damage.remedy),
            "Repaired": damage.is_repaired })
    });
    ok(&json!({ "Blobs": report.blobs, "Layers": report.layers, "Records": report.records, "Modules": report.modules,
        "Damages": damages.collect::<Vec<_>>() }))
}

/// `POST /proa/plan`: the body of `containers/create`; the plan as text, a step or grant a line. Runs nothing.
pub(crate) async fn plan(host: &Arc<Host>, call: Call) -> Answer {
    let (host, request) = (host.clone(), create::request(call).await?);
    // As a create's: what it needs compiled is compiled to the end.
    let plan = joined(tokio::spawn(async move { host.plan(request).await })).await?;
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", plan.into_bytes().into()))
}
