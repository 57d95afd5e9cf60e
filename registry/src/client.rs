//! The client's end of the distribution protocol (OCI distribution-spec 1.1): pull into a store, push from one. Digest
//! and size of everything are verified before it has a name in the store. Must not know what images are run for.
//!
//! client/transport.rs sends requests and guards credentials (token.rs, helper.rs, logins.rs and authorities.rs know them); pull.rs (with fetch.rs for
//! its blobs) and push.rs are the two conversations.

mod authorities;
mod challenge;
mod credentials;
mod fetch;
mod helper;
mod logins;
mod look;
mod pace;
mod pull;
mod push;
mod token;
mod transport;
mod upload;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use credentials::{Credentials, Login, docker_config};
pub use logins::{Keeper, forget_login, keep_login};
pub use look::Distribution;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;
use pace::Pace;
use transport::Transport;

/// Talks to registries: HTTPS everywhere, HTTP on loopback only. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    /// Bytes of a blob that are sent at once; longer ones go in pieces.
    piece: u64,
}

/// Where Docker keeps the authorities of single registries.
const DOCKER_AUTHORITIES: &str = "/etc/docker/certs.d";

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Called for every step of a pull or a push, from several threads.
pub type Progress = Arc<dyn Fn(Event) + Send + Sync>;

/// One step of a pull or a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The first twelve digits of the blob's digest; `None` for the image as a whole.
    pub id: Option<String>,
    pub status: Status,
}

/// What happens to a blob; the words are those of Docker's progress messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Resolving,
    PullingFsLayer,
    Waiting,
    /// Bytes.
    Downloading {
        done: u64,
        total: u64,
    },
    Verifying,
    DownloadComplete,
    Extracting,
    PullComplete,
    AlreadyExists,
    Preparing,
    /// Bytes.
    Pushing {
        done: u64,
        total: u64,
    },
    Pushed,
    /// The registry took it from another of its repositories.
    Mounted,
    LayerAlreadyExists,
}

/// Which variants of an index are fetched. An image that is no index is fetched whatever it is for, unless a platform
/// is asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every Wasm variant, and Linux for this machine.
    Default,
    /// The variants for one platform.
    Platform(Platform),
    /// Every runnable variant.
    All,
}

/// A finished pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What the reference points at now.
    pub descriptor: Descriptor,
    /// Whether anything was fetched or the name moved.
    pub changed: bool,
}

/// A finished push: the manifest or index the registry now has under the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// Bytes of the manifest or index.
    pub size: u64,
}

impl Client {
    /// A client that shows `credentials` to the registries they belong to, and to nobody else. It trusts the machine's
    /// authorities, and for single registries those in `/etc/docker/certs.d/HOST[:PORT]/` (`*.crt`; `*.cert` and `*.key`
    /// are shown to that host).
    pub fn new(credentials: Credentials) -> Result<Client> {
        Client::trusting(credentials, &[])
    }

    /// The same, with more folders like `/etc/docker/certs.d`, which come first.
    pub fn trusting(credentials: Credentials, folders: &[PathBuf]) -> Result<Client> {
        let folders = folders.iter().cloned().chain([PathBuf::from(DOCKER_AUTHORITIES)]).collect();
        Ok(Client { transport: Arc::new(Transport::new(credentials, folders, Pace::default())?), piece: push::PIECE })
    }

    /// Checks this client's login at `registry`; gives back the identity token that stands in for the password, where
    /// the registry gave one.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) where the registry refuses it.
    pub async fn log_in(&self, registry: &str) -> Result<Option<String>> {
        look::log_in(&self.transport, registry).await
    }

    /// What `reference` points at in its registry; nothing is fetched but its manifests.
    pub async fn look_up(&self, reference: &Reference) -> Result<Distribution> {
        look::look_up(&self.transport, reference).await
    }

    /// Fetches `reference` into `store`, unpacks it and names it. The name moves only when all of it is there; a pull
    /// that fails leaves verified blobs, which the next one need not fetch again or [`Store::gc`] removes.
    pub async fn pull(
        &self,
        reference: &Reference,
        selection: &Selection,
        store: &Store,
        progress: Progress,
    ) -> Result<Pulled> {
        pull::pull(&self.transport, reference, selection, store, progress).await
    }

    /// Sends what `descriptor` points at in `store` to `reference`. Of an index all variants must be here; when only
    /// one is, that one is sent alone.
    pub async fn push(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        store: &Store,
        progress: Progress,
    ) -> Result<Pushed> {
        push::push(&self.transport, reference, descriptor, store, self.piece, progress).await
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Thread { doing })?
}

fn event(id: &Digest, status: Status) -> Event {
    Event { id: Some(id.short().to_owned()), status }
}

#[cfg(test)]
mod tests;
