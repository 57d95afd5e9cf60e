//! The demo's surroundings: a temporary root, a host that serves it, a registry on loopback; and their end.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use proa_registry::Server;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::sweep;
use crate::cli::client::Client;
use crate::cli::door::Door;
use crate::cli::{report, system};

/// What was set up; [`close`](Scene::close) takes it down, and so does dropping it.
#[derive(Debug)]
pub(super) struct Scene {
    folder: Option<TempDir>,
    door: Door,
    registry: SocketAddr,
    server: Option<(oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>)>,
    /// Tells other demos that this one lives.
    _lock: File,
}

impl Scene {
    pub(super) fn open() -> anyhow::Result<Scene> {
        for failure in sweep::sweep(&std::env::temp_dir()) {
            report(&failure);
        }
        let folder = tempfile::Builder::new().prefix(sweep::PREFIX).tempdir().context("make a temporary root")?;
        let lock = sweep::claim(folder.path())?;
        let (registry, server) = serve_registry(&folder.path().join("registry"))?;
        let door = Door::Root(folder.path().join("root"));
        let scene = Scene { folder: Some(folder), door, registry, server: Some(server), _lock: lock };
        // The first connection starts the host.
        scene.client()?;
        Ok(scene)
    }

    /// The registry's address as part of an image's name.
    pub(super) fn registry(&self) -> SocketAddr {
        self.registry
    }

    /// A folder for the demo's own files.
    pub(super) fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nonexistent"), TempDir::path)
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Client::connect(&self.door)
    }

    /// The host's socket as `--host` takes it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.door.socket().display())
    }

    /// Takes everything down; every failure is told.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        let failures: Vec<String> = self.take_down().into_iter().map(|error| format!("{error:#}")).collect();
        if failures.is_empty() { Ok(()) } else { Err(anyhow!("{}", failures.join("; "))) }
    }

    fn take_down(&mut self) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        if let Some((stop, thread)) = self.server.take() {
            // The receiver is gone only when the server has ended already.
            let _ = stop.send(());
            let ended = thread.join().unwrap_or_else(|_| Err(anyhow!("the registry's thread panicked")));
            failures.extend(ended.err());
        }
        if let Some(folder) = self.folder.take() {
            if self.door.knock().is_ok() {
                let stopped = self.client().and_then(system::stop_host).context("stop the host");
                failures.extend(stopped.err());
            }
            let path = folder.path().to_path_buf();
            failures.extend(folder.close().with_context(|| format!("remove `{}`", path.display())).err());
        }
        failures
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.take_down();
    }
}

type Serving = (oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>);

/// The registry in a thread of its own, on a free port of loopback.
fn serve_registry(folder: &Path) -> anyhow::Result<(SocketAddr, Serving)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("listen on loopback")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    std::fs::create_dir_all(folder).with_context(|| format!("make `{}`", folder.display()))?;
    let server = Server::open(folder).context("open the embedded registry")?;
    let (stop, stopped) = oneshot::channel::<()>();
    let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a reactor")?;
    let thread = std::thread::spawn(move || {
        reactor.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let shutdown = async move {
                // Resolves when asked to and when the demo is gone.
                let _ = stopped.await;
            };
            server.serve(listener, shutdown).await.context("serve the embedded registry")
        })
    });
    Ok((address, (stop, thread)))
}
