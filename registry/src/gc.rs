//! Garbage: mark from the roots, sweep the rest.
//!
//! The roots are index.json's entries, the caller's live set, and leases. A pull or a load holds a lease: it protects a
//! digest first and looks whether the blob is there (or publishes it) after. A collection holds the leases' lock from
//! mark to sweep, so a digest is protected either before the collection, which then keeps it, or after it, and then the
//! holder sees that the blob is gone and fetches it. Knows nothing of pulls or containers.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::Dir;

use crate::digest::Digest;
use crate::error::Result;
use crate::image;
use crate::layers;
use crate::layout::Layout;

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    pub blobs: Vec<Digest>,
    /// Names of folders beneath ROOT/layers.
    pub layers: Vec<String>,
    /// Bytes of the removed blobs.
    pub bytes: u64,
}

/// What leases protect at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    digests: HashMap<u64, HashSet<Digest>>,
}

impl Leases {
    pub(crate) fn take(&self) -> Lease {
        let mut held = self.lock();
        let id = held.next;
        held.next += 1;
        held.digests.insert(id, HashSet::new());
        Lease { id, leases: self.clone() }
    }

    /// The table is consistent after every statement that changes it, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps content from being collected until it is dropped.
#[derive(Debug)]
pub struct Lease {
    id: u64,
    leases: Leases,
}

impl Lease {
    /// Protects a blob (and, when it is a manifest or an index, what it reaches) or an unpacked layer by its diff id.
    /// Waits for a collection that is under way.
    pub fn protect(&self, digest: &Digest) {
        if let Some(digests) = self.leases.lock().digests.get_mut(&self.id) {
            digests.insert(digest.clone());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().digests.remove(&self.id);
    }
}

pub(crate) fn collect(
    layout: &Layout,
    folders: &Dir,
    folders_path: &Path,
    leases: &Leases,
    live: &HashSet<Digest>,
) -> Result<Swept> {
    let held = leases.lock();
    let keep = mark(layout, held.digests.values().flatten().chain(live))?;
    let mut swept = Swept::default();
    for (digest, size) in layout.blobs()? {
        if !keep.contains(&digest) {
            layout.remove_blob(&digest)?;
            swept.bytes += size;
            swept.blobs.push(digest);
        }
    }
    let names: HashSet<String> = keep.iter().flat_map(layers::names).collect();
    for name in layers::folders(folders, folders_path)? {
        if !names.contains(&name) {
            layers::remove(folders, folders_path, &name)?;
            if layers::is_folder(&name) {
                swept.layers.push(name);
            }
        }
    }
    swept.bytes += layout.clear_partials(|digest| held.digests.values().any(|set| set.contains(digest)))?;
    drop(held);
    Ok(swept)
}

fn mark<'a>(layout: &Layout, others: impl Iterator<Item = &'a Digest>) -> Result<HashSet<Digest>> {
    let mut keep = HashSet::new();
    for entry in layout.descriptors()? {
        image::reachable(layout, &entry, &mut keep)?;
    }
    for digest in others {
        image::reachable_from_digest(layout, digest, &mut keep)?;
    }
    Ok(keep)
}
