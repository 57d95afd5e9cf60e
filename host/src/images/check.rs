//! The store read once more, and what is compiled of it made anew.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use proa_registry::{Check, Checked, Digest, Hold, Image, Store};
use proa_sandbox::Runtimes;

use crate::error::Result;
use crate::images::{Images, Known};

impl Images {
    /// Checks everything in the store; `repair` is asked of each folder that is about to be replaced. Ends where it is
    /// once `goes_on` says no.
    pub async fn check(
        &self,
        live: HashSet<Digest>,
        repair: Option<impl Fn(&Path) -> Result<Hold, String> + Send + 'static>,
        goes_on: impl Fn() -> bool + Send + 'static,
    ) -> Result<Checked> {
        let checked = self.blocking("check", "the store", move |store| {
            let repair = repair.as_ref().map(|repair| repair as &dyn Fn(&Path) -> Result<Hold, String>);
            store.check(&Check { live: &live, repair, goes_on: &goes_on })
        });
        let checked = checked.await?;
        if checked.damages.iter().any(|damage| damage.is_repaired) {
            // Users, for one, were looked up in the files of a damaged layer.
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
        }
        Ok(checked)
    }

    /// Compiles what has no whole code, of every image here and in use.
    pub async fn compile_all(&self, runtimes: &Runtimes, live: HashSet<Digest>) {
        let modules = self.blocking("list", "the store", move |store| Ok(modules(store, &live))).await;
        for image in modules.unwrap_or_default() {
            let name = image.descriptor.digest.short().to_owned();
            if let Err(error) = self.compile(&image, &name, runtimes).await {
                // Its code stays damaged, which the check tells.
                tracing::warn!("{}", error.sentence());
            }
        }
    }
}

/// Every Wasm image, as far as images can be read.
fn modules(store: &Store, live: &HashSet<Digest>) -> Vec<Arc<Image>> {
    let named = store.list().unwrap_or_default();
    let variants = named.iter().flat_map(|named| store.variants(&named.descriptor).unwrap_or_default());
    let variants = variants.filter(|variant| variant.wasm && variant.present);
    let images = variants.filter_map(|variant| store.image(&variant.descriptor, Some(&variant.platform)).ok());
    let used = live.iter().filter_map(|digest| store.image_at(digest).ok()).filter(Image::is_wasm);
    images.chain(used).map(Arc::new).collect()
}
