//! One image, looked at closely: its configuration, its history, and what its name points at in its registry.

use std::sync::Arc;

use proa_registry::{Descriptor, Image, Platform};
use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::image_transfer::{credentials, reference};
use crate::api::images::{bytes, names, preferred, variants};
use crate::api::reply::{Answer, Failure, ok};
use crate::error::Error;
use crate::host::Host;
use crate::images::Found;
use crate::timestamp::{ZERO, parse_rfc3339};

/// `GET /images/{name}/json`.
pub(crate) async fn inspect(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let found = host.images.find(name).await?;
    let image = chosen(host, &found, call).await?;
    let raw = host.images.config_json(image.clone(), name).await?;
    let (tags, digests) = names(&found.named);
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let text = |name: &str| raw.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let size = bytes(found.size());
    let mut value = json!({
        "Id": found.id(),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": last_comment(&raw),
        "Created": image.created.clone().unwrap_or_else(|| ZERO.to_owned()),
        "DockerVersion": text("docker_version"),
        "Author": image.author.clone().unwrap_or_default(),
        "Config": config(&raw),
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant.clone().unwrap_or_default(),
        "Os": image.platform.os,
        "OsVersion": text("os.version"),
        "Size": size,
        "GraphDriver": { "Name": "overlayfs", "Data": null },
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": ZERO },
        "Descriptor": found.named.descriptor,
    });
    if call.query.truth("manifests") {
        value["Manifests"] = json!(variants(&found));
    }
    if call.version < (1, 44) {
        value["VirtualSize"] = json!(size);
    }
    if call.version < (1, 45) {
        (value["Container"], value["ContainerConfig"]) = (json!(""), Value::Null);
    }
    ok(&value)
}

/// The variant asked for by `platform` (JSON, as newer clients send it, or text), else the one that stands for the image.
async fn chosen(host: &Arc<Host>, found: &Arc<Found>, call: &Call) -> Result<Arc<Image>, Failure> {
    match call.query.get("platform") {
        Some(text) => Ok(host.images.image(&found.named.descriptor, &platform(text)?, &found.name).await?),
        None => Ok(preferred(host, found).await?.ok_or_else(|| Error::FindImage(found.name.clone()))?),
    }
}

/// A platform as a query carries it.
pub(crate) fn platform(text: &str) -> Result<Platform, Failure> {
    let parsed = if text.starts_with('{') { serde_json::from_str(text).ok() } else { text.parse().ok() };
    parsed.ok_or_else(|| Failure::bad_request(format!("invalid platform: `{text}` is not `os/architecture[/variant]`")))
}

fn config(raw: &Value) -> Value {
    let mut config = raw.get("config").filter(|config| config.is_object()).cloned().unwrap_or_else(|| json!({}));
    if let Some(config) = config.as_object_mut() {
        let defaults = json!({ "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false,
            "AttachStdout": false, "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false,
            "Env": null, "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
            "OnBuild": null, "Labels": null });
        for (name, default) in defaults.as_object().into_iter().flatten() {
            config.entry(name.clone()).or_insert_with(|| default.clone());
        }
    }
    config
}

/// What was said of the last layer, or of the image.
fn last_comment(raw: &Value) -> String {
    let of_layer = history_of(raw).last().and_then(|entry| entry["comment"].as_str());
    of_layer.or_else(|| raw["comment"].as_str()).unwrap_or_default().to_owned()
}

fn history_of(raw: &Value) -> &[Value] {
    raw.get("history").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `GET /images/{name}/history`, newest first.
pub(crate) async fn history(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let found = host.images.find(name).await?;
    let image = chosen(host, &found, call).await?;
    let raw = host.images.config_json(image.clone(), name).await?;
    let mut entries = steps(history_of(&raw), &image.layers.iter().map(|layer| &layer.descriptor).collect::<Vec<_>>());
    if entries.is_empty() {
        // An artifact has no history; its program is one step.
        let created = image.created.as_deref().and_then(parse_rfc3339).unwrap_or(0);
        entries.push(step(created, "", "", image.size));
    }
    entries.reverse();
    let (tags, _) = names(&found.named);
    entries[0]["Id"] = json!(found.id());
    entries[0]["Tags"] = if tags.is_empty() { Value::Null } else { json!(tags) };
    ok(&entries)
}

/// One entry for each line of history, the layers given to those that made one; layers nobody tells of come first, for
/// what is added to an image brings its line along.
fn steps(history: &[Value], layers: &[&Descriptor]) -> Vec<Value> {
    let makes_layer = |line: &Value| line["empty_layer"].as_bool() != Some(true);
    let told = history.iter().filter(|line| makes_layer(line)).count();
    let (untold, told) = layers.split_at(layers.len().saturating_sub(told));
    let mut entries: Vec<Value> = untold.iter().map(|layer| step(0, "", "", layer.size)).collect();
    let mut told = told.iter();
    for line in history {
        let size = makes_layer(line).then(|| told.next()).flatten().map_or(0, |layer| layer.size);
        let created = line["created"].as_str().and_then(parse_rfc3339).unwrap_or(0);
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        entries.push(step(created, text("created_by"), text("comment"), size));
    }
    entries
}

fn step(created: i64, by: &str, comment: &str, size: u64) -> Value {
    json!({ "Id": "<missing>", "Created": created, "CreatedBy": by, "Tags": null, "Size": bytes(size), "Comment": comment })
}

/// `GET /distribution/{name}/json`.
pub(crate) async fn distribution(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let reference = reference(name, None)?;
    let looked = host
        .images
        .look_up(&reference, credentials(call, reference.registry())?)
        .await
        .map_err(|error| crate::api::image_transfer::explained(error, &reference))?;
    let platforms: Vec<Value> = looked
        .platforms
        .iter()
        .map(|platform| {
            let mut value = json!({ "architecture": platform.architecture, "os": platform.os });
            if let Some(variant) = &platform.variant {
                value["variant"] = json!(variant);
            }
            value
        })
        .collect();
    let found = looked.descriptor;
    ok(&json!({
        "Descriptor": { "mediaType": found.media_type, "digest": found.digest, "size": found.size },
        "Platforms": platforms,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proa_registry::Digest;

    #[test]
    fn history_gives_its_layers_to_the_lines_that_made_them() {
        let layer = |size: u64| Descriptor::new("x", Digest::sha256_of(b""), size);
        let (one, two, three) = (layer(1), layer(2), layer(3));
        let history = [
            json!({ "created": "1970-01-01T00:00:05Z", "created_by": "ADD a" }),
            json!({ "created_by": "CMD", "empty_layer": true }),
            json!({ "created_by": "RUN", "comment": "why" }),
        ];
        let steps = steps(&history, &[&one, &two, &three]);
        let sizes: Vec<_> = steps.iter().map(|step| step["Size"].as_i64().unwrap_or(-1)).collect();
        assert_eq!((sizes, steps[1]["Created"].as_i64()), (vec![1, 2, 0, 3], Some(5)));
        assert_eq!((steps[3]["Comment"].as_str(), steps[0]["CreatedBy"].as_str()), (Some("why"), Some("")));
    }

    #[test]
    fn a_platform_comes_as_text_or_as_json() {
        let json = platform(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#).unwrap();
        assert_eq!(
            (json.to_string(), platform("linux/arm64").unwrap().to_string()),
            ("linux/arm64/v8".into(), "linux/arm64".into())
        );
        assert!(platform("{").is_err() && platform("a/b/c/d").is_err());
    }
}
