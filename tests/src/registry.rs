//! proa's own registry server, in this process, on loopback: the honest other end of a push and a pull.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use proa_registry::Server;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// The registry; it ends when dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl Registry {
    /// Serves an empty registry on a free port of loopback.
    ///
    /// # Errors
    /// When no port or folder can be had.
    pub fn start() -> Result<Registry> {
        Registry::over(tempfile::Builder::new().prefix("proa-test-registry-").tempdir()?)
    }

    /// Serves what lies in `folder`.
    ///
    /// # Errors
    /// As [`start`](Registry::start).
    pub fn over(folder: TempDir) -> Result<Registry> {
        let server = Server::open(folder.path())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("binding a port of loopback")?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let shutdown = async {
                let _ = stopped.await;
            };
            if let Err(error) = runtime.block_on(server.serve(listener, shutdown)) {
                eprintln!("the test's registry ended: {error}");
            }
        });
        Ok(Registry { address, stop: Some(stop), thread: Some(thread), folder })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Registry {
    /// Where its content lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
