//! Images on their way in and out. Must not know how clients are told of the progress.

use std::collections::HashSet;
use std::io::Read;

use proa_registry::{
    Client, Credentials, Digest, ErrorKind, Limits, Loaded, Progress, Pulled, Pushed, Reference, Selection, archive,
};

use crate::error::{Error, Result};
use crate::images::Images;

impl Images {
    /// Fetches an image and gives it its name.
    pub async fn pull(
        &self,
        reference: &Reference,
        selection: &Selection,
        credentials: Credentials,
        progress: Progress,
    ) -> Result<Pulled> {
        let failed =
            |source| Error::Image { attempt: "pull", reference: reference.familiar(), source: Box::new(source) };
        let client = Client::new(credentials).map_err(failed)?;
        let pulled = client.pull(reference, selection, &self.store, progress).await.map_err(failed);
        // Also after a failure: names may have changed before it.
        self.forget_names();
        pulled
    }

    /// Sends an image to its registry.
    pub async fn push(&self, reference: &Reference, credentials: Credentials, progress: Progress) -> Result<Pushed> {
        let found = self.find(&reference.to_string()).await?;
        let failed =
            |source| Error::Image { attempt: "push", reference: reference.familiar(), source: Box::new(source) };
        let client = Client::new(credentials).map_err(failed)?;
        client.push(reference, &found.named.descriptor, &self.store, progress).await.map_err(failed)
    }

    /// Takes the images of an archive in: an OCI layout or `docker save`'s, plain or gzip.
    pub async fn load(&self, archive: impl Read + Send + 'static) -> Result<Vec<Loaded>> {
        let loaded = self
            .blocking("load the archive", "sent", move |store| archive::load(store, archive, &Limits::default()))
            .await
            // What is missing is missing inside the archive; the request itself was found.
            .map_err(|error| match error {
                Error::Image { source, .. } if source.kind() == ErrorKind::NotFound => {
                    Error::Invalid(format!("load the archive: {source}"))
                }
                error => error,
            });
        self.forget_names();
        loaded
    }

    /// Frees what neither names nor `live` need.
    pub async fn sweep(&self, live: HashSet<Digest>) -> Result<()> {
        self.blocking("sweep", "the store", move |store| store.gc(&live).map(drop)).await
    }
}
