//! An embedded registry: enough of the OCI distribution protocol (distribution-spec 1.1) to push to and pull from, for
//! demos, tests and nodes without a network. One folder, an OCI image layout whose names are `repository:tag`. Blobs are
//! shared by all repositories. No authentication: who may connect is decided by the listener.
//!
//! server/route.rs reads requests, manifests.rs, blobs.rs and uploads.rs answer them, answer.rs words the answers. Must
//! not know the store or the client.

mod answer;
mod blobs;
mod manifests;
mod route;
mod uploads;

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::error::Result;
use crate::layout::Layout;
use answer::{Answer, Refusal};
use route::Route;
use uploads::Uploads;

const CONNECTIONS_MAX: usize = 512;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests under way may take once the server shall end.
const DRAIN: Duration = Duration::from_secs(5);

/// A registry over a folder.
#[derive(Debug)]
pub struct Server {
    state: Arc<State>,
}

/// What all requests share.
#[derive(Debug)]
struct State {
    layout: Layout,
    uploads: Uploads,
}

impl Server {
    /// Opens the registry in `dir`, making it where there is none. One process at a time may have it.
    pub fn open(dir: &Path) -> Result<Server> {
        let layout = Layout::create(dir)?;
        layout.clear_ingest()?;
        Ok(Server { state: Arc::new(State { layout, uploads: Uploads::default() }) })
    }

    /// Answers on `listener` until `shutdown` is ready, then finishes the requests under way.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&listener, &room) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Some((stream, permit)) = accepted else { continue };
            let (state, stopping) = (self.state.clone(), stopping.clone());
            connections.spawn(async move {
                connection(state, stream, stopping).await;
                drop(permit);
            });
        }
        drop(listener);
        let _ = stop.send(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            connections.shutdown().await;
        }
        Ok(())
    }
}

/// Room first, then a connection: what does not fit waits in the listener's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            // Out of descriptors or a client that is gone already: the next one may do better.
            tracing::warn!(%error, "accept a registry connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(state: Arc<State>, stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(respond(&state, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let asked_to_stop = async { stopping.wait_for(|stop| *stop).await.map(drop) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = asked_to_stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "registry connection ended");
    }
}

async fn respond(state: &State, request: Request<Incoming>) -> Answer {
    let head = request.method() == Method::HEAD;
    let answered = match Route::of(request.method(), request.uri()) {
        Ok(route) => dispatch(state, route, request).await,
        Err(refusal) => Err(refusal),
    };
    let answer = answered.unwrap_or_else(Refusal::into_answer);
    if head { answer::without_body(answer) } else { answer }
}

async fn dispatch(state: &State, route: Route, request: Request<Incoming>) -> Result<Answer, Refusal> {
    match route {
        Route::Version => Ok(answer::json(200, &serde_json::json!({}))),
        Route::Tags { repository, after, most } => manifests::tags(state, repository, after, most).await,
        Route::GetManifest { repository, target } => manifests::get(state, repository, target).await,
        Route::PutManifest { repository, target } => manifests::put(state, repository, target, request).await,
        Route::DeleteManifest { repository, target } => manifests::delete(state, repository, target).await,
        Route::GetBlob { digest } => blobs::get(state, digest, request.headers().get(hyper::header::RANGE)).await,
        Route::BeginUpload { repository, mount, digest } => {
            uploads::begin(state, repository, mount, digest, request).await
        }
        Route::UploadStatus { repository, id } => uploads::status(state, &repository, &id),
        Route::Append { repository, id } => uploads::append(state, &repository, &id, request).await,
        Route::Finish { repository, id, digest } => uploads::finish(state, &repository, &id, digest, request).await,
        Route::Cancel { repository, id } => uploads::cancel(state, &repository, &id),
    }
}
