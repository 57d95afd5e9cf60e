//! Manifests, indexes and configs as bytes: parsed strictly enough that one document cannot be read two ways. Knows
//! nothing of where they came from.

mod strict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::descriptor::{Descriptor, media_type, null_is_empty};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// The most bytes of a manifest, an index or a config that are read (the distribution spec asks for at least 4 MiB).
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;
/// The most entries of an index, and the most layers of a manifest (overlayfs itself stops at 500 lower folders).
const DESCRIPTORS_MAX: usize = 1000;

/// An image manifest, of OCI or of Docker schema 2.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// An image index, or Docker's manifest list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a reference can point at.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

impl Document {
    /// Parses a manifest or an index that `name` (for messages) points at. `declared` is the media type the outside
    /// gave it (descriptor or Content-Type); the document's own fields must agree with it.
    pub(crate) fn parse(bytes: &[u8], declared: &str, name: &dyn std::fmt::Display) -> Result<Document> {
        let malformed = |reason: String| Error::Document { what: "manifest", name: name.to_string(), reason };
        let value = strict::parse(bytes).map_err(|e| malformed(e.to_string()))?;
        let kind = kind_of(&value).map_err(&malformed)?;
        let inner = value.get("mediaType").and_then(Value::as_str);
        for media_type in [Some(declared), inner].into_iter().flatten() {
            let contradicts = match kind {
                Kind::Index => media_type::is_manifest(media_type),
                Kind::Manifest => media_type::is_index(media_type),
            };
            if contradicts {
                return Err(malformed(format!("it is declared as `{media_type}` but is {}", kind.noun())));
            }
        }
        let document = match kind {
            Kind::Index => serde_json::from_value(value).map(Document::Index),
            Kind::Manifest => serde_json::from_value(value).map(Document::Manifest),
        }
        .map_err(|e| malformed(e.to_string()))?;
        if document.children().len() > DESCRIPTORS_MAX {
            return Err(malformed(format!("it lists more than {DESCRIPTORS_MAX} descriptors")));
        }
        Ok(document)
    }

    /// The descriptors of an index or the layers of a manifest.
    fn children(&self) -> &[Descriptor] {
        match self {
            Document::Manifest(manifest) => &manifest.layers,
            Document::Index(index) => &index.manifests,
        }
    }

    /// The media type to give this document when nobody has declared one.
    pub(crate) fn media_type(&self) -> &str {
        match self {
            Document::Manifest(manifest) => manifest.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST),
            Document::Index(index) => index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Manifest,
    Index,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Kind::Manifest => "an image manifest",
            Kind::Index => "an image index",
        }
    }
}

/// CVE-2021-41190: a document that can be read both as a manifest and as an index is two images with one digest.
fn kind_of(value: &Value) -> Result<Kind, String> {
    match value.get("schemaVersion").and_then(Value::as_u64) {
        Some(2) => {}
        Some(1) => return Err("it is of Docker's schema 1, which is not supported".to_owned()),
        _ => return Err("its schemaVersion is not 2".to_owned()),
    }
    let is_index = value.get("manifests").is_some();
    let is_manifest = value.get("layers").is_some() || value.get("config").is_some();
    match (is_index, is_manifest) {
        (true, true) => Err("it is both an image manifest and an image index".to_owned()),
        (true, false) => Ok(Kind::Index),
        (false, true) => Ok(Kind::Manifest),
        (false, false) => Err("it is neither an image manifest nor an image index".to_owned()),
    }
}

/// The part of an image's config that proa reads; unknown fields are kept by whoever holds the bytes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) author: Option<String>,
    #[serde(default)]
    pub(crate) config: Option<oci_spec::image::Config>,
    #[serde(default)]
    pub(crate) rootfs: Option<RootFs>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) diff_ids: Vec<Digest>,
}

impl ConfigFile {
    pub(crate) fn parse(bytes: &[u8], digest: &Digest) -> Result<ConfigFile> {
        serde_json::from_slice(bytes).map_err(|e| Error::Document {
            what: "image config",
            name: digest.to_string(),
            reason: e.to_string(),
        })
    }

    pub(crate) fn diff_ids(&self) -> &[Digest] {
        self.rootfs.as_ref().map(|rootfs| rootfs.diff_ids.as_slice()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":2}}"#, Digest::sha256_of(b"{}"))
    }

    #[test]
    fn a_document_that_can_be_read_two_ways_is_refused() {
        let one = descriptor(media_type::OCI_CONFIG);
        let both = format!(r#"{{"schemaVersion":2,"config":{one},"layers":[],"manifests":[]}}"#);
        let check = |text: &str, declared: &str, reason: &str| {
            let message = Document::parse(text.as_bytes(), declared, &"x").unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        };
        check(&both, media_type::OCI_MANIFEST, "both an image manifest and an image index");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{one},"layers":[]}}"#);
        check(&manifest, media_type::OCI_INDEX, "declared as");
        let lying =
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{one},"layers":[]}}"#, media_type::DOCKER_LIST);
        check(&lying, media_type::OCI_MANIFEST, "declared as");
        check(r#"{"schemaVersion":1}"#, "", "schema 1");
        check(r#"{"schemaVersion":2}"#, "", "neither");
        check("[]", "", "schemaVersion");
        check("{", "", "malformed");
        let twice = format!(r#"{{"schemaVersion":2,"config":{one},"layers":[],"layers":[{one}]}}"#);
        check(&twice, "", "`layers` stands twice");
        let inner = one.replace("\"size\":2", "\"size\":2,\"size\":3");
        check(&format!(r#"{{"schemaVersion":2,"config":{inner},"layers":[]}}"#), "", "`size` stands twice");
    }

    #[test]
    fn too_many_descriptors_are_refused() {
        let many = vec![descriptor(media_type::OCI_MANIFEST); DESCRIPTORS_MAX + 1].join(",");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{many}]}}"#);
        let message = Document::parse(index.as_bytes(), "", &"x").unwrap_err().to_string();
        assert!(message.contains("more than 1000"), "{message}");
    }

    #[test]
    fn null_lists_and_maps_of_go_programs_are_empty_ones() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[],"annotations":null}}"#,
            descriptor(media_type::DOCKER_CONFIG)
        );
        assert!(matches!(Document::parse(text.as_bytes(), "", &"x"), Ok(Document::Manifest(_))));
    }
}
