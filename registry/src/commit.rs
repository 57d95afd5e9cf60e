//! One more layer on an image, and with it a new image. Knows nothing of the container the layer comes from.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::descriptor::{Descriptor, media_type};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::document::{DOCUMENT_MAX, Document};
use crate::error::{Error, Result};
use crate::gc::Lease;
use crate::image::Image;
use crate::layout::Ingest;
use crate::store::Store;

/// Bytes of a layer as stored, beyond which it is given up.
pub(crate) const LAYER_MAX: u64 = 1 << 40;

/// What is new about an image besides its last layer.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The image configuration's `config`: command, environment and so on.
    pub config: Value,
    pub author: String,
    pub comment: String,
    /// RFC 3339.
    pub created: String,
    /// What `history` says the layer was made by.
    pub created_by: String,
}

impl Store {
    /// Stores an image that is `parent` with one more layer, whose tar `fill` writes. It has no name yet: `lease` keeps
    /// it until it has one.
    ///
    /// # Errors
    /// What the store cannot hold, and what `fill` failed with.
    pub fn commit(
        &self,
        lease: &Lease,
        parent: &Image,
        commit: &Commit,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Descriptor> {
        lease.protect(&parent.descriptor.digest);
        let layout = self.layout();
        let Document::Manifest(mut manifest) = layout.document(&parent.descriptor)? else {
            let reason = "an image manifest was expected, not an index".to_owned();
            return Err(Error::Document { what: "manifest", name: parent.descriptor.digest.to_string(), reason });
        };
        let mut layer = Layer::new(layout.begin(None, LAYER_MAX)?);
        fill(&mut layer).map_err(|source| Error::ArchiveIo { action: "write the layer's", source })?;
        let (ingest, diff_id) = layer.finish()?;
        let sealed = ingest.seal()?;
        lease.protect(sealed.digest());
        let (digest, size) = sealed.publish()?;

        let docker = parent.descriptor.media_type == media_type::DOCKER_MANIFEST;
        let (layer_type, config_type) = match docker {
            true => (DOCKER_LAYER, media_type::DOCKER_CONFIG),
            false => (media_type::OCI_LAYER_GZIP, media_type::OCI_CONFIG),
        };
        let config = self.committed_config(parent, commit, &diff_id)?;
        manifest.config = put(self, lease, config_type, &config)?;
        manifest.layers.push(Descriptor::new(layer_type, digest, size));
        let media_type = if docker { media_type::DOCKER_MANIFEST } else { media_type::OCI_MANIFEST };
        manifest.media_type = Some(media_type.to_owned());
        let manifest = serde_json::to_value(&manifest).map_err(|error| Error::Document {
            what: "manifest",
            name: "of the new image".to_owned(),
            reason: error.to_string(),
        })?;
        let mut descriptor = put(self, lease, media_type, &manifest)?;
        descriptor.platform = Some(parent.platform.clone());
        Ok(descriptor)
    }

    fn committed_config(&self, parent: &Image, commit: &Commit, diff_id: &Digest) -> Result<Value> {
        let mut config = self.config_json(parent)?;
        let malformed = || Error::Document {
            what: "image config",
            name: parent.config_digest.to_string(),
            reason: "it is not an object".to_owned(),
        };
        let fields = config.as_object_mut().ok_or_else(malformed)?;
        fields.insert("created".to_owned(), json!(commit.created));
        // What Docker's older store wrote of the container it was built in.
        for name in ["container", "container_config", "id", "parent"] {
            fields.remove(name);
        }
        match commit.author.as_str() {
            "" => drop(fields.remove("author")),
            author => drop(fields.insert("author".to_owned(), json!(author))),
        }
        fields.insert("config".to_owned(), commit.config.clone());
        let mut entry = json!({ "created": commit.created, "created_by": commit.created_by });
        if !commit.author.is_empty() {
            entry["author"] = json!(commit.author);
        }
        if !commit.comment.is_empty() {
            entry["comment"] = json!(commit.comment);
        }
        match fields.entry("history").or_insert_with(|| json!([])) {
            Value::Array(history) => history.push(entry),
            other => *other = json!([entry]),
        }
        let diff_ids: Vec<&Digest> = parent.layers.iter().map(|layer| &layer.diff_id).chain([diff_id]).collect();
        fields.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": diff_ids }));
        Ok(config)
    }
}

/// Docker's media type of a layer in gzip.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) fn put(store: &Store, lease: &Lease, media_type: &str, value: &Value) -> Result<Descriptor> {
    let bytes = value.to_string().into_bytes();
    if bytes.len() as u64 > DOCUMENT_MAX {
        let (what, name) = ("document", "of the new image".to_owned());
        return Err(Error::TooLarge { what, name, size: bytes.len() as u64, limit: DOCUMENT_MAX });
    }
    lease.protect(&Digest::sha256_of(&bytes));
    let (digest, size) = store.layout().put(&bytes)?;
    Ok(Descriptor::new(media_type, digest, size))
}

/// A tar on its way into a blob: hashed as it is, stored as gzip.
pub(crate) struct Layer {
    gzip: GzEncoder<Ingest>,
    hasher: Hasher,
}

impl Layer {
    pub(crate) fn new(ingest: Ingest) -> Layer {
        Layer { gzip: GzEncoder::new(ingest, Compression::new(6)), hasher: Hasher::new(Algorithm::Sha256) }
    }

    pub(crate) fn finish(self) -> Result<(Ingest, Digest)> {
        let ingest =
            self.gzip.finish().map_err(|source| Error::ArchiveIo { action: "compress the layer's", source })?;
        Ok((ingest, self.hasher.finish()))
    }
}

impl Write for Layer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.gzip.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
