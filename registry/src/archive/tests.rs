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
