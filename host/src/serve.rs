//! The host as a server: its root, its socket, its end. Listener and shutdown are made by whoever calls.

mod crowd;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::api;
use crate::error::{Error, Result};
use crate::host::{Host, Options as HostOptions};
use crowd::{Crowd, Place};

/// How `proa host` serves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Everything is keyed by it; made when missing.
    pub root: PathBuf,
    /// The unix socket, mode 0600; replaced when nobody listens on it.
    pub socket: PathBuf,
    /// Bounds what tenants may use; none allows everything.
    pub policy: Option<PathBuf>,
    /// Bytes of memory to give out; `None` is the node's memory.
    pub capacity_memory: Option<u64>,
    /// End after this long without a running container and without a connection.
    pub idle_exit: Option<Duration>,
}

/// Connections served at once. For one more the one that has been silent for longest is closed; where none is silent, it waits
/// in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// How long a client may take for a request's head, and a connection may stay idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two attempts to make room.
const MAKE_ROOM: Duration = Duration::from_millis(100);
/// How long open answers may take once the server is to go; a `wait` or an attached stream is cut after it.
const DRAIN: Duration = Duration::from_millis(500);

/// Serves the Docker Engine API until `shutdown`, `POST /proa/stop` or idleness. Workloads run on, but for `stop`.
///
/// # Errors
/// `LockRoot` and `SocketInUse` when another host is there.
pub async fn serve(options: Options, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    refuse_taken(&options.socket)?;
    raise_descriptor_limit();
    let (root, policy) = (options.root.clone(), options.policy.clone());
    let host = Host::open(&HostOptions { root, policy, capacity_memory: options.capacity_memory }).await?;
    let listener = bind(&options.socket)?;
    let (close, closing) = watch::channel(false);
    let connections = Arc::new(AtomicUsize::new(0));
    {
        let mut stopped = host.stopped();
        tokio::select! {
            () = accept(&host, &listener, &connections, &closing) => {}
            () = shutdown => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = idle(&host, &connections, options.idle_exit) => {}
        }
    }
    // Gone before the last answer, so that whoever saw it may start another host.
    let _ = std::fs::remove_file(&options.socket);
    drop(listener);
    close.send_replace(true);
    // Every connection holds a receiver; when the last is gone, all answers are out.
    drop(closing);
    let _ = tokio::time::timeout(DRAIN, close.closed()).await;
    Ok(())
}

async fn accept(host: &Arc<Host>, listener: &UnixListener, count: &Arc<AtomicUsize>, closing: &watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let crowd = Arc::new(Crowd::default());
    loop {
        let Some(permit) = admit(&room, &crowd).await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others will close theirs.
                tracing::error!("accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        let (host, count, closing, place) = (host.clone(), count.clone(), closing.clone(), crowd.enter());
        tokio::spawn(async move {
            connection(host, stream, closing, place).await;
            count.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
        });
    }
}

/// Room for one more connection, made where there is none.
async fn admit(room: &Arc<Semaphore>, crowd: &Crowd) -> Option<tokio::sync::OwnedSemaphorePermit> {
    if let Ok(permit) = room.clone().try_acquire_owned() {
        return Some(permit);
    }
    let mut again = tokio::time::interval(MAKE_ROOM);
    let mut permit = std::pin::pin!(room.clone().acquire_owned());
    loop {
        tokio::select! {
            permit = permit.as_mut() => return permit.ok(),
            _ = again.tick() => crowd.make_room(),
        }
    }
}

async fn connection(host: Arc<Host>, stream: UnixStream, mut closing: watch::Receiver<bool>, place: Place) {
    let asked = |request| {
        let (host, busy) = (host.clone(), place.busy());
        async move { api::answer(host, request).await.map(|answer| answer.map(|body| body.with(busy))) }
    };
    let service = hyper::service::service_fn(asked);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return log_end(result),
        () = place.told_to_leave() => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    log_end(connection.await);
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        // Clients go away in the middle of things all day.
        tracing::debug!("serve a connection: {error}");
    }
}

async fn idle(host: &Host, connections: &AtomicUsize, after: Option<Duration>) {
    let Some(after) = after else { return std::future::pending().await };
    let step = (after / 12).max(Duration::from_millis(50));
    let mut quiet = Duration::ZERO;
    while quiet < after {
        tokio::time::sleep(step).await;
        let busy = connections.load(Ordering::Relaxed) > 0 || host.running() > 0;
        quiet = if busy { Duration::ZERO } else { quiet + step };
    }
}

/// As many descriptors as the machine allows: a running container that prints holds its log open.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!("raise the limit of open files: {error}");
    }
}

/// Refuses a socket somebody listens on.
fn refuse_taken(socket: &Path) -> Result<()> {
    match StdUnixStream::connect(socket) {
        Ok(_) => Err(Error::SocketInUse(socket.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Binds beside the name and renames: whoever finds the socket finds it ready, and a stale one is replaced at once.
fn bind(socket: &Path) -> Result<UnixListener> {
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    let name = format!(".proa-{}", &crate::random_id()[..8]);
    let handle =
        rustix::fs::open(folder, rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())
            .map_err(|error| Error::File { attempt: "open", path: folder.to_owned(), source: error.into() })?;
    // Through the folder's descriptor: a socket's address holds 108 bytes, a path may be longer.
    let address = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&handle));
    let listener = UnixListener::bind(&address).map_err(Error::file("listen on", socket))?;
    let temporary = folder.join(&name);
    let publish = || -> std::io::Result<()> {
        // Whoever may use this socket may do all that the host may.
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
        match std::fs::metadata(socket) {
            Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
                Err(std::io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket has this name"))
            }
            _ => std::fs::rename(&temporary, socket),
        }
    };
    if let Err(source) = publish() {
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::File { attempt: "publish the socket", path: socket.to_owned(), source });
    }
    Ok(listener)
}
