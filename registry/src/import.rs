//! An image of one layer from a tar of files: what `docker import` makes. Knows nothing of where the tar comes from.

use std::io::{self, BufReader, Read};

use serde_json::{Value, json};

use crate::commit::{LAYER_MAX, Layer, put};
use crate::compression;
use crate::descriptor::{Descriptor, media_type};
use crate::error::{Error, Result};
use crate::gc::Lease;
use crate::image;
use crate::layers::Limits;
use crate::platform::Platform;
use crate::store::Store;

/// What is said of an imported image.
#[derive(Debug, Clone)]
pub struct Import {
    pub platform: Platform,
    /// The image configuration's `config`.
    pub config: Value,
    pub comment: String,
    /// RFC 3339.
    pub created: String,
}

impl Store {
    /// Stores an image whose one layer is the tar `reader` (plain, gzip or zstd), and unpacks it, so that what is wrong
    /// with it is said now. It has no name yet: `lease` keeps it until it has one.
    ///
    /// # Errors
    /// What is no tar, or unpacks to more than `limits` allow (CVE-2023-25153), and what the store cannot hold.
    pub fn import(&self, lease: &Lease, import: &Import, reader: impl Read, limits: &Limits) -> Result<Descriptor> {
        let failed = |source: io::Error| match Error::from_io(source) {
            Ok(inner) => inner,
            Err(source) => Error::ArchiveIo { action: "read the", source },
        };
        let plain = compression::plain(BufReader::with_capacity(128 << 10, reader)).map_err(failed)?;
        let mut layer = Layer::new(self.layout().begin(None, LAYER_MAX)?);
        let copied = io::copy(&mut plain.take(limits.bytes.saturating_add(1)), &mut layer).map_err(failed)?;
        if copied > limits.bytes {
            return Err(Error::Archive { reason: "it unpacks to more bytes than the limit allows".to_owned() });
        }
        let (ingest, diff_id) = layer.finish()?;
        let sealed = ingest.seal()?;
        lease.protect(sealed.digest());
        let (digest, size) = sealed.publish()?;
        let platform = &import.platform;
        let mut config = json!({
            "created": import.created, "os": platform.os, "architecture": platform.architecture,
            "config": import.config, "rootfs": { "type": "layers", "diff_ids": [diff_id] },
            "history": [{ "created": import.created, "comment": import.comment }],
        });
        if let Some(variant) = &platform.variant {
            config["variant"] = json!(variant);
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": put(self, lease, media_type::OCI_CONFIG, &config)?,
            "layers": [Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size)],
        });
        let descriptor = put(self, lease, media_type::OCI_MANIFEST, &manifest)?;
        let image = image::image(self.layout(), &descriptor)?;
        lease.protect(&diff_id);
        if image.is_wasm() {
            self.flatten(&image, limits)?;
        } else {
            self.unpack(&image, limits, &|_| {})?;
        }
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_becomes_an_image_in_any_compression_and_no_tar_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "etc/motd", &b"hello"[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&tar[..], ruzstd::encoding::CompressionLevel::Fastest);
        let import = Import {
            platform: Platform::host(),
            config: json!({ "Cmd": ["sh"] }),
            comment: "by hand".to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
        };
        let lease = store.lease();
        let made = |bytes: &[u8], limits: Limits| store.import(&lease, &import, bytes, &limits);
        let plain = made(&tar, Limits::default()).unwrap();
        assert_eq!(made(&zstd, Limits::default()).unwrap().digest, plain.digest);
        let image = store.image(&plain, None).unwrap();
        let folders = store.unpack(&image, &Limits::default(), &|_| {}).unwrap();
        assert_eq!(std::fs::read(folders[0].join("etc/motd")).unwrap(), b"hello");
        assert!(made(b"no tar at all", Limits::default()).is_err());
        assert!(made(&tar, Limits { bytes: 100, ..Limits::default() }).is_err());
        assert!(store.list().unwrap().is_empty());
    }
}
