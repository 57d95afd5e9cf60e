use super::*;
use crate::descriptor::media_type;
use crate::package::{self, Package};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn wasm(store: &Store, name: &str, salt: u8) -> Descriptor {
    // A custom section makes each module another one.
    let module = [MODULE, &[0, 2, 1, salt]].concat();
    package::write(store.layout(), &Reference::parse(name).unwrap(), &Package { module, ..Package::default() }).unwrap()
}

/// An ordinary one-layer image with a .wasm file, as buildx makes for `--platform wasi/wasm`.
fn ordinary(store: &Store, platform: (&str, &str), entrypoint: &str, annotations: serde_json::Value) -> Descriptor {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(MODULE.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "app/main.wasm", MODULE).unwrap();
    let tar = tar.into_inner().unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let (digest, size) = store.layout().put(bytes).unwrap();
        Descriptor::new(media_type, digest, size)
    };
    let config = serde_json::json!({
        "os": platform.0, "architecture": platform.1,
        "config": { "Entrypoint": [entrypoint], "WorkingDir": "/app", "Labels": null },
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256_of(&tar)] },
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": put(media_type::OCI_CONFIG, config.to_string().as_bytes()),
        "layers": [put(media_type::OCI_LAYER, &tar)],
        "annotations": annotations,
    });
    let descriptor = put(media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
    store.keep(&descriptor).unwrap();
    descriptor
}

#[test]
fn a_second_holder_of_the_root_is_refused() {
    let (dir, store) = store();
    assert!(matches!(Store::open(dir.path()), Err(Error::InUse { .. })));
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn names_ids_and_prefixes_resolve() {
    let (_dir, store) = store();
    let (one, _two) = (wasm(&store, "one", 1), wasm(&store, "two:2", 2));
    store.tag(&one, &Reference::parse("uno").unwrap()).unwrap();
    let named = store.resolve("one").unwrap();
    assert_eq!(named.descriptor.digest, one.digest);
    assert_eq!(named.names.iter().map(Reference::familiar).collect::<Vec<_>>(), ["one:latest", "uno:latest"]);
    for name in [&one.digest.to_string(), one.digest.hex(), &one.digest.hex()[..12]] {
        assert_eq!(store.resolve(name).unwrap().descriptor.digest, one.digest, "{name}");
    }
    assert!(store.resolve(&format!("one@{}", one.digest)).is_ok());
    assert!(matches!(store.resolve(&format!("two@{}", one.digest)), Err(Error::NoImage { .. })));
    assert!(matches!(store.resolve("three"), Err(Error::NoImage { .. })));
    assert!(matches!(store.resolve("Three"), Err(Error::Reference { .. })));
    store.untag(&Reference::parse("one").unwrap()).unwrap();
    assert!(store.resolve("one").is_err() && store.resolve("uno").is_ok());
    assert_eq!(store.remove(&one.digest).unwrap(), [Reference::parse("uno").unwrap()]);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn wasm_is_recognised_in_every_shape() {
    let (_dir, store) = store();
    let plain = serde_json::json!({});
    let check = |descriptor: &Descriptor, path: &str| {
        let image = store.image(descriptor, Some(&"wasi/wasm".parse().unwrap())).unwrap();
        assert_eq!(image.kind, ImageKind::WasmFile(PathBuf::from(path)));
        assert_eq!(store.module(&image).unwrap(), MODULE);
    };
    check(&ordinary(&store, ("wasi", "wasm"), "main.wasm", plain.clone()), "app/main.wasm");
    check(&ordinary(&store, ("wasip1", "wasm32"), "/app/main.wasm", plain.clone()), "app/main.wasm");
    let compat = serde_json::json!({ "module.wasm.image/variant": "compat-smart" });
    check(&ordinary(&store, ("linux", "amd64"), "./main.wasm", compat.clone()), "app/main.wasm");
    let native = ordinary(&store, ("linux", "amd64"), "/bin/sh", plain.clone());
    assert_eq!(store.image(&native, Some(&"linux/amd64".parse().unwrap())).unwrap().kind, ImageKind::Linux);
    let lying = ordinary(&store, ("linux", "amd64"), "/bin/sh", compat);
    assert!(store.image(&lying, None).unwrap_err().to_string().contains("not a .wasm file"));
    let climbing = ordinary(&store, ("wasi", "wasm"), "../../x.wasm", plain.clone());
    assert!(store.image(&climbing, None).unwrap_err().to_string().contains("`..`"));
    let absent = ordinary(&store, ("wasi", "wasm"), "none.wasm", plain);
    let image = store.image(&absent, None).unwrap();
    assert!(store.module(&image).unwrap_err().to_string().contains("cannot be opened"));
}

#[test]
fn garbage_is_what_nothing_reaches() {
    let (_dir, store) = store();
    let (kept, doomed, live, leased) =
        (wasm(&store, "kept", 1), wasm(&store, "doomed", 2), wasm(&store, "live", 3), wasm(&store, "leased", 4));
    let ordinary = ordinary(&store, ("wasi", "wasm"), "main.wasm", serde_json::json!({}));
    let image = store.image(&ordinary, None).unwrap();
    let folder = store.flatten(&image, &Limits::default()).unwrap();
    let layers = store.unpack(&image, &Limits::default(), &|_| {}).unwrap();
    for descriptor in [&doomed, &live, &leased] {
        store.remove(&descriptor.digest).unwrap();
    }
    let lease = store.lease();
    lease.protect(&leased.digest);
    let swept = store.gc(&HashSet::from([live.digest.clone()])).unwrap();
    assert_eq!(swept.blobs.len(), 3, "{swept:?}");
    assert!(swept.blobs.contains(&doomed.digest) && swept.layers.is_empty() && swept.bytes > 0);
    for descriptor in [&kept, &live, &leased] {
        assert!(store.image(descriptor, None).is_ok());
    }
    assert!(folder.exists() && layers[0].exists());
    drop(lease);
    store.remove(&ordinary.digest).unwrap();
    let swept = store.gc(&HashSet::new()).unwrap();
    assert_eq!(swept.layers.len(), 2, "{swept:?}");
    assert!(!folder.exists() && !layers[0].exists());
}

#[test]
fn what_a_killed_process_left_is_gone_at_the_next_open() {
    let (dir, store) = store();
    drop(store);
    std::fs::create_dir_all(dir.path().join("layers/.sha256-x.1/etc")).unwrap();
    std::fs::create_dir_all(dir.path().join("store/ingest")).unwrap();
    std::fs::write(dir.path().join("store/ingest/1"), "half").unwrap();
    let _store = Store::open(dir.path()).unwrap();
    assert!(!dir.path().join("layers/.sha256-x.1").exists() && !dir.path().join("store/ingest/1").exists());
}

#[test]
fn a_looping_or_deep_index_is_refused() {
    let (_dir, store) = store();
    let mut descriptor = wasm(&store, "x", 1);
    for _ in 0..4 {
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [descriptor] });
        let (digest, size) = store.layout().put(index.to_string().as_bytes()).unwrap();
        descriptor = Descriptor::new(media_type::OCI_INDEX, digest, size);
    }
    assert!(store.variants(&descriptor).unwrap_err().to_string().contains("nested"));
}
