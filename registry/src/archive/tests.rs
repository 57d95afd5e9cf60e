use super::*;
use crate::layers::Limits;
use crate::package::{self, Package};
use crate::platform::Platform;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn pack(layout: &Layout, name: &str) -> (Reference, Descriptor) {
    let reference = Reference::parse(name).unwrap();
    let package = Package { module: MODULE.to_vec(), ..Package::default() };
    let descriptor = package::write(layout, &reference, &package).unwrap();
    (reference, descriptor)
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut tar, path, *content, content.len() as u64).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn an_exported_layout_loads_and_the_bytes_repeat() {
    let ((_a, one), (_b, two)) = (store(), store());
    let (reference, descriptor) = pack(one.layout(), "sample:1");
    let mut tar = Vec::new();
    export(one.layout(), std::slice::from_ref(&reference), &mut tar).unwrap();
    let mut again = Vec::new();
    export(one.layout(), std::slice::from_ref(&reference), &mut again).unwrap();
    assert!(tar == again);
    let loaded = load(&two, &tar[..], &Limits::default()).unwrap();
    assert_eq!(loaded, [Loaded { descriptor: descriptor.clone(), reference: Some(reference) }]);
    assert_eq!(two.module(&two.image(&descriptor, None).unwrap()).unwrap(), MODULE);
    assert_eq!(two.resolve("sample:1").unwrap().descriptor.digest, descriptor.digest);
}

#[test]
fn what_docker_save_writes_loads() {
    let (_dir, store) = store();
    let layer = tar_of(&[("etc/motd", b"hello")]);
    let config = serde_json::json!({
        "os": "linux", "architecture": Platform::host().architecture,
        "config": { "Cmd": ["sh"] }, "rootfs": { "type": "layers", "diff_ids": [Digest::sha256_of(&layer)] },
    })
    .to_string();
    let manifest = r#"[{"Config":"c.json","RepoTags":["motd:1","motd:2"],"Layers":["l/layer.tar"]}]"#;
    let tar = tar_of(&[("c.json", config.as_bytes()), ("l/layer.tar", &layer), ("manifest.json", manifest.as_bytes())]);
    let loaded = load(&store, &tar[..], &Limits::default()).unwrap();
    assert_eq!(loaded.len(), 2);
    let image = store.image(&store.resolve("motd:2").unwrap().descriptor, None).unwrap();
    let folders = store.unpack(&image, &Limits::default(), &|_| {}).unwrap();
    assert_eq!(std::fs::read(folders[0].join("etc/motd")).unwrap(), b"hello");
}

#[test]
fn bad_archives_are_refused_and_name_nothing() {
    let (_a, one) = store();
    let (reference, descriptor) = pack(one.layout(), "sample");
    let mut good = Vec::new();
    export(one.layout(), &[reference], &mut good).unwrap();
    let check = |tar: &[u8], limits: Limits, reason: &str| {
        let (_dir, store) = store();
        let text = load(&store, tar, &limits).expect_err(reason).to_string();
        assert!(text.contains(reason) && !text.contains('\n'), "{text}");
        assert!(store.list().unwrap().is_empty());
    };
    check(b"not a tar", Limits::default(), "header");
    check(&tar_of(&[("readme", b"x")]), Limits::default(), "neither `index.json` nor");
    check(&good, Limits { bytes: 100, ..Limits::default() }, "larger than the limit");
    check(&good[..good.len() / 2], Limits::default(), "");
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, serde_json::to_string(&descriptor).unwrap());
    check(&tar_of(&[("index.json", index.as_bytes())]), Limits::default(), "is not in it");
    let wrong = format!("blobs/sha256/{}", "a".repeat(64));
    check(&tar_of(&[(&wrong, b"x")]), Limits::default(), "its digest is");
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..12].copy_from_slice(b"../../escape");
    header.set_size(0);
    header.set_cksum();
    check(header.as_bytes(), Limits::default(), "climbs out");
    let mut flipped = good.clone();
    let at = flipped.windows(4).position(|window| window == b"\0asm").unwrap();
    flipped[at + 4] ^= 1;
    check(&flipped, Limits::default(), "its digest is");
}

#[test]
fn a_layout_on_disk_is_imported_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let (reference, descriptor) = pack(&layout, "sample");
    let name: LayoutName = format!("oci:{}:{reference}", layout.path().display()).parse().unwrap();
    assert_eq!((name.dir.as_path(), name.tag.as_deref()), (layout.path(), Some("docker.io/library/sample:latest")));
    let opened = Layout::open(&name.dir).unwrap();
    let found = opened.find_name(name.tag.as_deref()).unwrap();
    let (_dir, store) = store();
    import(&store, &opened, &found, None).unwrap();
    assert!(store.image(&descriptor, None).unwrap().is_wasm());
    assert!("oci:".parse::<LayoutName>().is_err() && "dir".parse::<LayoutName>().is_err());
}

#[test]
fn a_collection_never_takes_what_is_coming_in() {
    let (_a, source) = store();
    let (reference, descriptor) = pack(source.layout(), "sample");
    let mut tar = Vec::new();
    export(source.layout(), std::slice::from_ref(&reference), &mut tar).unwrap();
    let (_b, target) = store();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                target.gc(&HashSet::new()).unwrap();
            }
        });
        for _ in 0..100 {
            load(&target, &tar[..], &Limits::default()).unwrap();
            let image = target.image(&descriptor, None).unwrap();
            assert_eq!(target.module(&image).unwrap(), MODULE);
            target.remove(&descriptor.digest).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    target.gc(&HashSet::new()).unwrap();
    assert!(target.layout().blobs().unwrap().is_empty());
}

#[test]
fn what_docker_save_writes_today_is_an_oci_layout_and_an_older_archive_too() {
    let ((_a, one), (_b, two), (_c, three)) = (store(), store(), store());
    let layer = tar_of(&[("etc/motd", b"hello")]);
    let linux = one_layer(&one, &layer);
    let names = ["motd:1", "other/motd:2"].map(|name| Reference::parse(name).unwrap());
    names.iter().for_each(|name| one.tag(&linux, name).unwrap());
    let (wasm_name, wasm) = pack(one.layout(), "sample:1");
    let chosen =
        [Chosen { descriptor: linux, names: names.to_vec() }, Chosen { descriptor: wasm, names: vec![wasm_name] }];
    let mut tar = Vec::new();
    save(&one, &chosen, &mut tar).unwrap();
    let loaded = load(&two, &tar[..], &Limits::default()).unwrap();
    assert_eq!(loaded.len(), 3);
    assert!(
        two.resolve("other/motd:2").is_ok() && two.image(&two.resolve("sample:1").unwrap().descriptor, None).is_ok()
    );

    // As somebody reads it who knows manifest.json only.
    let mut older = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if path == "repositories" {
            let tags: serde_json::Value = serde_json::from_slice(&content).unwrap();
            assert!(tags["motd"]["1"].is_string() && tags["other/motd"]["2"].is_string(), "{tags}");
        }
        if path != "index.json" {
            append(&mut older, &path, &content[..], content.len() as u64).unwrap();
        }
    }
    let loaded = load(&three, &older.into_inner().unwrap()[..], &Limits::default()).unwrap();
    assert_eq!(loaded.len(), 2, "Wasm artifacts are not images of manifest.json");
    let image = three.image(&three.resolve("motd:1").unwrap().descriptor, None).unwrap();
    let folders = three.unpack(&image, &Limits::default(), &|_| {}).unwrap();
    assert_eq!(std::fs::read(folders[0].join("etc/motd")).unwrap(), b"hello");
}

/// An image of one uncompressed layer.
fn one_layer(store: &Store, layer: &[u8]) -> Descriptor {
    let (digest, size) = store.layout().put(layer).unwrap();
    let config = serde_json::json!({
        "os": "linux", "architecture": Platform::host().architecture,
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    })
    .to_string();
    let (config, config_size) = store.layout().put(config.as_bytes()).unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::new(media_type::OCI_CONFIG, config, config_size),
        "layers": [Descriptor::new(media_type::OCI_LAYER, digest, size)],
    });
    let (digest, size) = store.layout().put(manifest.to_string().as_bytes()).unwrap();
    Descriptor::new(media_type::OCI_MANIFEST, digest, size)
}

#[test]
fn archives_of_docker_before_1_10_load() {
    let (_dir, store) = store();
    let (lower, upper) = (tar_of(&[("a", b"1")]), tar_of(&[("b", b"2")]));
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let json = |id: &str, parent: Option<&str>| {
        let mut value = json!({ "id": id, "created": "2015-01-01T00:00:00Z", "architecture": Platform::host().architecture,
            "os": "linux", "config": { "Cmd": ["sh"] }, "container_config": { "Cmd": ["ADD", "x"] } });
        if let Some(parent) = parent {
            value["parent"] = json!(parent);
        }
        value.to_string()
    };
    let tags = format!(r#"{{"old/motd":{{"1":"{two}","2":"{one}"}}}}"#);
    let files = |first: &str| {
        tar_of(&[
            ("repositories", tags.as_bytes()),
            (&format!("{one}/json"), first.as_bytes()),
            (&format!("{one}/layer.tar"), &lower),
            (&format!("{two}/VERSION"), b"1.0"),
            (&format!("{two}/json"), json(&two, Some(&one)).as_bytes()),
            (&format!("{two}/layer.tar"), &upper),
        ])
    };
    let loaded = load(&store, &files(&json(&one, None))[..], &Limits::default()).unwrap();
    assert_eq!(loaded.len(), 2);
    let image = store.image(&store.resolve("old/motd:1").unwrap().descriptor, None).unwrap();
    assert_eq!((image.layers.len(), image.config.cmd().clone()), (2, Some(vec!["sh".to_owned()])));
    let folders = store.unpack(&image, &Limits::default(), &|_| {}).unwrap();
    assert!(folders[0].join("a").exists() && folders[1].join("b").exists());
    assert_eq!(store.config_json(&image).unwrap()["history"][0]["created_by"], "ADD x");
    // Each the other's parent.
    let error = load(&store, &files(&json(&one, Some(&two)))[..], &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("in a circle"), "{error}");
}

#[test]
fn an_archive_in_a_file_is_opened_by_its_name_in_any_compression() {
    let (dir, one) = store();
    let (first, descriptor) = pack(one.layout(), "sample:1");
    let second = one_layer(&one, &tar_of(&[("a", b"1")]));
    let second_name = Reference::parse("motd:2").unwrap();
    let chosen = |both: bool| {
        let mut chosen = vec![Chosen { descriptor: descriptor.clone(), names: vec![first.clone()] }];
        chosen.extend(both.then(|| Chosen { descriptor: second.clone(), names: vec![second_name.clone()] }));
        let mut tar = Vec::new();
        save(&one, &chosen, &mut tar).unwrap();
        tar
    };
    let path = dir.path().join("x.tar");
    let opened = |bytes: &[u8], name: &str| {
        std::fs::write(&path, bytes).unwrap();
        let scratch = Layout::create(&tempfile::tempdir_in(dir.path()).unwrap().keep()).unwrap();
        let name: ArchiveName = format!("{}{name}", name_of(&path)).parse().unwrap();
        open(&name, &scratch, &Limits::default()).inspect(|found| assert!(scratch.has(found)))
    };
    fn name_of(path: &std::path::Path) -> String {
        format!("oci-archive:{}", path.display())
    }
    let zstd = ruzstd::encoding::compress_to_vec(&chosen(false)[..], ruzstd::encoding::CompressionLevel::Fastest);
    for bytes in [&chosen(false), &zstd] {
        for name in ["", ":1", ":sample:1", ":docker.io/library/sample:1"] {
            assert_eq!(opened(bytes, name).unwrap().digest, descriptor.digest, "{name}");
        }
    }
    assert_eq!(opened(&chosen(true), ":motd:2").unwrap().digest, second.digest);
    assert!(opened(&chosen(true), "").unwrap_err().to_string().contains("any of its 2 images"));
    assert!(matches!(opened(&chosen(true), ":none"), Err(Error::NoImage { .. })));
    assert!(opened(b"nothing", "").is_err());
}
