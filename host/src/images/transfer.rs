//! Images on their way in and out. Must not know how clients are told of the progress.

use std::collections::HashSet;
use std::io::{Read, Write};

use proa_registry::archive::{self, Chosen};
use proa_registry::{
    Client, Credentials, Descriptor, Digest, Distribution, ErrorKind, Import, Limits, Loaded, Progress, Pulled, Pushed,
    Reference, Selection, Store,
};

use crate::error::{Error, Result};
use crate::images::Images;

impl Images {
    fn client(&self, credentials: Credentials) -> proa_registry::Result<Client> {
        Client::trusting(credentials, &self.authorities)
    }

    /// Fetches an image and gives it its name.
    pub async fn pull(
        &self,
        reference: &Reference,
        selection: &Selection,
        credentials: Credentials,
        progress: Progress,
    ) -> Result<Pulled> {
        let failed = |source| failed("pull", reference, source);
        let client = self.client(credentials).map_err(failed)?;
        let pulled = client.pull(reference, selection, &self.store, progress).await.map_err(failed);
        // Also after a failure: names may have changed before it.
        self.forget_names();
        pulled
    }

    /// Sends an image to its registry.
    pub async fn push(&self, reference: &Reference, credentials: Credentials, progress: Progress) -> Result<Pushed> {
        let found = self.find(&reference.to_string()).await?;
        let failed = |source| failed("push", reference, source);
        let client = self.client(credentials).map_err(failed)?;
        client.push(reference, &found.named.descriptor, &self.store, progress).await.map_err(failed)
    }

    /// What a name points at in its registry; nothing is taken in.
    pub async fn look_up(&self, reference: &Reference, credentials: Credentials) -> Result<Distribution> {
        let failed = |source| failed("look up", reference, source);
        self.client(credentials).map_err(failed)?.look_up(reference).await.map_err(failed)
    }

    /// Checks a login; gives back the token that stands in for its password, where the registry gave one.
    pub async fn log_in(&self, registry: &str, credentials: Credentials) -> Result<Option<String>> {
        let failed =
            |source| Error::Image { attempt: "log in at", reference: registry.to_owned(), source: Box::new(source) };
        self.client(credentials).map_err(failed)?.log_in(registry).await.map_err(failed)
    }

    /// Takes the images of an archive in: an OCI layout or `docker save`'s, plain, gzip or zstd.
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

    /// Takes a tar of files in as an image of one layer, and names it if `reference` is given.
    pub async fn import(
        &self,
        import: Import,
        reference: Option<Reference>,
        files: impl Read + Send + 'static,
    ) -> Result<Descriptor> {
        let imported = self
            .blocking("import", "the archive", move |store| {
                let lease = store.lease();
                let descriptor = store.import(&lease, &import, files, &Limits::default())?;
                match &reference {
                    Some(reference) => store.tag(&descriptor, reference)?,
                    None => store.keep(&descriptor)?,
                }
                Ok(descriptor)
            })
            .await;
        self.forget_names();
        imported
    }

    /// The images that `save` is asked for by `names`: a name without a tag means all of the repository's, an id none.
    pub async fn choose(&self, names: &[String]) -> Result<Vec<Chosen>> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for name in names {
            for (descriptor, reference) in self.meant(name).await? {
                let known = chosen.iter().position(|image| image.descriptor.digest == descriptor.digest);
                let at = known.unwrap_or_else(|| {
                    chosen.push(Chosen { descriptor, names: Vec::new() });
                    chosen.len() - 1
                });
                let names = &mut chosen[at].names;
                names.extend(reference.filter(|reference| !names.contains(reference)));
            }
        }
        Ok(chosen)
    }

    async fn meant(&self, name: &str) -> Result<Vec<(Descriptor, Option<Reference>)>> {
        let last = name.rsplit('/').next().unwrap_or(name);
        let parsed = Reference::parse(name).ok();
        if let Some(reference) = parsed.as_ref().filter(|_| !last.contains([':', '@'])) {
            let all = self.list().await?;
            let named = all.iter().flat_map(|named| named.names.iter().map(|name| (&named.descriptor, name)));
            let same: Vec<_> = named
                .filter(|(_, known)| known.name() == reference.name() && known.tag().is_some())
                .map(|(descriptor, known)| (descriptor.clone(), Some(known.clone())))
                .collect();
            if !same.is_empty() {
                return Ok(same);
            }
        }
        let found = self.find(name).await?;
        let reference = parsed.filter(|reference| found.named.names.contains(reference));
        Ok(vec![(found.named.descriptor.clone(), reference)])
    }

    /// Writes what was chosen as an archive. Blocks.
    ///
    /// # Errors
    /// What cannot be read or written, as one sentence.
    pub fn save(store: &Store, images: &[Chosen], out: impl Write) -> std::result::Result<(), String> {
        archive::save(store, images, out).map_err(|error| crate::error::chain(&error))
    }

    /// Frees what neither names nor `live` need.
    pub async fn sweep(&self, live: HashSet<Digest>) -> Result<()> {
        self.blocking("sweep", "the store", move |store| store.gc(&live).map(drop)).await
    }
}

fn failed(attempt: &'static str, reference: &Reference, source: proa_registry::Error) -> Error {
    Error::Image { attempt, reference: reference.familiar(), source: Box::new(source) }
}
