//! Manifests, indexes and configurations, whatever bytes they are: an image that is understood names no file outside of
//! itself, has a diff id for each layer, and is understood the same again.
#![no_main]

use std::collections::HashSet;
use std::path::Component;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use proa_registry::{Descriptor, ImageKind, Store, media_type};
use tempfile::TempDir;

static BENCH: OnceLock<(TempDir, Store)> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let (_folder, store) = BENCH.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a scratch folder can be made");
        let store = Store::open(folder.path()).expect("an empty store opens");
        (folder, store)
    });
    let layout = store.layout();
    let (digest, size) = layout.put(bytes).expect("a small blob can be stored");
    for declared in ["", media_type::OCI_INDEX, media_type::DOCKER_MANIFEST] {
        let _ = store.variants(&Descriptor::new(declared, digest.clone(), size));
    }
    // The bytes as a configuration, beneath a manifest that is sound.
    let config = Descriptor::new(media_type::OCI_CONFIG, digest.clone(), size);
    let (layer, layer_size) = layout.put(b"layer").expect("a small blob can be stored");
    let layers = [Descriptor::new(media_type::OCI_LAYER, layer, layer_size)];
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let (manifest, manifest_size) = layout.put(manifest.to_string().as_bytes()).expect("a small blob can be stored");
    for descriptor in [
        Descriptor::new(media_type::OCI_MANIFEST, manifest, manifest_size),
        Descriptor::new(media_type::OCI_MANIFEST, digest, size),
    ] {
        let Ok(image) = store.image(&descriptor, None) else { continue };
        let again = store.image(&descriptor, None).expect("the same document is understood again");
        assert_eq!((&image.kind, &image.layers), (&again.kind, &again.layers));
        if let ImageKind::WasmFile(path) = &image.kind {
            assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{}", path.display());
        }
        let _ = store.config_json(&image);
    }
    store.gc(&HashSet::new()).expect("whatever lies there can be collected");
});
