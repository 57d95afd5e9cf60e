//! Images made by hand: blobs, manifests and indexes as the OCI image specification has them, or deliberately not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::tarball::{Tarball, gzip};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// `sha256:` and the hexadecimal digest of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A descriptor of `bytes`.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// One image: its blobs by digest, and which of them is the manifest.
#[derive(Debug, Clone)]
pub struct Image {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: Value,
}

/// What a native image runs and how.
#[derive(Debug, Clone, Default)]
pub struct Recipe<'a> {
    pub entrypoint: &'a [&'a str],
    pub command: &'a [&'a str],
    pub env: &'a [&'a str],
    pub user: &'a str,
    pub workdir: &'a str,
    /// Docker's schema 2 media types instead of OCI's.
    pub docker: bool,
    /// Whether layers are compressed (Docker's always are).
    pub gzip: bool,
}

impl Image {
    /// A native image of `layers`, lowest first.
    pub fn native(recipe: &Recipe<'_>, layers: Vec<Vec<u8>>) -> Image {
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {
                "Entrypoint": recipe.entrypoint, "Cmd": recipe.command, "Env": recipe.env,
                "User": recipe.user, "WorkingDir": recipe.workdir,
            },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| digest(layer)).collect::<Vec<_>>() },
            "history": [],
        });
        let (media, config_media) = match (recipe.docker, recipe.gzip) {
            (true, _) => (DOCKER_LAYER, DOCKER_CONFIG),
            (false, true) => (LAYER_GZIP, CONFIG),
            (false, false) => (LAYER, CONFIG),
        };
        let packed = recipe.docker || recipe.gzip;
        let layers = layers.into_iter().map(|layer| if packed { gzip(&layer) } else { layer });
        let layers = layers.map(|layer| (media.to_owned(), layer)).collect();
        let manifest_media = if recipe.docker { DOCKER_MANIFEST } else { MANIFEST };
        Image::assemble(manifest_media, (config_media, config.to_string().into_bytes()), layers)
    }

    /// A CNCF Wasm artifact around `module`.
    pub fn artifact(module: Vec<u8>) -> Image {
        let config = json!({
            "created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2",
            "layerDigests": [digest(&module)],
        });
        Image::assemble(
            MANIFEST,
            ("application/vnd.wasm.config.v0+json", config.to_string().into_bytes()),
            vec![("application/wasm".to_owned(), module)],
        )
    }

    /// An ordinary image of platform `wasi/wasm` whose entrypoint is `/app.wasm`.
    pub fn wasi(module: &[u8], annotations: Option<Value>) -> Image {
        let layer = Tarball::new().file("app.wasm", 0o755, module).finish();
        let platform = if annotations.is_some() { ("amd64", "linux") } else { ("wasm", "wasi") };
        let config = json!({
            "architecture": platform.0, "os": platform.1,
            "config": { "Entrypoint": ["/app.wasm"], "Env": [] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            "history": [],
        });
        let mut image = Image::assemble(
            MANIFEST,
            (CONFIG, config.to_string().into_bytes()),
            vec![(LAYER_GZIP.to_owned(), gzip(&layer))],
        );
        if let Some(annotations) = annotations {
            image.manifest["annotations"] = annotations;
        }
        image
    }

    /// An image from the bytes of its parts, each with its media type.
    pub fn assemble(media_type: &str, config: (&str, Vec<u8>), layers: Vec<(String, Vec<u8>)>) -> Image {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type,
            "config": descriptor(config.0, &config.1),
            "layers": layers.iter().map(|(media, bytes)| descriptor(media, bytes)).collect::<Vec<_>>(),
        });
        let parts = layers.into_iter().map(|(_, bytes)| bytes).chain([config.1]);
        Image { blobs: parts.map(|bytes| (digest(&bytes), bytes)).collect(), manifest }
    }

    /// The manifest's bytes.
    pub fn manifest_bytes(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }

    /// The digest of the last layer, for those who spoil it.
    ///
    /// # Panics
    /// When the manifest has no layer.
    pub fn last_layer(&self) -> String {
        let layers = self.manifest["layers"].as_array().expect("a manifest has layers");
        layers.last().expect("an image has a layer")["digest"].as_str().expect("a digest is text").to_owned()
    }

    /// Writes it as an OCI image layout in `folder`, with `tag` as its reference name.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_layout(&self, folder: &Path, tag: &str) -> Result<()> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let manifest = self.manifest_bytes();
        for (digest, bytes) in &self.blobs {
            fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes)?;
        }
        fs::write(blobs.join(digest(&manifest).trim_start_matches("sha256:")), &manifest)?;
        let mut entry = descriptor(self.manifest["mediaType"].as_str().unwrap_or(MANIFEST), &manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        fs::write(folder.join("index.json"), index.to_string())?;
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(())
    }
}
