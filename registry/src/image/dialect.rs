//! Wasm shipped as layers that are not archives: which layer is the program, in each dialect met in the wild.
//!
//! | dialect | config | layers |
//! |---|---|---|
//! | CNCF artifact, wkg | `application/vnd.wasm.config.v0+json` | `application/wasm` |
//! | wasm-to-oci, older wkg | `application/vnd.wasm.config.v1+json` | `application/vnd.wasm.content.layer.v1+wasm` |
//! | module.wasm.image | `application/vnd.module.wasm.config.v1+json` | `application/vnd.module.wasm.content.layer.v1+wasm` |
//! | runwasi's | an image's | `application/vnd.bytecodealliance.wasm.component.layer.v0+wasm` |
//! | Spin | `application/vnd.fermyon.spin.application.v1+config` | its components' Wasm and files |
//!
//! Configs are not asked which dialect they are but for Spin's: it alone says more than the layers do.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::descriptor::{Descriptor, media_type, null_is_empty};
use crate::document::Manifest;

/// The config of a Spin application: its manifest, locked.
const SPIN_CONFIG: &str = "application/vnd.fermyon.spin.application.v1+config";

/// What runs in an image whose layers are Wasm binaries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// This layer, with this environment on top of the config's.
    Blob { layer: Box<Descriptor>, env: Vec<String> },
    /// Nothing proa can run; the clause names what is missing.
    Missing(String),
}

/// The first layer that is a Wasm binary by its media type.
pub(super) fn wasm_layer(manifest: &Manifest) -> Option<&Descriptor> {
    manifest.layers.iter().find(|layer| is_wasm(&layer.media_type))
}

/// Whether an image is Wasm by the dialect of its manifest.
pub(super) fn is_dialect(manifest: &Manifest) -> bool {
    wasm_layer(manifest).is_some()
        || manifest.config.media_type == SPIN_CONFIG
        || manifest.config.media_type == media_type::WASM_CONFIG
}

fn is_wasm(media_type: &str) -> bool {
    media_type == media_type::WASM || media_type.starts_with("application/vnd.") && media_type.ends_with("+wasm")
}

/// What runs of a manifest in one of the dialects; `config` is its config's bytes.
pub(super) fn program(manifest: &Manifest, config: &[u8]) -> Program {
    if manifest.config.media_type == SPIN_CONFIG {
        return spin(manifest, config).unwrap_or_else(Program::Missing);
    }
    match wasm_layer(manifest) {
        Some(layer) => Program::Blob { layer: Box::new(layer.clone()), env: Vec::new() },
        None => Program::Missing("it is a Wasm artifact without a layer of Wasm".to_owned()),
    }
}

#[derive(Deserialize)]
struct Locked {
    #[serde(default, deserialize_with = "null_is_empty")]
    triggers: Vec<Trigger>,
    #[serde(default, deserialize_with = "null_is_empty")]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Trigger {
    #[serde(default)]
    trigger_type: String,
    #[serde(default)]
    trigger_config: Value,
}

#[derive(Deserialize)]
struct Component {
    id: String,
    #[serde(default)]
    source: Value,
    #[serde(default, deserialize_with = "null_is_empty")]
    env: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    files: Vec<Value>,
}

/// The one component behind the HTTP triggers of a Spin application.
fn spin(manifest: &Manifest, config: &[u8]) -> Result<Program, String> {
    let locked: Locked =
        serde_json::from_slice(config).map_err(|error| format!("its Spin application is malformed: {error}"))?;
    let other = locked.triggers.iter().find(|trigger| trigger.trigger_type != "http");
    if let Some(trigger) = other {
        return Err(format!(
            "its Spin application has a trigger `{}`, and proa serves `http` only",
            trigger.trigger_type
        ));
    }
    let executor = |trigger: &Trigger| trigger.trigger_config["executor"]["type"].as_str().map(str::to_owned);
    if let Some(executor) = locked.triggers.iter().filter_map(executor).find(|executor| executor != "http") {
        return Err(format!("its Spin application wants the executor `{executor}`, and proa has `http` only"));
    }
    let mut ids: Vec<&str> =
        locked.triggers.iter().filter_map(|trigger| trigger.trigger_config["component"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let id = match ids[..] {
        [id] => id,
        [] => return Err("its Spin application has no trigger with a component".to_owned()),
        _ => return Err(format!("its Spin application routes to {} components, and proa runs one", ids.len())),
    };
    let component = locked.components.into_iter().find(|component| component.id == id);
    let component = component.ok_or_else(|| format!("its Spin application lacks the component `{id}`"))?;
    if !component.files.is_empty() {
        let count = component.files.len();
        return Err(format!(
            "the component `{id}` of its Spin application wants {count} files, which proa does not mount"
        ));
    }
    let digest = component.source["digest"].as_str();
    let layer = manifest.layers.iter().find(|layer| Some(layer.digest.to_string().as_str()) == digest);
    let layer = layer.ok_or_else(|| format!("the Wasm of the component `{id}` is not among its layers"))?;
    let env = component.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(Program::Blob { layer: Box::new(layer.clone()), env })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use serde_json::json;

    fn manifest(config: &str, layers: &[&str]) -> Manifest {
        let descriptor = |media: &str| Descriptor::new(media, Digest::sha256_of(media.as_bytes()), 8);
        Manifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config: descriptor(config),
            layers: layers.iter().map(|media| descriptor(media)).collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn every_dialect_s_wasm_layer_is_found() {
        for media in [
            "application/wasm",
            "application/vnd.wasm.content.layer.v1+wasm",
            "application/vnd.module.wasm.content.layer.v1+wasm",
            "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
        ] {
            let manifest = manifest("application/vnd.wasm.config.v1+json", &["text/plain", media]);
            let Program::Blob { layer, .. } = program(&manifest, b"{}") else { panic!("{media}") };
            assert_eq!(layer.media_type, media);
        }
        assert!(!is_dialect(&manifest(media_type::OCI_CONFIG, &[media_type::OCI_LAYER])));
        assert!(matches!(program(&manifest(media_type::WASM_CONFIG, &[]), b"{}"), Program::Missing(_)));
    }

    #[test]
    fn a_spin_application_runs_its_http_component_or_says_what_is_missing() {
        const WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
        let manifest = manifest(SPIN_CONFIG, &["application/vnd.wasm.content.layer.v1+data", WASM]);
        let locked = |trigger: &str, files: Value| {
            json!({
                "spin_lock_version": 1, "metadata": { "name": "hello" },
                "triggers": [{ "id": "t", "trigger_type": trigger,
                    "trigger_config": { "component": "hello", "executor": null, "route": "/..." } }],
                "components": [{ "id": "hello", "env": { "A": "1" }, "files": files,
                    "source": { "content_type": "application/wasm", "digest": Digest::sha256_of(WASM.as_bytes()) } }],
            })
            .to_string()
        };
        let Program::Blob { layer, env } = program(&manifest, locked("http", json!([])).as_bytes()) else { panic!() };
        assert_eq!((layer.media_type.as_str(), &env[..]), (WASM, &["A=1".to_owned()][..]));
        let missing = |config: &str| match program(&manifest, config.as_bytes()) {
            Program::Missing(reason) => reason,
            found => panic!("{found:?}"),
        };
        assert!(missing(&locked("redis", json!([]))).contains("trigger `redis`"));
        assert!(missing(&locked("http", json!([{ "path": "/" }]))).contains("1 files"));
        assert!(missing("{}").contains("no trigger"));
        assert!(missing("[").contains("malformed"));
    }
}
