//! `docker save`'s archive as docker 25 and later write it: an OCI image layout, with manifest.json and repositories
//! beside index.json for those who know only these.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use serde_json::json;

use super::pack;
use crate::descriptor::{CONTAINERD_NAME, Descriptor, REF_NAME};
use crate::digest::Digest;
use crate::error::Result;
use crate::image::{self, Image, ImageKind};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;

/// An image that shall be saved, and under which of its names.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub descriptor: Descriptor,
    /// None for one that was asked for by id.
    pub names: Vec<Reference>,
}

/// One image of manifest.json.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes `images` of the store; of an index what is here. The same images give the same bytes. Images whose layers are
/// no archives (Wasm artifacts) are in index.json only, for manifest.json cannot say them. A lease keeps what is
/// written meanwhile.
pub fn save(store: &Store, images: &[Chosen], out: impl Write) -> Result<()> {
    let lease = store.lease();
    let layout = store.layout();
    let (mut entries, mut listed) = (Vec::new(), Vec::new());
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for chosen in images {
        lease.protect(&chosen.descriptor.digest);
        entries.extend(named(chosen));
        let Some(image) = standing_for(store, &chosen.descriptor)? else { continue };
        let tags: Vec<String> = chosen.names.iter().filter(|n| n.tag().is_some()).map(Reference::familiar).collect();
        for name in &chosen.names {
            if let Some(tag) = name.tag() {
                let id = image.layers.last().map_or(&image.config_digest, |layer| &layer.diff_id);
                repositories.entry(name.familiar_name()).or_default().insert(tag.to_owned(), id.hex().to_owned());
            }
        }
        listed.push(Listed {
            config: path_of(&image.config_digest),
            repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
            layers: image.layers.iter().map(|layer| path_of(&layer.descriptor.digest)).collect(),
        });
    }
    let mut more = vec![("manifest.json", json!(listed).to_string().into_bytes())];
    if !repositories.is_empty() {
        more.push(("repositories", json!(repositories).to_string().into_bytes()));
    }
    pack(layout, &entries, &more, out)
}

/// The entries of index.json: the tag where skopeo and docker look for it, and the whole name as containerd has it.
fn named(chosen: &Chosen) -> Vec<Descriptor> {
    let bare = chosen.descriptor.clone().without_names();
    if chosen.names.is_empty() {
        return vec![bare];
    }
    let entry = |name: &Reference| {
        let mut entry = bare.clone();
        entry.annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
        if let Some(tag) = name.tag() {
            entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        entry
    };
    chosen.names.iter().map(entry).collect()
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The image that manifest.json can say of what was chosen: this machine's, else the first that has layers.
fn standing_for(store: &Store, descriptor: &Descriptor) -> Result<Option<Image>> {
    let host = Platform::host();
    let mut variants: Vec<_> = store.variants(descriptor)?.into_iter().filter(|variant| variant.present).collect();
    variants.sort_by_key(|variant| !host.matches(&variant.platform));
    for variant in variants {
        // One that cannot be understood is still saved, by index.json.
        let Ok(image) = image::image(store.layout(), &variant.descriptor) else { continue };
        if matches!(image.kind, ImageKind::Linux | ImageKind::WasmFile(_)) {
            return Ok(Some(image));
        }
    }
    Ok(None)
}
