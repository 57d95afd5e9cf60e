//! What `docker save` wrote before version 1.10: a folder for each layer (`<id>/json`, `<id>/layer.tar`), each naming its
//! parent, and `repositories` at the top. A manifest and a config are written for each image that is named.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::load::{Files, Intake, TakenIn, malformed};
use crate::descriptor::{Descriptor, media_type};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::document::DOCUMENT_MAX;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// Layers of one image; overlayfs itself stops at 500.
const LAYERS_MAX: usize = 1000;

/// `<id>/json`.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    created: Option<Value>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    config: Option<Value>,
    #[serde(default)]
    container_config: Option<Value>,
}

/// The images of an archive by its `repositories`: tags by repository, the id of its uppermost layer by tag.
pub(super) fn images(intake: &Intake<'_>, files: &Files, repositories: &[u8]) -> Result<Vec<TakenIn>> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(repositories).map_err(|error| malformed("repositories", &error))?;
    let mut found = Vec::new();
    for (name, tags) in repositories {
        for (tag, id) in tags {
            let reference = Reference::parse(&format!("{name}:{tag}"))?;
            found.push(TakenIn::new(image(intake, files, &id)?, Some(reference)));
        }
    }
    Ok(found)
}

fn image(intake: &Intake<'_>, files: &Files, id: &str) -> Result<Descriptor> {
    let mut chain = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next.filter(|id| !id.is_empty()) {
        if chain.len() >= LAYERS_MAX {
            let reason = format!("the layers below `{id}` are more than {LAYERS_MAX}, or in a circle");
            return Err(Error::Archive { reason });
        }
        let (digest, size) = files.get(&format!("{id}/json"))?;
        let text = intake.layout.read(&Descriptor::new("", digest, size), DOCUMENT_MAX)?;
        let described: Described = serde_json::from_slice(&text).map_err(|error| malformed("json", &error))?;
        next = described.parent.clone();
        chain.push((id, described));
    }
    chain.reverse();
    let (mut layers, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
    for (id, described) in &chain {
        let (digest, size) = files.get(&format!("{id}/layer.tar"))?;
        diff_ids.push(diff_id(intake, &Descriptor::new("", digest.clone(), size))?);
        layers.push(intake.layer(digest, size)?);
        let command = described.container_config.as_ref().and_then(|config| config["Cmd"].as_array());
        let words = command.map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
        history.push(json!({ "created": described.created, "created_by": words.unwrap_or_default(),
            "comment": described.comment.clone().unwrap_or_default() }));
    }
    let top = chain.last().map(|(_, described)| described);
    let config = json!({
        "architecture": top.and_then(|top| top.architecture.clone()).unwrap_or_else(|| "amd64".to_owned()),
        "os": top.and_then(|top| top.os.clone()).unwrap_or_else(|| "linux".to_owned()),
        "created": top.and_then(|top| top.created.clone()),
        "author": top.and_then(|top| top.author.clone()).unwrap_or_default(),
        "config": top.and_then(|top| top.config.clone()),
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": history,
    });
    let (digest, size) = intake.put(config.to_string().as_bytes())?;
    intake.manifest(Descriptor::new(media_type::OCI_CONFIG, digest, size), layers)
}

/// The digest of the layer without compression, of which docker used none then.
fn diff_id(intake: &Intake<'_>, blob: &Descriptor) -> Result<Digest> {
    let failed = |source| Error::ReadLayer { layer: blob.digest.to_string(), source };
    let reader = std::io::BufReader::with_capacity(128 << 10, intake.layout.open_blob(blob)?);
    let mut plain = crate::compression::plain(reader).map_err(failed)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut piece = vec![0; 128 << 10];
    let mut left = intake.limits.bytes;
    loop {
        let count = plain.read(&mut piece).map_err(failed)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        left = left.checked_sub(count as u64).ok_or_else(|| Error::Archive {
            reason: "a layer unpacks to more bytes than the limit allows".to_owned(),
        })?;
        hasher.update(&piece[..count]);
    }
}
