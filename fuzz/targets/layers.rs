//! Layers: whatever the tar says, nothing outside of the layer's own folder changes, nothing half made stays, and what
//! came in can be removed.
#![no_main]

mod tar;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use proa_registry::{Descriptor, Digest, Image, ImageKind, Layer, Limits, Platform, Store, media_type};
use tempfile::TempDir;

static BENCH: OnceLock<(TempDir, Store)> = OnceLock::new();

fn open() -> (TempDir, Store) {
    let folder = tempfile::tempdir().expect("a scratch folder can be made");
    fs::create_dir(folder.path().join("canary")).expect("a canary can be made");
    fs::write(folder.path().join("canary/file"), "sings").expect("a canary can be written");
    let store = Store::open(&folder.path().join("root")).expect("an empty store opens");
    (folder, store)
}

fuzz_target!(|bytes: &[u8]| {
    let (folder, store) = BENCH.get_or_init(open);
    let mut bytes = bytes.to_vec();
    tar::fix(&mut bytes);
    let (digest, size) = store.layout().put(&bytes).expect("a small blob can be stored");
    let layer =
        Layer { descriptor: Descriptor::new(media_type::OCI_LAYER, digest.clone(), size), diff_id: digest.clone() };
    let image = Image {
        descriptor: Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256_of(b"manifest"), 8),
        platform: Platform::host(),
        config_digest: digest,
        config: Default::default(),
        created: None,
        author: None,
        layers: vec![layer],
        kind: ImageKind::Linux,
        size,
    };
    let limits = Limits { bytes: 1 << 20, entries: 200, ..Limits::default() };
    let unpacked = store.unpack(&image, &limits, &|_| {});
    let flat = store.flatten(&image, &limits);
    if let Err(error) = &unpacked {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 2000, "{text:?}");
    }
    sings(folder.path());
    let left = fs::read_dir(folder.path().join("root/layers")).expect("the folder of layers is there").count();
    let made = usize::from(unpacked.is_ok()) + usize::from(flat.is_ok());
    // Each folder has its seal beside it.
    assert_eq!(left, 2 * made, "something half made was left");
    store.gc(&HashSet::new()).expect("whatever came in can be removed");
    sings(folder.path());
});

fn sings(folder: &Path) {
    let names = |folder: &Path| fs::read_dir(folder).expect("the scratch folder is there").count();
    assert_eq!(names(folder), 2, "something was made beside the root");
    let canary = folder.join("canary");
    assert_eq!(names(&canary), 1, "something was made in the canary");
    assert_eq!(fs::read(canary.join("file")).expect("the canary is there"), b"sings");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&fs::metadata(canary.join("file")).expect("it is there")), 1);
}
