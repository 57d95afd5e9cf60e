//! Pull and push, told as Docker tells them: one JSON object a line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use hyper::StatusCode;
use proa_registry::{Credentials, ErrorKind, Event, Progress, Reference, Selection, Status};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api::body::Body;
use crate::api::call::Call;
use crate::api::image_archive;
use crate::api::image_inspect::platform;
use crate::api::reply::{Answer, Failure, with_type};
use crate::error::{Error, chain};
use crate::host::Host;

/// How often one layer's progress is told; every piece of it would be a flood.
const PACE: Duration = Duration::from_millis(100);

/// `POST /images/create`: an import with `fromSrc`, else a pull.
pub(crate) async fn create(host: &Arc<Host>, call: Call) -> Answer {
    match call.query.get("fromSrc").map(str::to_owned) {
        Some(source) => image_archive::import(host, call, &source).await,
        None => pull(host, &call).await,
    }
}

/// `POST /images/create?fromImage=`.
async fn pull(host: &Arc<Host>, call: &Call) -> Answer {
    let name = call.query.get("fromImage").ok_or_else(|| Failure::bad_request("no image named: give `fromImage`"))?;
    let reference = reference(name, call.query.get("tag"))?;
    let selection = match call.query.get("platform") {
        None => Selection::Default,
        Some(text) => Selection::Platform(platform(text)?),
    };
    let credentials = credentials(call, reference.registry())?;
    let host = host.clone();
    let (sender, receiver) = mpsc::unbounded_channel();
    let task_sender = sender.clone();
    let task = async move {
        let tag =
            reference.tag().map_or_else(|| reference.digest().map(ToString::to_string), |tag| Some(tag.to_owned()));
        // Told with the first sign of life of the registry, so that a failure before it is a status of its own.
        let first =
            json!({ "status": format!("Pulling from {}", reference.repository()), "id": tag.unwrap_or_default() });
        let progress = teller(task_sender.clone(), first.clone());
        let pulled = host.images.pull(&reference, &selection, credentials, progress.tell()).await;
        let pulled = pulled.map_err(|error| explained(error, &reference))?;
        // Where nothing had to be fetched, nothing was told yet.
        progress.begin();
        let shown = reference.familiar();
        host.events.image("pull", &shown, &reference.familiar_name());
        say(&task_sender, &json!({ "status": format!("Digest: {}", pulled.descriptor.digest) }));
        let what = if pulled.changed { "Downloaded newer image for" } else { "Image is up to date for" };
        say(&task_sender, &json!({ "status": format!("Status: {what} {shown}") }));
        Ok(())
    };
    tell(task, sender, receiver).await
}

/// `POST /images/{name}/push`. Without a tag all of the repository's are pushed, one after the other.
pub(crate) async fn push(host: &Arc<Host>, name: &str, call: &Call) -> Answer {
    let first = reference(name, call.query.get("tag"))?;
    let all = match call.query.get("tag") {
        Some(_) => vec![first.clone()],
        None => tags_of(host, &first).await?,
    };
    let credentials = credentials(call, first.registry())?;
    let host = host.clone();
    // An image that is not here is a 404, before anything is told.
    for reference in &all {
        host.images.find(&reference.to_string()).await?;
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let task_sender = sender.clone();
    let task = async move {
        let line = json!({ "status": format!("The push refers to repository [{}]", first.name()) });
        let progress = teller(task_sender.clone(), line);
        for reference in all {
            let pushed = host.images.push(&reference, credentials.clone(), progress.tell()).await;
            let pushed = pushed.map_err(|error| explained(error, &reference))?;
            progress.begin();
            host.events.image("push", &reference.familiar(), &reference.familiar_name());
            let tag = reference.tag().unwrap_or_default();
            let line = format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size);
            say(&task_sender, &json!({ "status": line }));
            let aux = json!({ "Tag": tag, "Digest": pushed.digest.to_string(), "Size": pushed.size });
            say(&task_sender, &json!({ "progressDetail": {}, "aux": aux }));
        }
        Ok(())
    };
    tell(task, sender, receiver).await
}

/// The names of a repository that are here; the one asked for where there is none, which is then missed.
async fn tags_of(host: &Arc<Host>, asked: &Reference) -> Result<Vec<Reference>, Failure> {
    let all = host.images.list().await?;
    let names = all.into_iter().flat_map(|named| named.names);
    let found: Vec<Reference> = names.filter(|name| name.name() == asked.name() && name.tag().is_some()).collect();
    Ok(if found.is_empty() { vec![asked.clone()] } else { found })
}

/// Docker's words where a registry does not have an image or does not show it: clients look for them.
pub(crate) fn explained(error: Error, reference: &Reference) -> Error {
    let Error::Image { attempt, reference: named, source } = error else { return error };
    let name = reference.familiar_name();
    let cause = chain(&*source);
    match (attempt, source.kind()) {
        ("push", ErrorKind::Denied) => Error::Denied(format!("push access denied for {name}: {cause}")),
        (_, ErrorKind::Denied) => Error::FindInRegistry(format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': denied: {cause}"
        )),
        ("pull" | "look up", ErrorKind::NotFound) if !matches!(*source, proa_registry::Error::NoVariant { .. }) => {
            Error::FindInRegistry(format!("manifest for {} not found: manifest unknown: {cause}", reference.familiar()))
        }
        _ => Error::Image { attempt, reference: named, source },
    }
}

/// The reference of a name and a tag that may be a digest.
pub(crate) fn reference(name: &str, tag: Option<&str>) -> Result<Reference, Failure> {
    let text = match tag {
        None => name.to_owned(),
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
    };
    Reference::parse(&text).map_err(|error| Failure::bad_request(format!("invalid reference format: {error}")))
}

/// The logins a request brings: X-Registry-Auth for its registry, X-Registry-Config for any.
pub(crate) fn credentials(call: &Call, registry: &str) -> Result<Credentials, Failure> {
    let header = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok()).filter(|t| !t.is_empty());
    let malformed = |name: &str, error: proa_registry::Error| Failure::bad_request(format!("read {name}: {error}"));
    let own = match header("x-registry-auth") {
        None => Credentials::none(),
        Some(text) => Credentials::from_registry_auth(registry, text).map_err(|e| malformed("X-Registry-Auth", e))?,
    };
    match header("x-registry-config") {
        None => Ok(own),
        Some(text) => {
            Ok(own.or(Credentials::from_registry_config(text).map_err(|e| malformed("X-Registry-Config", e))?))
        }
    }
}

/// Runs `task` and streams what it says; what fails before the first word is an answer with its own status.
async fn tell(
    task: impl Future<Output = crate::Result<()>> + Send + 'static,
    sender: mpsc::UnboundedSender<Bytes>,
    mut receiver: mpsc::UnboundedReceiver<Bytes>,
) -> Answer {
    let (failed, failure) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let result = tokio::select! {
            result = task => result,
            // The client is gone: whatever is whole stays, the rest is dropped.
            () = sender.closed() => return,
        };
        if let Err(error) = result {
            // Sent both ways; whichever is read first is used, and the other is dropped unseen.
            let text = error.sentence();
            let _ = failed.send(error);
            say(&sender, &json!({ "errorDetail": { "message": text }, "error": text }));
        }
    });
    let first = tokio::select! {
        biased;
        Ok(error) = failure => return Err(error.into()),
        first = receiver.recv() => first,
    };
    let rest = stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|line| (line, receiver)) });
    let all = stream::iter(first).chain(rest);
    Ok(with_type(StatusCode::OK, "application/json", Body::stream(all)))
}

fn say(sender: &mpsc::UnboundedSender<Bytes>, line: &Value) {
    // A client that is gone needs no telling.
    let _ = sender.send(Bytes::from(format!("{line}\r\n")));
}

/// Tells a client what happens, beginning with a line of its own.
#[derive(Clone)]
struct Teller {
    sender: mpsc::UnboundedSender<Bytes>,
    pace: Arc<Mutex<Pace>>,
}

struct Pace {
    first: Option<Value>,
    last: std::collections::HashMap<String, Instant>,
}

fn teller(sender: mpsc::UnboundedSender<Bytes>, first: Value) -> Teller {
    let pace = Pace { first: Some(first), last: std::collections::HashMap::new() };
    Teller { sender, pace: Arc::new(Mutex::new(pace)) }
}

impl Teller {
    /// Says the first line, if nothing was said yet.
    fn begin(&self) {
        self.begin_with(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn begin_with(&self, pace: &mut Pace) {
        if let Some(first) = pace.first.take() {
            say(&self.sender, &first);
        }
    }

    fn tell(&self) -> Progress {
        let teller = self.clone();
        Arc::new(move |event: Event| teller.event(&event))
    }

    fn event(&self, event: &Event) {
        let Some(line) = line(event) else { return };
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(id), Status::Downloading { done, total } | Status::Pushing { done, total }) =
            (&event.id, &event.status)
        {
            let early = pace.last.get(id).is_some_and(|last| last.elapsed() < PACE);
            if early && done < total {
                return;
            }
            pace.last.insert(id.clone(), Instant::now());
        }
        self.begin_with(&mut pace);
        say(&self.sender, &line);
    }
}

/// Docker's words for an event.
fn line(event: &Event) -> Option<Value> {
    let plain = |status: &str| Some(json!({ "status": status, "progressDetail": {}, "id": event.id }));
    let part = |status: &str, done: u64, total: u64| {
        let detail = json!({ "current": done, "total": total });
        Some(json!({ "status": status, "progressDetail": detail, "progress": bar(done, total), "id": event.id }))
    };
    match event.status {
        Status::Resolving => None,
        Status::PullingFsLayer => plain("Pulling fs layer"),
        Status::Waiting => plain("Waiting"),
        Status::Downloading { done, total } => part("Downloading", done, total),
        Status::Verifying => plain("Verifying Checksum"),
        Status::DownloadComplete => plain("Download complete"),
        Status::Extracting => plain("Extracting"),
        Status::PullComplete => plain("Pull complete"),
        Status::AlreadyExists => plain("Already exists"),
        Status::Preparing => plain("Preparing"),
        Status::Pushing { done, total } => part("Pushing", done, total),
        Status::Pushed => plain("Pushed"),
        Status::Mounted => plain("Mounted from another repository"),
        Status::LayerAlreadyExists => plain("Layer already exists"),
    }
}

/// `[====>      ]  1.5MB/3MB`, as Docker's clients before their own bars show it.
fn bar(done: u64, total: u64) -> String {
    let width = (done.min(total) * 50).checked_div(total).map_or(0, |width| usize::try_from(width).unwrap_or(0));
    let arrow = if width == 50 { "" } else { ">" };
    format!("[{}{arrow}{}] {}/{}", "=".repeat(width), " ".repeat(50 - width - arrow.len()), size(done), size(total))
}

fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_000 && unit < 4 {
        tenths /= 1000;
        unit += 1;
    }
    let name = ["B", "kB", "MB", "GB", "TB"][unit];
    if tenths.is_multiple_of(10) {
        format!("{}{name}", tenths / 10)
    } else {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_docker_s() {
        let event =
            Event { id: Some("abc".to_owned()), status: Status::Downloading { done: 1_500_000, total: 3_000_000 } };
        let line = line(&event).unwrap();
        assert_eq!(line["progressDetail"], json!({ "current": 1_500_000, "total": 3_000_000 }));
        assert!(line["progress"].as_str().unwrap().ends_with("1.5MB/3MB"));
    }

    #[test]
    fn a_tag_may_be_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(reference("busybox", Some(&digest)).unwrap().digest().unwrap().to_string(), digest);
        assert_eq!(reference("busybox", None).unwrap().familiar(), "busybox:latest");
        assert!(reference("BAD NAME", None).is_err());
    }
}
