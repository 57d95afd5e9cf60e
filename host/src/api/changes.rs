//! `GET /containers/{id}/changes`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::reply::{Answer, ok};
use crate::files;
use crate::files::upper::Kind;
use crate::host::Host;
use crate::images::run_blocking;

/// What the container has changed of its image's files.
pub(crate) async fn changes(host: &Arc<Host>, id: &str) -> Answer {
    let container = host.containers.find(id)?;
    let upper = host.upper(&container).await?;
    let name = id.to_owned();
    let changes = run_blocking(move || files::changes::changes(&name, upper.as_ref())).await?;
    let number = |kind| match kind {
        Kind::Modified => 0,
        Kind::Added => 1,
        Kind::Deleted => 2,
    };
    let change =
        |(path, kind): &(std::path::PathBuf, Kind)| json!({ "Path": path.to_string_lossy(), "Kind": number(*kind) });
    ok(&changes.iter().map(change).collect::<Vec<Value>>())
}
