//! Archives of images: whatever comes in, nothing is written beside the store, nothing has a name unless it is whole, and
//! what came in can be removed.
#![no_main]

mod tar;

use std::collections::HashSet;
use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use proa_registry::{Limits, Store, archive};
use tempfile::TempDir;

static BENCH: OnceLock<(TempDir, Store)> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let (folder, store) = BENCH.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a scratch folder can be made");
        let store = Store::open(&folder.path().join("root")).expect("an empty store opens");
        (folder, store)
    });
    let mut bytes = bytes.to_vec();
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        tar::fix(&mut bytes);
    }
    let limits = Limits { bytes: 1 << 20, entries: 200, ..Limits::default() };
    let loaded = archive::load(store, &bytes[..], &limits);
    let named = store.list().expect("the store lists what it has");
    match &loaded {
        Ok(loaded) => {
            assert!(!loaded.is_empty() && !named.is_empty());
            for image in &named {
                let variants = store.variants(&image.descriptor).expect("what is listed can be read");
                assert!(variants.iter().any(|variant| variant.present), "an image is listed and not whole");
                store.remove(&image.descriptor.digest).expect("what is listed can be removed");
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 2000, "{text:?}");
            assert!(named.is_empty(), "a refused archive has named {named:?}");
        }
    }
    store.gc(&HashSet::new()).expect("whatever came in can be removed");
    assert_eq!(fs::read_dir(folder.path()).expect("the scratch folder is there").count(), 1);
});
