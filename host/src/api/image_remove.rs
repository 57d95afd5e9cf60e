//! Images that go: one by name or id, or all that nobody uses.

use std::collections::BTreeSet;
use std::sync::Arc;

use bollard_stubs::models::ImageDeleteResponseItem;
use proa_registry::{Digest, Reference};
use serde_json::{Value, json};

use crate::api::call::Call;
use crate::api::filters::Filters;
use crate::api::image_filter::{self, Bounds, is_true};
use crate::api::images::rows;
use crate::api::reply::{Answer, Failure, ok};
use crate::error::Error;
use crate::events::Subject;
use crate::host::Host;
use crate::images::Found;

/// A container that uses an image.
struct User {
    /// The first twelve digits of its id.
    id: String,
    running: bool,
}

/// `DELETE /images/{name}`: takes the name away, and the image with its last one. `noprune` changes nothing: images have
/// no parents here.
pub(crate) async fn remove(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let force = call.query.truth("force");
    let found = host.images.find(name).await?;
    let users = users(host, &found);
    let named = Reference::parse(name).ok().filter(|reference| found.named.names.contains(reference));
    let Some(reference) = named else {
        refuse_by_id(&found, &users, force)?;
        return delete(host, &found).await;
    };
    if found.named.names.len() > 1 {
        host.images.untag(&reference).await?;
        return ok(&[untagged(host, &found, &reference)]);
    }
    if let Some(user) = users.first().filter(|_| !force) {
        let short = found.named.descriptor.digest.short();
        return Err(conflict(format!(
            "conflict: unable to remove repository reference \"{name}\" (must force) - container {} is using its \
             referenced image {short}",
            user.id
        )));
    }
    if users.iter().any(|user| user.running) {
        // What runs keeps its image; only the name goes.
        host.images.untag_last(&found, &reference).await?;
        return ok(&[untagged(host, &found, &reference)]);
    }
    delete(host, &found).await
}

/// dockerd's words; what may be forced and what may not.
fn refuse_by_id(found: &Found, users: &[User], force: bool) -> Result<(), Failure> {
    let short = found.named.descriptor.digest.short();
    if let Some(user) = users.iter().find(|user| user.running) {
        return Err(conflict(format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {}",
            user.id
        )));
    }
    if force {
        return Ok(());
    }
    let repositories: BTreeSet<String> = found.named.names.iter().map(Reference::name).collect();
    if repositories.len() > 1 {
        return Err(conflict(format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )));
    }
    match users.first() {
        None => Ok(()),
        Some(user) => Err(conflict(format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {}",
            user.id
        ))),
    }
}

fn conflict(text: String) -> Failure {
    Error::Conflict(text).into()
}

fn users(host: &Host, found: &Found) -> Vec<User> {
    let id = found.id();
    let all = host.containers.all();
    let using = all.iter().filter(|container| container.with(|record| record.image_id == id));
    using.map(|c| User { id: c.id()[..12].to_owned(), running: c.status().is_running() }).collect()
}

async fn delete(host: &Arc<Host>, found: &Found) -> Answer {
    let digest = found.named.descriptor.digest.clone();
    let removed = host.remove_images(std::slice::from_ref(&digest)).await?;
    let items: Vec<_> = deleted(host, found, &digest, removed.names.into_iter().flatten());
    ok(&items)
}

fn deleted(
    host: &Host,
    found: &Found,
    digest: &Digest,
    names: impl Iterator<Item = Reference>,
) -> Vec<ImageDeleteResponseItem> {
    let mut items: Vec<_> = names.map(|reference| untagged(host, found, &reference)).collect();
    host.events.image("delete", &found.id(), &found.id());
    items.push(ImageDeleteResponseItem { untagged: None, deleted: Some(digest.to_string()) });
    items
}

fn untagged(host: &Host, found: &Found, reference: &Reference) -> ImageDeleteResponseItem {
    host.events.image("untag", &found.id(), &reference.familiar());
    ImageDeleteResponseItem { untagged: Some(reference.familiar()), deleted: None }
}

/// `POST /images/prune`: images without a name and, with `dangling=false`, all that no container uses.
pub(crate) async fn prune(host: &Arc<Host>, call: &Call) -> Answer {
    let filters = Filters::read(&call.query, &image_filter::PRUNE)?;
    let dangling_only = filters.values("dangling").iter().all(|value| is_true(value));
    let bounds = Bounds::until(&filters)?;
    let mut doomed = Vec::new();
    for row in rows(host).await? {
        let is_dangling = row.found.named.names.is_empty();
        let labels = &row.summary.labels;
        let fits = (is_dangling || !dangling_only)
            && filters.labels(Some(labels))
            && filters.no_labels(Some(labels))
            && bounds.hold(row.created);
        if fits && users(host, &row.found).is_empty() {
            doomed.push(row.found);
        }
    }
    let digests: Vec<Digest> = doomed.iter().map(|found| found.named.descriptor.digest.clone()).collect();
    let removed = host.remove_images(&digests).await?;
    let (names, freed) = (removed.names, removed.bytes);
    let mut items = Vec::new();
    for ((found, digest), names) in doomed.iter().zip(&digests).zip(names) {
        items.extend(deleted(host, found, digest, names.into_iter()));
    }
    host.events.pruned(Subject::Image, freed);
    let items = if items.is_empty() { Value::Null } else { json!(items) };
    ok(&json!({ "ImagesDeleted": items, "SpaceReclaimed": freed }))
}
