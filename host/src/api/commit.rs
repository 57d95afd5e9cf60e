//! `POST /commit`.

use std::sync::Arc;

use bollard_stubs::models::ContainerConfig;
use hyper::StatusCode;
use serde_json::json;

use crate::api::body;
use crate::api::call::Call;
use crate::api::containers::joined;
use crate::api::image_transfer::reference;
use crate::api::reply::{Answer, Failure, json as answer};
use crate::host::Host;
use crate::host::commit::Wanted;

/// A container as an image.
pub(crate) async fn commit(host: &Arc<Host>, call: Call) -> Answer {
    let query = call.query;
    let key =
        query.get("container").ok_or_else(|| Failure::bad_request("bad parameter: 'container' cannot be empty"))?;
    let container = host.containers.find(key)?;
    let reference = query.get("repo").map(|repo| reference(repo, query.get("tag"))).transpose()?;
    if reference.as_ref().is_some_and(|reference| reference.digest().is_some()) {
        return Err(Failure::bad_request("cannot commit to digest reference"));
    }
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let config: Option<ContainerConfig> = body::json(call.body).await?;
    let wanted = Wanted {
        reference,
        author: text("author"),
        comment: text("comment"),
        pause: query.get("pause").is_none() || query.truth("pause"),
        config: config.unwrap_or_default(),
        changes: query.all("changes").map(str::to_owned).collect(),
    };
    let host = host.clone();
    // In a task of its own: a client that hangs up does not leave a container paused.
    let id = joined(tokio::spawn(async move { host.commit(&container, wanted).await })).await?;
    Ok(answer(StatusCode::CREATED, &json!({ "Id": id })))
}
