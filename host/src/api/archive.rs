//! `cp` and `export`: HEAD, GET and PUT `/containers/{id}/archive`, GET `/containers/{id}/export`.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use proa_registry::{Limits, TarStream};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::api::body::{Body, Reader, STALLED};
use crate::api::call::{Call, Query};
use crate::api::containers::joined;
use crate::api::reply::{Answer, Failure, empty, with_type};
use crate::error::{Error, Result};
use crate::files::acting::acting;
use crate::files::pack::Packer;
use crate::files::path::Asked;
use crate::files::unpack::{Options, Owner, unpack};
use crate::files::view::{Ids, PathStat};
use crate::host::Host;
use crate::host::files::Files;
use crate::images::run_blocking;
use crate::state::{Container, Record};
use crate::timestamp::rfc3339_nanos;

/// The header that tells what a path is, base64 of JSON.
const STAT: &str = "x-docker-container-path-stat";
/// Copies that run at once; each has a thread, and there must be some left for everybody else. More wait.
const COPIES: usize = 64;
static TURNS: Semaphore = Semaphore::const_new(COPIES);

/// What a path is.
pub(crate) async fn stat(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let (_, files, asked) = open(host, id, &call.query).await?;
    let found = run_blocking(move || {
        let found = files.view().find(&asked)?;
        Ok(files.view().stat(&asked, &found))
    });
    with_stat(empty(StatusCode::OK), &found.await?)
}

/// A path and all beneath it, as a tar.
pub(crate) async fn copy_out(host: &Arc<Host>, id: &str, call: &Call) -> Answer {
    let (container, files, asked) = open(host, id, &call.query).await?;
    let (tell, told) = oneshot::channel();
    let turn = turn().await;
    let body = Body::written(move |out| {
        let _turn = turn;
        let found = match files.view().find(&asked) {
            Ok(found) => found,
            Err(error) => {
                let _ = tell.send(Err(error));
                return Ok(());
            }
        };
        let _ = tell.send(Ok(files.view().stat(&asked, &found)));
        let mut packer = Packer::new(out, files.view().ids);
        let packed = packer.tree(found.handle.as_fd(), asked.base.as_bytes()).and_then(|()| packer.finish());
        packed.map_err(|error| crate::error::chain(&error))
    });
    let stat = told.await.unwrap_or(Err(Error::Stopping))?;
    let path = call.query.get("path").unwrap_or_default().to_owned();
    host.events.container(&container, "archive-path", &[("path", path)]);
    with_stat(with_type(StatusCode::OK, "application/x-tar", body), &stat)
}

/// A tar into a folder.
pub(crate) async fn copy_in(host: &Arc<Host>, id: &str, call: Call) -> Answer {
    let (container, files, asked) = open(host, id, &call.query).await?;
    let keep_kinds = call.query.truth("noOverwriteDirNonDir");
    let chosen = call.query.truth("copyUIDGID").then(|| container.with(user)).flatten();
    let body = Reader::within(STALLED, call.body);
    // In a task of its own: what a client that hangs up leaves behind is at least told to nobody half-way.
    let turn = turn().await;
    let unpacked = run_blocking(move || match files.view().ids {
        Ids::SAME => receive(&files, &asked, body, keep_kinds, chosen),
        ids => acting(ids.outside(0).unwrap_or(0), || receive(&files, &asked, body, keep_kinds, chosen)),
    });
    joined(tokio::spawn(async move {
        let _turn = turn;
        unpacked.await
    }))
    .await?;
    let path = call.query.get("path").unwrap_or_default().to_owned();
    host.events.container(&container, "extract-to-dir", &[("path", path)]);
    Ok(empty(StatusCode::OK))
}

/// The container's whole root, without what is mounted in it.
pub(crate) async fn export(host: &Arc<Host>, id: &str) -> Answer {
    let container = host.containers.find(id)?;
    let files = host.files(&container, id).await?;
    files.view().root()?;
    let turn = turn().await;
    let body = Body::written(move |out| {
        let _turn = turn;
        let Ok(root) = files.view().root() else { return Ok(()) };
        let mut packer = Packer::new(out, files.view().ids).of_one_mount();
        let packed = packer.beneath(root.handle.as_fd(), b"", 0).and_then(|()| packer.finish());
        packed.map_err(|error| crate::error::chain(&error))
    });
    host.events.container(&container, "export", &[]);
    Ok(with_type(StatusCode::OK, "application/octet-stream", body))
}

async fn turn() -> Option<SemaphorePermit<'static>> {
    // Closed by nobody.
    TURNS.acquire().await.ok()
}

async fn open(
    host: &Arc<Host>,
    id: &str,
    query: &Query,
) -> std::result::Result<(Arc<Container>, Files, Asked), Failure> {
    let container = host.containers.find(id)?;
    let path = query.get("path").ok_or_else(|| Failure::bad_request("bad parameter: 'path' cannot be empty"))?;
    if path.contains('\0') {
        return Err(Failure::bad_request("bad parameter: 'path' holds a zero byte"));
    }
    let asked = Asked::new(path);
    Ok((container.clone(), host.files(&container, id).await?, asked))
}

fn receive(files: &Files, asked: &Asked, body: Reader, keep_kinds: bool, user: Option<(u32, u32)>) -> Result<()> {
    let view = &files.view();
    let folder = view.folder(asked)?;
    let told = |(uid, gid)| Some((view.ids.outside(uid)?, view.ids.outside(gid)?));
    let owner = match folder.place.owner.or_else(|| user.and_then(told)) {
        Some((uid, gid)) => Owner::Everything(uid, gid),
        None => Owner::Archive(view.ids),
    };
    let capabilities = folder.place.owner.is_none() && view.ids == Ids::SAME;
    let options = Options { keep_kinds, owner, capabilities, skip_devices: false };
    // The disk is the bound on bytes; what is kept in memory is bounded by the rest.
    let limits = Limits { entries: u64::MAX, depth: crate::files::DEEPEST, ..Limits::default() };
    let mut stream = TarStream::new(body, &limits).map_err(|error| Error::Invalid(crate::error::chain(&error)))?;
    let dest = Path::new("/").join(&folder.path);
    match unpack(folder.place.handle.as_fd(), &dest, &mut stream, options) {
        Err(Error::Forbidden(_)) => Err(view.read_only(folder.handle.as_fd())),
        Err(error) => Err(error),
        // The rest is padding; that it could not be read is no reason to deny what was done.
        Ok(()) => {
            let _ = stream.finish();
            Ok(())
        }
    }
}

/// The container's own user, where it has one.
fn user(record: &Record) -> Option<(u32, u32)> {
    let named = record.config.user.as_deref().is_some_and(|user| !user.is_empty());
    named.then_some((record.user.uid, record.user.gid))
}

fn with_stat(mut response: hyper::Response<Body>, stat: &PathStat) -> Answer {
    let nanos = u64::try_from(stat.mtime.0).unwrap_or(0).saturating_mul(1_000_000_000) + u64::from(stat.mtime.1);
    let value = json!({ "name": stat.name.to_string_lossy(), "size": stat.size, "mode": stat.mode,
        "mtime": rfc3339_nanos(nanos), "linkTarget": stat.link_target.to_string_lossy() });
    let header = HeaderValue::from_str(&STANDARD.encode(value.to_string()));
    let header = header.map_err(|error| Failure::bad_request(format!("write the answer: {error}")))?;
    response.headers_mut().insert(STAT, header);
    Ok(response)
}
