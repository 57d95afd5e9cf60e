//! `GET /system/df`: what images, containers and volumes take on the disk.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::api::call::Call;
use crate::api::reply::{Answer, Failure, ok};
use crate::api::{images, list};
use crate::host::Host;
use crate::images::run_blocking;
use crate::timestamp::rfc3339_nanos;

const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// All kinds, or those that `type` names.
pub(crate) async fn df(host: &Arc<Host>, call: &Call) -> Answer {
    let wanted: Vec<&str> = call.query.all("type").collect();
    if let Some(unknown) = wanted.iter().find(|kind| !KINDS.contains(kind)) {
        return Err(Failure::bad_request(format!("unknown object type: {unknown}")));
    }
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| drop(answer.insert(name.to_owned(), value));
    if wants("image") {
        let blobs = host.root().join("store/blobs/sha256");
        let size = run_blocking(move || Ok(blob_size(&blobs))).await?;
        put("LayersSize", json!(size));
        put("Images", json!(images::usage(host).await?));
    }
    if wants("container") {
        put("Containers", json!(list::summaries(host, list::seen(host), true).await?));
    }
    if wants("volume") {
        put("Volumes", volumes(host).await);
    }
    if wants("build-cache") {
        put("BuildCache", json!([]));
        put("BuilderSize", json!(0));
    }
    ok(&answer)
}

/// Bytes of all blobs, each counted once.
fn blob_size(folder: &Path) -> u64 {
    let blobs = std::fs::read_dir(folder).into_iter().flatten().flatten();
    blobs.filter_map(|blob| blob.metadata().ok()).filter(std::fs::Metadata::is_file).map(|data| data.len()).sum()
}

async fn volumes(host: &Host) -> Value {
    let all = host.volume_sizes().await;
    let volumes = all.iter().map(|(volume, size, users)| {
        json!({ "Name": volume.name, "Driver": "local", "Scope": "local", "Labels": volume.labels,
            "Options": volume.options, "CreatedAt": rfc3339_nanos(volume.created),
            "Mountpoint": host.root().join("volumes").join(&volume.name).join("_data"),
            "UsageData": { "RefCount": users, "Size": size } })
    });
    volumes.collect()
}
