//! Images that are here: listed, tagged, and how much room they take.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_stubs::models::ImageSummary;
use hyper::StatusCode;
use proa_registry::{Digest, Image, Named, Platform, Reference};
use serde_json::{Value, json};

use crate::api::call::{Call, Query};
use crate::api::filters::Filters;
use crate::api::image_filter::{self, Candidate};
use crate::api::image_transfer::reference;
use crate::api::reply::{Answer, Failure, empty, ok};
use crate::host::Host;
use crate::images::{Found, wasi};
use crate::timestamp::{parse_moment, parse_rfc3339};

/// One image of a list, and what it is narrowed by.
pub(crate) struct Row {
    pub found: Arc<Found>,
    pub summary: ImageSummary,
    /// Nanoseconds since 1970: images of one second have an order too.
    pub created: u64,
}

/// `GET /images/json`, newest first.
pub(crate) async fn list(host: &Arc<Host>, call: &Call) -> Answer {
    let mut filters = Filters::read(&call.query, &image_filter::LIST)?;
    if let Some(pattern) = call.query.get("filter") {
        // Clients before API 1.25.
        filters.add("reference", pattern);
    }
    let rows = rows(host).await?;
    let bounds = image_filter::Bounds::read(&filters, &rows)?;
    let (shared, manifests) = (call.query.truth("shared-size"), call.query.truth("manifests"));
    let counts = shared.then(|| counts(&rows));
    let mut all = Vec::new();
    for Row { found, mut summary, created } in rows {
        let candidate = Candidate { names: &summary.repo_tags, labels: &summary.labels };
        if !filters.fits_image(&candidate) || !bounds.hold(created) {
            continue;
        }
        // Its other names were not asked for.
        summary.repo_tags.retain(|name| image_filter::is_meant(&filters, name));
        summary.repo_digests.retain(|name| image_filter::is_digest_meant(&filters, name, &summary.repo_tags));
        if let Some(counts) = &counts {
            summary.shared_size = shared_size(&found, counts);
        }
        all.push(value(&found, &summary, manifests, call.version));
    }
    ok(&all)
}

/// All images, newest first.
pub(crate) async fn rows(host: &Host) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for named in host.images.list().await? {
        let found = host.images.find(&named.descriptor.digest.to_string()).await?;
        let (summary, created) = summary(host, &found, &named).await;
        rows.push(Row { found, summary, created });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows)
}

/// What `/system/df` says of images: each with the bytes it shares with others.
pub(crate) async fn usage(host: &Host) -> Result<Vec<ImageSummary>, Failure> {
    let rows = rows(host).await?;
    let counts = counts(&rows);
    let shared = |row: &Row| ImageSummary { shared_size: shared_size(&row.found, &counts), ..row.summary.clone() };
    Ok(rows.iter().map(shared).collect())
}

/// How many images hold each blob.
fn counts(rows: &[Row]) -> HashMap<Digest, usize> {
    let mut counts = HashMap::new();
    for digest in rows.iter().flat_map(|row| row.found.content.keys()) {
        *counts.entry(digest.clone()).or_insert(0) += 1;
    }
    counts
}

fn shared_size(found: &Found, counts: &HashMap<Digest, usize>) -> i64 {
    let is_shared = |digest: &Digest| counts.get(digest).is_some_and(|count| *count > 1);
    bytes(found.content.iter().filter(|(digest, _)| is_shared(digest)).map(|(_, size)| size).sum())
}

fn value(found: &Found, summary: &ImageSummary, manifests: bool, version: (u32, u32)) -> Value {
    let mut value = json!(summary);
    if version < (1, 44) {
        value["VirtualSize"] = json!(summary.size);
    }
    if version >= (1, 48) {
        value["Descriptor"] = json!(found.named.descriptor);
    }
    if manifests {
        value["Manifests"] = json!(variants(found));
    }
    // Go writes what is empty where the generated type leaves it out.
    for name in ["RepoTags", "RepoDigests"] {
        if value.get(name).is_none_or(Value::is_null) {
            value[name] = json!([]);
        }
    }
    value
}

/// The variants of an index, as `Manifests` lists them.
pub(crate) fn variants(found: &Found) -> Vec<Value> {
    let each = found.variants.iter().map(|variant| {
        let platform = &variant.platform;
        let mut shown = json!({ "os": platform.os, "architecture": platform.architecture });
        if let Some(name) = &platform.variant {
            shown["variant"] = json!(name);
        }
        let size = found.content.get(&variant.descriptor.digest).copied().unwrap_or(0);
        json!({ "ID": variant.descriptor.digest, "Descriptor": variant.descriptor, "Available": variant.present,
            "Size": { "Content": size, "Total": size }, "Kind": "image",
            "ImageData": { "Platform": shown, "Containers": [], "Size": { "Unpacked": 0 } } })
    });
    each.collect()
}

/// `POST /images/{name}/tag`.
pub(crate) async fn tag(host: &Arc<Host>, name: &str, query: &Query) -> Answer {
    let repository = query.get("repo").ok_or_else(|| Failure::bad_request("no repository named: give `repo`"))?;
    let target = reference(repository, query.get("tag"))?;
    if target.digest().is_some() {
        return Err(Failure::bad_request("refusing to create a tag with a digest reference"));
    }
    host.images.tag(name, &target).await?;
    host.events.image("tag", &host.images.find(name).await?.id(), &target.familiar());
    Ok(empty(StatusCode::CREATED))
}

async fn summary(host: &Host, found: &Found, named: &Named) -> (ImageSummary, u64) {
    // One image that cannot be read must not hide the others.
    let image = preferred(host, found).await.ok().flatten();
    let written = image.as_ref().and_then(|image| image.created.as_deref());
    let created = written.and_then(parse_rfc3339).unwrap_or(0);
    let nanos = written.and_then(parse_moment).unwrap_or(0);
    let id = named.descriptor.digest.to_string();
    let users = host.containers.all().iter().filter(|container| container.with(|record| record.image_id == id)).count();
    let (repo_tags, repo_digests) = names(named);
    let summary = ImageSummary {
        id,
        parent_id: String::new(),
        repo_tags,
        repo_digests,
        created,
        size: bytes(found.size()),
        shared_size: -1,
        labels: image.as_ref().and_then(|image| image.config.labels().clone()).unwrap_or_default(),
        containers: users as i64,
        manifests: None,
        descriptor: None,
    };
    (summary, nanos)
}

/// The variant that stands for an image in lists: the native one where it is here, else the Wasm one.
pub(crate) async fn preferred(host: &Host, found: &Found) -> Result<Option<Arc<Image>>, Failure> {
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

/// Tags and digests, as people type them.
pub(crate) fn names(named: &Named) -> (Vec<String>, Vec<String>) {
    let digest: &Digest = &named.descriptor.digest;
    let tags = named.names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect();
    let mut digests: Vec<String> =
        named.names.iter().map(|name| format!("{}@{digest}", name.familiar_name())).collect();
    digests.sort();
    digests.dedup();
    (tags, digests)
}

/// As Go's int64 has it.
pub(crate) fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
