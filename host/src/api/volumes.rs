//! `/volumes`.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_stubs::models::VolumeCreateRequest;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::api::body;
use crate::api::call::Call;
use crate::api::containers::joined;
use crate::api::filters::Filters;
use crate::api::reply::{Answer, Failure, done, json as answer, ok};
use crate::error::Error;
use crate::host::Host;
use crate::timestamp::rfc3339;
use crate::volumes::{Request, Volume};

/// From here on a prune takes anonymous volumes only, unless it is told `all`.
const ANONYMOUS_ONLY: (u32, u32) = (1, 42);

/// `POST /volumes/create`.
pub(crate) async fn create(host: &Arc<Host>, call: Call) -> Answer {
    let wanted: VolumeCreateRequest = body::json(call.body).await?;
    if wanted.cluster_volume_spec.is_some() {
        return Err(Failure::bad_request("cluster volumes are not supported: this is one node"));
    }
    let request = Request {
        name: wanted.name.filter(|name| !name.is_empty()),
        driver: wanted.driver.unwrap_or_default(),
        labels: wanted.labels.unwrap_or_default(),
        options: wanted.driver_opts.unwrap_or_default(),
    };
    let making = host.clone();
    let volume = joined(tokio::spawn(async move { making.create_volume(request).await })).await?;
    Ok(answer(StatusCode::CREATED, &shown(host, &volume)))
}

/// `GET /volumes`.
pub(crate) fn list(host: &Host, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &["dangling", "driver", "label", "name"])?;
    let dangling = filters.values("dangling").first().map(|value| match value.as_str() {
        "1" | "true" | "True" | "t" => Ok(true),
        "0" | "false" | "False" | "f" => Ok(false),
        other => Err(Failure::bad_request(format!("invalid filter 'dangling=[{other}]'"))),
    });
    let dangling = dangling.transpose()?;
    let fits = |volume: &Arc<Volume>| {
        filters.any("name", |wanted| volume.name.contains(wanted.as_str()))
            && filters.any("driver", |wanted| wanted == "local")
            && filters.labels(Some(&volume.labels))
            && dangling.is_none_or(|dangling| host.volume_users(&volume.name).is_empty() == dangling)
    };
    let all = host.volumes.all();
    let volumes: Vec<Value> = all.iter().filter(|volume| fits(volume)).map(|volume| shown(host, volume)).collect();
    ok(&json!({ "Volumes": volumes, "Warnings": null }))
}

/// `GET /volumes/{name}`.
pub(crate) fn inspect(host: &Host, name: &str) -> Answer {
    ok(&shown(host, &*host.volumes.find(name)?))
}

/// `DELETE /volumes/{name}`.
pub(crate) async fn remove(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let (removing, name) = (host.clone(), name.to_owned());
    let force = call.query.truth("force");
    joined(tokio::spawn(async move {
        match removing.remove_volume(&name).await {
            Err(Error::FindVolume(_)) if force => Ok(()),
            other => other,
        }
    }))
    .await?;
    done()
}

/// `POST /volumes/prune`.
pub(crate) async fn prune(host: &Arc<Host>, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &["label", "label!", "all"])?;
    let all = call.version < ANONYMOUS_ONLY
        || filters.values("all").iter().any(|value| matches!(value.as_str(), "1" | "true" | "True"));
    let wanted = move |volume: &Volume| {
        let unwanted = filters.values("label!").iter().any(|label| has(&volume.labels, label));
        (all || volume.is_anonymous()) && filters.labels(Some(&volume.labels)) && !unwanted
    };
    let pruning = host.clone();
    let pruned = joined(tokio::spawn(async move { pruning.prune_volumes(wanted).await })).await?;
    ok(&json!({ "VolumesDeleted": pruned.names, "SpaceReclaimed": pruned.reclaimed }))
}

fn has(labels: &HashMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// A volume as dockerd tells of it.
pub(crate) fn shown(host: &Host, volume: &Volume) -> Value {
    let created = rfc3339(crate::timestamp::from_unix_nanos(volume.created));
    let some = |map: &HashMap<String, String>| if map.is_empty() { Value::Null } else { json!(map) };
    json!({ "CreatedAt": created, "Driver": "local", "Labels": some(&volume.labels),
        "Mountpoint": host.volumes.mountpoint(volume), "Name": volume.name, "Options": some(&volume.options),
        "Scope": "local" })
}
