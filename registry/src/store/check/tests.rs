use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::SystemTime;

use super::*;
use crate::commit::put;
use crate::descriptor::{Descriptor, media_type};
use crate::platform::Platform;
use crate::reference::Reference;

/// A store with one unpacked image, and its layer's folder.
struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    folder: PathBuf,
    blob: Digest,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |kind, name: &str, link: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
            header.set_mtime(1_000_000);
            header.set_size(content.len() as u64);
            match link {
                "" => tar.append_data(&mut header, name, content).unwrap(),
                link => tar.append_link(&mut header, name, link).unwrap(),
            }
        };
        add(tar::EntryType::Directory, "bin", "", b"");
        add(tar::EntryType::Regular, "bin/tool", "", b"a tool");
        add(tar::EntryType::Link, "bin/second", "bin/tool", b"");
        add(tar::EntryType::Symlink, "bin/third", "tool", b"");
        // Its parent is nobody's entry: it has the time of the unpacking.
        add(tar::EntryType::Regular, "etc/deep/motd", "", b"hello");
        let tar = tar.into_inner().unwrap();
        let (lease, diff_id) = (store.lease(), Digest::sha256_of(&tar));
        let (blob, size) = store.layout().put(&tar).unwrap();
        let config = serde_json::json!({ "os": "linux", "architecture": Platform::host().architecture, "config": {},
            "rootfs": { "type": "layers", "diff_ids": [diff_id] } });
        let config = put(&store, &lease, media_type::OCI_CONFIG, &config).unwrap();
        let layer = Descriptor::new(media_type::OCI_LAYER, blob.clone(), size);
        let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        let manifest = put(&store, &lease, media_type::OCI_MANIFEST, &manifest).unwrap();
        store.tag(&manifest, &Reference::parse("tool").unwrap()).unwrap();
        let image = store.image(&manifest, None).unwrap();
        let folder = store.unpack(&image, &Limits::default(), &|_| {}).unwrap().remove(0);
        Bench { dir, store, folder, blob }
    }

    fn check(&self, repair: Option<Repair<'_>>) -> Checked {
        self.store.check(&Check { live: &HashSet::new(), repair, goes_on: &|| true }).unwrap()
    }

    /// The one damage there is.
    fn damage(&self) -> Damage {
        let mut found = self.check(None).damages;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn repair(&self) -> Checked {
        self.check(Some(&|_| Ok(Box::new(()))))
    }
}

/// Changes a byte as a disk does: neither size nor times tell of it.
fn flip(path: &Path) {
    let times = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[1] ^= 4;
    fs::write(path, bytes).unwrap();
    let times = fs::FileTimes::new().set_modified(times.modified().unwrap());
    fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn what_is_as_it_was_written_is_not_damaged() {
    let bench = Bench::new();
    let checked = bench.check(None);
    assert_eq!((checked.blobs, checked.layers, checked.damages), (3, 1, Vec::new()));
    // Who reads a file, or a folder's listing, changes nothing.
    fs::read(bench.folder.join("bin/tool")).unwrap();
    assert_eq!(bench.check(None).damages, []);
}

#[test]
fn whatever_a_disk_changes_of_a_layer_is_named_and_unpacked_anew() {
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 8] = [
        ("`bin/tool` is not what was unpacked", &|root| flip(&root.join("bin/tool"))),
        ("`etc/deep/motd` is not what was unpacked", &|root| flip(&root.join("etc/deep/motd"))),
        ("`etc/deep/motd` is missing", &|root| fs::remove_file(root.join("etc/deep/motd")).unwrap()),
        ("`etc/more` was not unpacked", &|root| fs::write(root.join("etc/more"), "").unwrap()),
        ("`bin` is not what was unpacked", &|root| {
            fs::set_permissions(root.join("bin"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("`bin/third` is not what was unpacked", &|root| {
            fs::remove_file(root.join("bin/third")).unwrap();
            symlink("fool", root.join("bin/third")).unwrap();
        }),
        ("`etc/deep/motd` is not what was unpacked", &|root| {
            let file = fs::File::options().write(true).open(root.join("etc/deep/motd")).unwrap();
            file.set_times(fs::FileTimes::new().set_modified(SystemTime::now())).unwrap();
        }),
        ("more differ", &|root| fs::remove_dir_all(root.join("bin")).unwrap()),
    ];
    let bench = Bench::new();
    for (problem, change) in changes {
        change(&bench.folder);
        let damage = bench.damage();
        assert!(damage.problem.contains(problem), "{problem}: {damage:?}");
        assert!(damage.what.contains("of `tool:latest`") && !damage.is_repaired, "{damage:?}");
        assert_eq!(
            bench.repair().damages,
            [Damage { remedy: "it was unpacked anew".to_owned(), is_repaired: true, ..damage }]
        );
        assert_eq!(bench.check(None).damages, [], "{problem}");
        assert_eq!(fs::read(bench.folder.join("bin/second")).unwrap(), b"a tool");
    }
    assert_eq!(fs::read_dir(bench.folder.parent().unwrap()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn a_layer_in_use_is_left_alone() {
    let bench = Bench::new();
    flip(&bench.folder.join("bin/tool"));
    let refused = bench.check(Some(&|_| Err("somebody uses it".to_owned())));
    assert_eq!(refused.damages[0].remedy, "somebody uses it");
    assert_ne!(fs::read(bench.folder.join("bin/tool")).unwrap(), b"a tool");
}

#[test]
fn a_damaged_or_missing_seal_is_told_from_damaged_files() {
    let bench = Bench::new();
    let name = bench.folder.file_name().unwrap().to_string_lossy().into_owned();
    let seal = bench.folder.with_file_name(format!("seal-{name}"));
    fs::write(&seal, format!("{}\n", Digest::sha256_of(b"another"))).unwrap();
    assert!(bench.damage().problem.contains("its seal is not what was written"));
    assert!(bench.repair().damages[0].is_repaired);
    assert_eq!(bench.check(None).damages, []);
    // As of a proa that knew no seals.
    fs::remove_file(&seal).unwrap();
    assert_eq!(bench.check(None).damages, []);
    assert!(seal.exists());
}

#[test]
fn a_damaged_blob_is_named_with_its_image_and_may_come_again() {
    let bench = Bench::new();
    let path = bench.dir.path().join(format!("store/blobs/sha256/{}", bench.blob.hex()));
    let whole = fs::read(&path).unwrap();
    flip(&path);
    let descriptor = Descriptor::new("", bench.blob.clone(), whole.len() as u64);
    assert!(bench.store.layout().is_whole(&descriptor), "nobody has looked");
    let damage = bench.damage();
    assert!(damage.what.contains("of `tool:latest`") && damage.remedy == "pull `tool:latest` again", "{damage:?}");
    assert!(bench.store.layout().has(&descriptor) && !bench.store.layout().is_whole(&descriptor));
    // With its blob gone bad, a damaged layer cannot be unpacked anew.
    flip(&bench.folder.join("bin/tool"));
    assert!(bench.repair().damages.iter().all(|damage| !damage.is_repaired && damage.remedy.contains("pull")));
    bench.store.layout().put(&whole).unwrap();
    assert!(bench.store.layout().is_whole(&descriptor));
    assert!(bench.repair().damages[0].is_repaired);
    assert_eq!(bench.check(None).damages, []);
}

#[test]
fn a_damaged_index_is_put_right_from_its_twin_and_its_twin_from_it() {
    let bench = Bench::new();
    for file in ["index.json", "index.twin"] {
        let path = bench.dir.path().join("store").join(file);
        let whole = fs::read(&path).unwrap();
        flip(&path);
        assert!(bench.damage().what.contains("index"), "{file}");
        assert!(bench.repair().damages[0].is_repaired);
        assert!(fs::read(&path).unwrap() == whole, "{file}");
    }
}

#[test]
fn garbage_takes_its_seals_along() {
    let bench = Bench::new();
    bench.store.untag(&Reference::parse("tool").unwrap()).unwrap();
    let swept = bench.store.gc(&HashSet::new()).unwrap();
    assert_eq!(swept.layers.len(), 1);
    assert_eq!(fs::read_dir(bench.folder.parent().unwrap()).unwrap().count(), 0);
}
