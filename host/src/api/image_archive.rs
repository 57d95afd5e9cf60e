//! Images as archives: taken in, made of files, and given out.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use hyper::StatusCode;
use proa_registry::archive::Chosen;
use proa_registry::{Import, Platform};
use serde_json::json;

use crate::api::body::{Body, Reader};
use crate::api::call::Call;
use crate::api::image_inspect::platform;
use crate::api::image_transfer::reference;
use crate::api::reply::{Answer, Failure, with_type};
use crate::host::Host;
use crate::images::{Images, changes};
use crate::timestamp::rfc3339;

/// The most images of one archive.
const NAMES_MAX: usize = 1000;

/// `POST /images/load`. As dockerd does, a refused archive is told in the stream: clients look for its errors there.
pub(crate) async fn load(host: &Arc<Host>, call: Call) -> Answer {
    let loaded = match host.images.load(Reader::in_turn(call.body).await).await {
        Ok(loaded) => loaded,
        Err(error) => {
            let message = error.sentence();
            let line: Bytes =
                format!("{}\r\n", json!({ "errorDetail": { "message": message }, "error": message })).into();
            return Ok(with_type(StatusCode::OK, "application/json", Body::stream(stream::iter([line]))));
        }
    };
    let line = |loaded: &proa_registry::Loaded| {
        let text = match &loaded.reference {
            Some(reference) => format!("Loaded image: {}\n", reference.familiar()),
            None => format!("Loaded image ID: {}\n", loaded.descriptor.digest),
        };
        format!("{}\r\n", json!({ "stream": text }))
    };
    let lines: Vec<Bytes> = loaded.iter().map(|loaded| line(loaded).into()).collect();
    for loaded in &loaded {
        let id = loaded.descriptor.digest.to_string();
        let name = loaded.reference.as_ref().map_or_else(|| id.clone(), proa_registry::Reference::familiar);
        host.events.image("load", &id, &name);
    }
    // In chunks, by which docker-py tells many lines from one.
    Ok(with_type(StatusCode::OK, "application/json", Body::stream(stream::iter(lines))))
}

/// `POST /images/create?fromSrc=-`: the tar in the body becomes an image of one layer.
pub(crate) async fn import(host: &Arc<Host>, call: Call, source: &str) -> Answer {
    if source != "-" {
        // A host that fetched whatever it is told could be sent to its own neighbours.
        return Err(Failure::bad_request(format!(
            "an archive is not fetched from `{source}`: download it, and import the file"
        )));
    }
    let query = &call.query;
    let target = query.get("repo").map(|name| reference(name, query.get("tag"))).transpose()?;
    if target.as_ref().is_some_and(|target| target.digest().is_some()) {
        return Err(Failure::bad_request("cannot import digest reference"));
    }
    let platform = query.get("platform").map_or_else(|| Ok(Platform::host()), platform)?;
    let mut config = json!({});
    changes::apply(&mut config, &query.all("changes").map(str::to_owned).collect::<Vec<_>>())?;
    let comment = query.get("message").unwrap_or("Imported from -").to_owned();
    let import = Import { platform, config, comment, created: rfc3339(SystemTime::now()) };
    let descriptor = host.images.import(import, target, Reader::in_turn(call.body).await).await?;
    let id = descriptor.digest.to_string();
    host.events.image("import", &id, &id);
    let line = format!("{}\r\n", json!({ "status": id }));
    Ok(with_type(StatusCode::OK, "application/json", line.into_bytes().into()))
}

/// `GET /images/get?names=` and `GET /images/{name}/get`: an archive of all of them.
pub(crate) async fn save(host: &Arc<Host>, names: Vec<String>, call: &Call) -> Answer {
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(Failure::bad_request(format!("name between 1 and {NAMES_MAX} images to save")));
    }
    let mut chosen = host.images.choose(&names).await?;
    for wanted in call.query.all("platform").filter(|text| !text.is_empty()) {
        let wanted = platform(wanted)?;
        narrow(host, &mut chosen, &wanted).await?;
    }
    for image in &chosen {
        let id = image.descriptor.digest.to_string();
        host.events.image("save", &id, &id);
    }
    let store = host.images.store().clone();
    let body = Body::written(move |out| Images::save(&store, &chosen, out));
    Ok(with_type(StatusCode::OK, "application/x-tar", body))
}

/// Of indexes only the variant for `platform`.
async fn narrow(host: &Arc<Host>, chosen: &mut [Chosen], platform: &Platform) -> Result<(), Failure> {
    for image in chosen {
        let name = image.descriptor.digest.to_string();
        image.descriptor = host.images.image(&image.descriptor, platform, &name).await?.descriptor.clone();
    }
    Ok(())
}
