//! Hostile and ordinary layers. Every hostile one is unpacked beside a canary tree that must not change.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use cap_std::ambient_authority;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use tar::{EntryType, Header};

use super::*;
use crate::descriptor::media_type;

/// A root with a layout, a folder for layers, and a canary beside them.
struct Bench {
    dir: tempfile::TempDir,
    layout: Layout,
    folders: Dir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&dir.path().join("store")).unwrap();
        std::fs::create_dir_all(dir.path().join("layers")).unwrap();
        std::fs::create_dir_all(dir.path().join("canary")).unwrap();
        std::fs::write(dir.path().join("canary/file"), "alive").unwrap();
        let folders = Dir::open_ambient_dir(dir.path().join("layers"), ambient_authority()).unwrap();
        Bench { dir, layout, folders }
    }

    fn layer(&self, tar: &[u8]) -> Layer {
        let (digest, size) = self.layout.put(tar).unwrap();
        let descriptor = Descriptor::new(media_type::OCI_LAYER, digest.clone(), size);
        Layer { descriptor, diff_id: digest }
    }

    fn unpack_with(&self, tar: &[u8], mut limits: Limits) -> Result<PathBuf> {
        let layer = self.layer(tar);
        unpack(&self.layout, &self.folders, &layer, &mut limits, &|_| {})?;
        Ok(self.dir.path().join("layers").join(layer.diff_id.folder()))
    }

    fn unpack(&self, tar: &[u8]) -> Result<PathBuf> {
        self.unpack_with(tar, Limits::default())
    }

    /// Nothing outside has changed and nothing half-done is left.
    fn assert_untouched(&self) {
        let canary = self.dir.path().join("canary");
        assert_eq!(std::fs::read_to_string(canary.join("file")).unwrap(), "alive");
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(self.dir.path()).unwrap().count(), 3);
        assert_eq!(self.folders.entries().unwrap().count(), 0);
    }
}

/// One entry, its name written raw, as no well-meaning library would.
fn raw(kind: u8, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    raw_sized(kind, name, link, content, content.len() as u64)
}

fn raw_sized(kind: u8, name: &str, link: &str, content: &[u8], size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000);
    header.set_size(size);
    if matches!(kind, b'3' | b'4') {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        content.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }
    raw(b'x', "pax", "", &content)
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = entries.concat();
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn file(name: &str, content: &str) -> Vec<u8> {
    raw(b'0', name, "", content.as_bytes())
}

#[test]
fn layers_that_climb_out_are_refused_and_leave_nothing() {
    let check = |entries: &[Vec<u8>], reason: &str| {
        let bench = Bench::new();
        let error = bench.unpack(&tar_of(entries)).expect_err(reason);
        let text = error.to_string();
        assert!(text.contains(reason) && !text.contains('\n'), "{text}");
        bench.assert_untouched();
    };
    check(&[file("../canary/file", "dead")], "climbs out by `..`");
    check(&[file("a/../../../canary/file", "dead")], "climbs out by `..`");
    check(&[file("/etc/passwd", "dead")], "has an absolute path");
    check(&[raw(b'2', "out", "../../canary", b""), file("out/file", "dead")], "cannot be reached beneath the root");
    check(&[raw(b'2', "out", "/tmp", b""), file("out/file", "dead")], "cannot be reached beneath the root");
    check(&[raw(b'2', "a", ".", b""), raw(b'2', "b", "a/..", b""), file("b/../x", "")], "climbs out by `..`");
    check(&[raw(b'2', "out", "../..", b""), raw(b'5', "out/canary/new/", "", b"")], "cannot be reached");
    check(&[raw(b'2', "out", "../../canary", b""), file("out/.wh.file", "")], "cannot be reached");
    check(&[raw(b'2', "out", "../../canary", b""), file("out/.wh..wh..opq", "")], "cannot be reached");
    check(&[raw(b'1', "passwd", "../../canary/file", b"")], "climbs out by `..`");
    check(&[raw(b'1', "passwd", "/etc/passwd", b"")], "which the layer does not hold");
    check(&[raw(b'2', "out", "../../canary", b""), raw(b'1', "x", "out/file", b"")], "cannot be reached");
    check(&[file(".wh...", "")], "whiteout of nothing");
    check(&[file(".wh.", "")], "whiteout of nothing");
    check(&[file("a", ""), file("a/b", "")], "is no folder of the layer");
    check(&[pax(&[("path", "../canary/file")]), file("harmless", "dead")], "climbs out by `..`");
}

#[test]
fn layers_that_two_readers_could_read_differently_are_refused() {
    let check = |entries: &[Vec<u8>], reason: &str| {
        let bench = Bench::new();
        let text = bench.unpack(&tar_of(entries)).expect_err(reason).to_string();
        assert!(text.contains(reason) && !text.contains('\n'), "{text}");
        bench.assert_untouched();
    };
    let hidden = file("hidden", "");
    check(&[pax(&[("size", "1024")]), file("a", ""), hidden.clone()], "in one header and");
    check(&[pax(&[("size", "0")]), raw(b'0', "a", "", &hidden)], "in one header and");
    check(&[raw_sized(b'5', "a/", "", &hidden, 512)], "has content although it is not a file");
    check(&[pax(&[("size", "many")]), file("a", "")], "wrong number");
    check(&[raw(b'g', "pax", "", b"16 path=/etc/pw\n"), file("a", "")], "changes every entry");
    check(&[raw(b'x', "pax", "", b"99 path=a\n"), file("a", "")], "PAX header is malformed");
    check(&[pax(&[("path", "a")])], "ends after an extended header");
    check(&[pax(&[("uid", "4294967296")]), file("a", "")], "beyond 32 bits");
    check(&[pax(&[("uid", "4294967295")]), file("a", "")], "beyond 32 bits");
    check(&[raw(b'S', "sparse", "", b"")], "sparse");
    check(&[raw(b'V', "label", "", b"")], "unknown type");
    check(&[vec![b'x'; 512]], "not a tar archive");
}

#[test]
fn bounds_hold() {
    let check = |entries: &[Vec<u8>], limits: Limits, reason: &str| {
        let bench = Bench::new();
        let text = bench.unpack_with(&tar_of(entries), limits).expect_err(reason);
        let source = std::error::Error::source(&text).map(|s| s.to_string()).unwrap_or_default();
        assert!(format!("{text} {source}").contains(reason), "{text}: {source}");
        bench.assert_untouched();
    };
    let limits = Limits::default;
    check(&[file("a", &"x".repeat(4096))], Limits { bytes: 2048, ..limits() }, "more bytes than the limit");
    check(&[file("a", ""), file("b", ""), file("c", "")], Limits { entries: 2, ..limits() }, "too many entries");
    check(&[file("a/b/c/d", "")], Limits { depth: 3, ..limits() }, "folders deep");
    check(&[file(&"a/".repeat(20), "")], Limits { path: 30, ..limits() }, "path longer than");
    let long = "x".repeat(5000);
    check(
        &[pax(&[("comment", &long)]), file("a", "")],
        Limits { header: 4096, ..limits() },
        "extended header is longer",
    );
    check(&[pax(&[("path", &long)]), file("a", "")], limits(), "path longer than");
    check(&[pax(&[("path", &"y".repeat(300))]), file("a", "")], limits(), "name longer than");
}

#[test]
fn a_wrong_diff_id_or_a_truncated_layer_leaves_nothing() {
    let bench = Bench::new();
    let tar = tar_of(&[file("a", "x")]);
    let mut layer = bench.layer(&tar);
    layer.diff_id = Digest::sha256_of(b"other");
    let failed = unpack(&bench.layout, &bench.folders, &layer, &mut Limits::default(), &|_| {});
    assert!(matches!(failed, Err(Error::Corrupt { .. })), "{failed:?}");
    let text = bench.unpack(&tar_of(&[file("a", &"x".repeat(1000))])[..900]).unwrap_err().to_string();
    assert!(text.contains("ends in the middle") || text.contains("read layer"), "{text}");
    bench.assert_untouched();
}

#[test]
fn an_ordinary_layer_keeps_everything() {
    let bench = Bench::new();
    let tar = tar_of(&[
        raw(b'5', "./", "", b""),
        raw(b'5', "./bin/", "", b""),
        file("./bin/tool", "#!"),
        raw(b'1', "./bin/same", "bin/tool", b""),
        raw(b'1', "./bin/rooted", "/bin/tool", b""),
        raw(b'2', "./bin/link", "/bin/tool", b""),
        raw(b'2', "./sbin", "bin", b""),
        file("./sbin/through", "linked"),
        raw(b'6', "./pipe", "", b""),
        pax(&[("SCHILY.xattr.user.color", "red\nblue"), ("mtime", "12345.5")]),
        file("./marked", ""),
        file("deep/er/file", "made"),
        file("twice", "first"),
        file("twice", "second"),
        raw(b'5', "turn/", "", b""),
        file("turn/in", ""),
        file("turn", "file now"),
    ]);
    let root = bench.unpack(&tar).unwrap();
    assert_eq!(std::fs::read(root.join("bin/tool")).unwrap(), b"#!");
    assert_eq!(root.join("bin/tool").metadata().unwrap().ino(), root.join("bin/same").metadata().unwrap().ino());
    assert_eq!(root.join("bin/tool").metadata().unwrap().nlink(), 3);
    assert_eq!(root.join("bin/tool").metadata().unwrap().mtime(), 1_000_000);
    assert_eq!(root.join("bin").metadata().unwrap().mtime(), 1_000_000);
    assert_eq!(root.join("marked").metadata().unwrap().mtime(), 12345);
    assert_eq!(std::fs::read_link(root.join("bin/link")).unwrap(), Path::new("/bin/tool"));
    assert_eq!(std::fs::read(root.join("bin/through")).unwrap(), b"linked");
    assert!(root.join("pipe").symlink_metadata().unwrap().file_type().is_fifo());
    assert_eq!(std::fs::read(root.join("twice")).unwrap(), b"second");
    assert_eq!(std::fs::read(root.join("turn")).unwrap(), b"file now");
    assert_eq!(root.join("deep").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    let mut value = [0; 32];
    match rustix::fs::lgetxattr(root.join("marked"), "user.color", &mut value[..]) {
        Ok(length) => assert_eq!(&value[..length], b"red\nblue"),
        Err(errno) => eprintln!("extended attributes not checked: {errno}"),
    }
}

#[test]
fn attributes_of_the_kernels_overlay_do_not_come_in() {
    let bench = Bench::new();
    let tar = tar_of(&[
        pax(&[("SCHILY.xattr.trusted.overlay.opaque", "y"), ("SCHILY.xattr.user.overlay.opaque", "y")]),
        raw(b'5', "folder/", "", b""),
    ]);
    let root = bench.unpack(&tar).unwrap();
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(root.join("folder"), &mut names[..]).unwrap_or(0);
    assert!(!String::from_utf8_lossy(&names[..length]).contains("overlay"));
}

#[test]
fn whiteouts_take_overlayfs_form() {
    let bench = Bench::new();
    let tar = tar_of(&[
        file("gone/.wh.old", ""),
        raw(b'5', "fresh/", "", b""),
        file("fresh/.wh..wh..opq", ""),
        file("fresh/new", ""),
        file(".wh.back", ""),
        raw(b'5', "back/", "", b""),
        file("kept", "x"),
        file(".wh.kept", ""),
        file(".wh..wh.plnk", ""),
    ]);
    let root = match bench.unpack(&tar) {
        Ok(root) => root,
        Err(error) => return eprintln!("whiteouts not checked, this user or file system cannot make them: {error}"),
    };
    let gone = root.join("gone/old").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(root.join("fresh/new").is_file() && root.join("kept").is_file() && root.join("back").is_dir());
    assert!(!root.join(".wh..wh.plnk").exists());
    let opaque = |name: &str| {
        let mut value = [0; 8];
        let of = |key: &str, value: &mut [u8]| rustix::fs::lgetxattr(root.join(name), key, value).is_ok();
        of("trusted.overlay.opaque", &mut value) || of("user.overlay.opaque", &mut value)
    };
    assert!(opaque("fresh") && opaque("back") && !opaque("gone"));
}

#[test]
fn owners_devices_and_setuid_are_kept_where_the_user_may() {
    let bench = Bench::new();
    let mut header = Header::new_ustar();
    header.set_path("su").unwrap();
    header.set_mode(0o4755);
    header.set_uid(1234);
    header.set_gid(1234);
    header.set_mtime(0);
    header.set_size(0);
    header.set_cksum();
    let root = bench.unpack(&tar_of(&[header.as_bytes().to_vec(), raw(b'3', "null", "", b"")])).unwrap();
    let found = root.join("su").metadata().unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o4755);
    match found.uid() {
        1234 => {}
        _ => eprintln!("owners not checked: this user may not give files away"),
    }
    match root.join("null").symlink_metadata() {
        Ok(device) => assert_eq!(device.rdev(), rustix::fs::makedev(1, 3)),
        Err(_) => eprintln!("devices not checked: this user may not make them"),
    }
}

#[test]
fn every_compression_unpacks_under_any_media_type_and_urls_are_refused() {
    let tar = tar_of(&[file("a", "x")]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&tar[..], ruzstd::encoding::CompressionLevel::Fastest);
    let packed = [gzip.finish().unwrap(), zstd, tar.clone()];
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        for bytes in &packed {
            let bench = Bench::new();
            let mut layer = bench.layer(bytes);
            layer.diff_id = Digest::sha256_of(&tar);
            layer.descriptor.media_type = media_type.to_owned();
            unpack(&bench.layout, &bench.folders, &layer, &mut Limits::default(), &|_| {}).unwrap();
            assert!(bench.dir.path().join("layers").join(layer.diff_id.folder()).join("a").exists());
        }
    }
    let bench = Bench::new();
    let mut foreign = bench.layer(&tar);
    foreign.descriptor.urls.push("http://elsewhere.example/".to_owned());
    let text =
        unpack(&bench.layout, &bench.folders, &foreign, &mut Limits::default(), &|_| {}).unwrap_err().to_string();
    assert!(text.contains("foreign"), "{text}");
    bench.assert_untouched();
}

#[test]
fn a_layer_that_is_here_is_not_had_by_naming_its_diff_id() {
    let bench = Bench::new();
    let secret = tar_of(&[file("secret", "x")]);
    let mine = bench.layer(&secret);
    unpack(&bench.layout, &bench.folders, &mine, &mut Limits::default(), &|_| {}).unwrap();
    let mut claimed = bench.layer(&tar_of(&[file("other", "y")]));
    claimed.diff_id = mine.diff_id.clone();
    let unpacked = |layer: &Layer| unpack(&bench.layout, &bench.folders, layer, &mut Limits::default(), &|_| {});
    assert!(matches!(unpacked(&claimed), Err(Error::Corrupt { .. })));
    // The same layer in another compression is believed once it was seen to be the same.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&secret).unwrap();
    let mut packed = bench.layer(&gzip.finish().unwrap());
    packed.diff_id = mine.diff_id.clone();
    unpacked(&packed).unwrap();
    assert!(is_proven(&bench.folders, &mine.diff_id, &packed.descriptor.digest));
    unpacked(&mine).unwrap();
}

#[test]
fn layers_flatten_into_one_plain_folder() {
    let bench = Bench::new();
    let lower = bench.layer(&tar_of(&[
        file("a", "1"),
        file("dir/old", ""),
        file("dir/stay", ""),
        file("swept/x", ""),
        raw(b'3', "null", "", b""),
        raw(b'5', "locked/", "", b""),
    ]));
    let upper = bench.layer(&tar_of(&[
        file("a", "2"),
        file("dir/.wh.old", ""),
        file("swept/y", ""),
        file("swept/.wh..wh..opq", ""),
        file(".wh.none", ""),
    ]));
    flatten(&bench.layout, &bench.folders, &[lower, upper], "files-x", &Limits::default()).unwrap();
    let root = bench.dir.path().join("layers/files-x");
    assert_eq!(std::fs::read(root.join("a")).unwrap(), b"2");
    assert!(!root.join("dir/old").exists() && root.join("dir/stay").exists());
    assert!(!root.join("swept/x").exists() && root.join("swept/y").exists() && !root.join("null").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_path_leaves_the_root(
        entries in proptest::collection::vec(
            (prop_oneof![Just(b'0'), Just(b'1'), Just(b'2'), Just(b'5')], "(\\.\\./|/|a/|b/|\\./|\\.wh\\.){0,4}[ab.]{1,3}", "(\\.\\./|/|a/|b/){0,4}[ab.]{1,2}"),
            1..8,
        )
    ) {
        let bench = Bench::new();
        let entries: Vec<Vec<u8>> = entries.iter().map(|(kind, name, link)| raw(*kind, name, link, b"")).collect();
        if bench.unpack(&tar_of(&entries)).is_err() {
            bench.assert_untouched();
        }
        let canary = bench.dir.path().join("canary");
        prop_assert_eq!(std::fs::read_to_string(canary.join("file")).unwrap(), "alive");
        prop_assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 1);
        prop_assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let mut entries = Entries::new(&bytes[..], Limits::default());
        while let Ok(Some(_)) = entries.advance() {}
    }
}
