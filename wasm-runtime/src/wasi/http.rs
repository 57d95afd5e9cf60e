//! Serves a `wasi:http` component on listening sockets handed in: HTTP/1.1, one fresh instance a request.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::engine::{Gate, Metered};
use crate::guest::{Ready, State};

/// Requests in a guest at once; more are answered 503 with Retry-After.
const REQUESTS: usize = 256;

/// Connections at once; more wait in the listener's backlog.
const CONNECTIONS: usize = 1024;

/// For a request's head, also while a kept connection idles.
const HEAD: Duration = Duration::from_secs(30);

/// For the guest to begin its response.
const RESPONSE: Duration = Duration::from_secs(60);

type Reply = Response<HyperOutgoingBody>;

/// One guest as a server.
pub(crate) struct Server {
    ready: Ready,
    proxy: ProxyPre<State>,
    requests: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(ready: Ready, proxy: ProxyPre<State>) -> Server {
        Server { ready, proxy, requests: Arc::new(Semaphore::new(REQUESTS)) }
    }
}

/// Serves until dropped, which ends every connection and request.
pub(crate) async fn serve(server: Arc<Server>, listeners: Vec<TcpListener>) {
    let ended = CancellationToken::new();
    let _end_requests = ended.clone().drop_guard();
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(Arc::clone(&server), listener, Arc::clone(&connections), ended.clone()));
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(server: Arc<Server>, listener: TcpListener, slots: Arc<Semaphore>, ended: CancellationToken) {
    // Dropped with this task, and its connections with it.
    let mut open = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        while open.try_join_next().is_some() {}
        // While it is paused its clients wait in the backlog.
        server.ready.account.gate.passage().await;
        match listener.accept().await {
            Ok((stream, _)) => drop(open.spawn(connection(Arc::clone(&server), stream, slot, ended.clone()))),
            // Out of descriptors, or a peer that left again: the listener itself is well, give it time.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream, _slot: OwnedSemaphorePermit, ended: CancellationToken) {
    // Small responses should not wait for an acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        let ended = ended.clone();
        async move { Ok::<_, Infallible>(answer(server, request, ended).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(true);
    // What a client does wrong is answered by hyper and concerns nobody else.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(server: Arc<Server>, request: Request<Incoming>, ended: CancellationToken) -> Reply {
    if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
        return plain(StatusCode::BAD_REQUEST, "the request names no host\n");
    }
    let Ok(permit) = Arc::clone(&server.requests).try_acquire_owned() else { return busy() };
    let (respond, response) = oneshot::channel();
    let (gave_up, late) = oneshot::channel::<()>();
    let (ticker, account) = (Arc::clone(server.ready.engine.ticker()), server.ready.account.clone());
    let handling = Metered::new(&ticker, &account, async move {
        let _permit = permit;
        if let Err(error) = handle(&server, request, respond).await {
            server.ready.last_words(&error);
        }
    });
    // A task of its own: the guest may go on after its response was sent, and a client that leaves does not end it.
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            Ok(()) = late => {}
            () = handling => {}
        }
    });
    match in_time(&account.gate, response).await {
        Ok(Ok(Ok(reply))) => reply,
        Ok(Ok(Err(code))) => plain(StatusCode::BAD_GATEWAY, &format!("the guest answered with an error: {code:?}\n")),
        Ok(Err(_dropped)) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the guest ended without a response\n"),
        Err(_elapsed) => {
            let _ = gave_up.send(());
            plain(StatusCode::GATEWAY_TIMEOUT, "the guest did not respond in time\n")
        }
    }
}

/// Waits for the guest's response; the time in which it is paused does not count.
async fn in_time<T>(gate: &Gate, response: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut response = pin!(response);
    loop {
        match tokio::time::timeout(RESPONSE, &mut response).await {
            Err(_elapsed) if gate.is_shut() => gate.passage().await,
            other => return other,
        }
    }
}

async fn handle(
    server: &Server,
    request: Request<Incoming>,
    respond: oneshot::Sender<Result<Reply, ErrorCode>>,
) -> wasmtime::Result<()> {
    let mut store = server.ready.store();
    let guest = match server.proxy.instantiate_async(&mut store).await {
        // Neighbours hold all of the worker's slots: not the guest's fault, and soon over.
        Err(error) if error.is::<PoolConcurrencyLimitError>() => {
            let _ = respond.send(Ok(busy()));
            return Ok(());
        }
        other => other?,
    };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let respond = http.new_response_outparam(respond)?;
    guest.wasi_http_incoming_handler().call_handle(&mut store, request, respond).await
}

fn busy() -> Reply {
    let mut reply = plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n");
    reply.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    reply
}

fn plain(status: StatusCode, text: &str) -> Reply {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never: Infallible| match never {});
    let mut reply = Response::new(body.boxed_unsync());
    *reply.status_mut() = status;
    reply
}
