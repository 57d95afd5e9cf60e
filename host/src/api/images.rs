//! Images that are here.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_stubs::models::{ImageDeleteResponseItem, ImageSummary};
use hyper::StatusCode;
use proa_registry::{Digest, Image, Named, Platform, Reference};
use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::filters::Filters;
use crate::api::image_transfer::reference;
use crate::api::reply::{Answer, Failure, empty, ok};
use crate::error::Error;
use crate::host::Host;
use crate::images::{Found, wasi};
use crate::timestamp::{ZERO, parse_rfc3339};

const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

/// `GET /images/json`, newest first.
pub(crate) async fn list(host: &Arc<Host>, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &FILTERS)?;
    let mut all = Vec::new();
    for named in host.images.list().await? {
        let found = host.images.find(&named.descriptor.digest.to_string()).await?;
        let (mut summary, image) = summary(host, &found, &named).await?;
        let dangling = summary.repo_tags.is_empty();
        let labels = image.and_then(|image| image.config.labels().clone());
        let fits = filters.any("dangling", |wanted| matches!(wanted.as_str(), "1" | "true") == dangling)
            && filters.any("reference", |pattern| summary.repo_tags.iter().any(|name| matches_pattern(pattern, name)))
            && filters.labels(labels.as_ref());
        if fits {
            // Its other names were not asked for.
            summary.repo_tags.retain(|name| filters.any("reference", |pattern| matches_pattern(pattern, name)));
            all.push(summary);
        }
    }
    all.sort_by_key(|summary| std::cmp::Reverse(summary.created));
    ok(&all)
}

/// `GET /images/{name}/json`.
pub(crate) async fn inspect(host: &Arc<Host>, name: &str) -> Answer {
    let found = host.images.find(name).await?;
    let image = preferred(host, &found).await?.ok_or_else(|| Error::FindImage(name.to_owned()))?;
    let raw = host.images.config_json(image.clone(), name).await?;
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
    let (tags, digests) = names(&found.named);
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let variants: Vec<Value> = found
        .variants
        .iter()
        .map(|variant| {
            json!({ "ID": variant.descriptor.digest, "Descriptor": variant.descriptor, "Available": variant.present,
                "Kind": "image", "ImageData": { "Platform": { "os": variant.platform.os,
                    "architecture": variant.platform.architecture } } })
        })
        .collect();
    ok(&json!({
        "Id": found.id(),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": raw.get("comment").cloned().unwrap_or_else(|| json!("")),
        "Created": image.created.clone().unwrap_or_else(|| ZERO.to_owned()),
        "DockerVersion": "",
        "Author": image.author.clone().unwrap_or_default(),
        "Config": config,
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant.clone().unwrap_or_default(),
        "Os": image.platform.os,
        "Size": size(&image),
        "GraphDriver": { "Name": "overlayfs", "Data": null },
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": ZERO },
        "Descriptor": found.named.descriptor,
        "Manifests": variants,
    }))
}

/// `POST /images/{name}/tag`.
pub(crate) async fn tag(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let repository = call.query.get("repo").ok_or_else(|| Failure::bad_request("no repository named: give `repo`"))?;
    let target = reference(repository, call.query.get("tag"))?;
    if target.digest().is_some() {
        return Err(Failure::bad_request("refusing to create a tag with a digest reference"));
    }
    host.images.tag(name, &target).await?;
    host.events.image("tag", &host.images.find(name).await?.id(), &target.familiar());
    Ok(empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`: takes the name away, and the image with its last one.
pub(crate) async fn remove(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let force = call.query.truth("force");
    let found = host.images.find(name).await?;
    let named = Reference::parse(name).ok().filter(|reference| found.named.names.contains(reference));
    let mut items = Vec::new();
    if let Some(reference) = named.filter(|_| found.named.names.len() > 1) {
        host.images.untag(&reference).await?;
        items.push(untagged(host, &found, &reference));
        return ok(&items);
    }
    if found.named.names.len() > 1 && !force {
        return Err(Error::Conflict(format!(
            "conflict: unable to delete {name} (must be forced) - image is referenced in multiple repositories"
        ))
        .into());
    }
    refuse_used(host, &found, name)?;
    let digest = found.named.descriptor.digest.clone();
    for reference in host.images.remove(&digest, host.images_in_use()).await? {
        items.push(untagged(host, &found, &reference));
    }
    host.events.image("delete", &found.id(), &found.id());
    items.push(ImageDeleteResponseItem { untagged: None, deleted: Some(digest.to_string()) });
    ok(&items)
}

fn refuse_used(host: &Host, found: &Found, name: &str) -> Result<(), Failure> {
    let id = found.id();
    let user = host.containers.all().into_iter().find(|container| container.with(|record| record.image_id == id));
    match user {
        None => Ok(()),
        Some(container) => Err(Error::Conflict(format!(
            "conflict: unable to remove repository reference \"{name}\" - container {} is using its referenced image {}",
            &container.id()[..12],
            found.named.descriptor.digest.short()
        ))
        .into()),
    }
}

fn untagged(host: &Host, found: &Found, reference: &Reference) -> ImageDeleteResponseItem {
    host.events.image("untag", &found.id(), &reference.familiar());
    ImageDeleteResponseItem { untagged: Some(reference.familiar()), deleted: None }
}

async fn summary(host: &Host, found: &Found, named: &Named) -> Result<(ImageSummary, Option<Arc<Image>>), Failure> {
    let image = preferred(host, found).await?;
    let created = image.as_ref().and_then(|image| image.created.as_deref()).and_then(parse_rfc3339).unwrap_or(0);
    let labels: HashMap<String, String> =
        image.as_ref().and_then(|image| image.config.labels().clone()).unwrap_or_default();
    let id = named.descriptor.digest.to_string();
    let users = host.containers.all().iter().filter(|container| container.with(|record| record.image_id == id)).count();
    let (repo_tags, repo_digests) = names(named);
    let summary = ImageSummary {
        id,
        parent_id: String::new(),
        repo_tags,
        repo_digests,
        created,
        size: image.as_ref().map_or(0, |image| size(image)),
        shared_size: -1,
        labels,
        containers: users as i64,
        manifests: None,
        descriptor: None,
    };
    Ok((summary, image))
}

/// The variant that stands for an image in lists: the native one where it is here, else the Wasm one.
async fn preferred(host: &Host, found: &Found) -> Result<Option<Arc<Image>>, Failure> {
    let offer = found.offer(None);
    let platform = match (offer.linux, offer.wasm) {
        (true, _) => Platform::host(),
        (false, true) => wasi(),
        (false, false) => match found.variants.iter().find(|variant| variant.present) {
            Some(variant) => variant.platform.clone(),
            None => return Ok(None),
        },
    };
    Ok(Some(host.images.image(&found.named.descriptor, &platform, &found.name).await?))
}

fn names(named: &Named) -> (Vec<String>, Vec<String>) {
    let digest: &Digest = &named.descriptor.digest;
    let tags = named.names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect();
    let mut digests: Vec<String> =
        named.names.iter().map(|name| format!("{}@{digest}", name.familiar_name())).collect();
    digests.sort();
    digests.dedup();
    (tags, digests)
}

fn size(image: &Image) -> i64 {
    i64::try_from(image.size).unwrap_or(i64::MAX)
}

/// Docker's `reference` filter: a name with or without a tag, `*` for any run of characters but `/`.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let bare = name.rsplit_once(':').map_or(name, |(bare, _)| bare);
    glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), bare.as_bytes())
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text) || text.split_first().is_some_and(|(first, after)| *first != b'/' && glob(pattern, after))
        }
        (Some((b'?', rest)), Some((_, after))) => glob(rest, after),
        (Some((wanted, rest)), Some((found, after))) => wanted == found && glob(rest, after),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_filter_matches_as_docker_s() {
        for (pattern, name, expected) in [
            ("busybox", "busybox:latest", true),
            ("busy*", "busybox:1", true),
            ("busybox:1", "busybox:latest", false),
            ("a/*", "a/b:1", true),
            ("*", "a/b:1", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }
}
