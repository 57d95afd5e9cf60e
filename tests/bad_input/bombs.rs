//! Little that becomes much: by bytes, by entries, by headers, by names. Bounded in memory, and on disk by the disk.

use anyhow::{Result, ensure};
use proa_tests::image::{self, Image};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Header, Tarball, gzip, repeated};
use proa_tests::{Isolation, Need, Node, Suite, cases, zstd};
use serde_json::json;

use super::{layered, within_memory};

/// What the host may need above what it had, in bytes.
const MEMORY: u64 = 96 << 20;

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[Need::Isolation(Isolation::Linux)],
        cases![
            more_entries_than_a_layer_may_have_are_refused,
            headers_without_end_are_refused,
            a_window_larger_than_the_machine_is_refused,
            more_layers_than_an_overlay_takes_are_refused,
        ],
    );
    suite.add(&[Need::Isolation(Isolation::Linux), Need::Root], cases![bombs_of_bytes_end_where_the_disk_ends]);
    suite.add(&[], cases![an_archive_of_names_alone_is_refused]);
}

/// An image of one packed layer whose content nobody ever comes to the end of.
fn packed(media_type: &str, layer: Vec<u8>) -> Image {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
        "rootfs": { "type": "layers", "diff_ids": [image::digest(b"never reached")] },
    });
    let layers = vec![(media_type.to_owned(), layer)];
    Image::assemble(image::MANIFEST, (image::CONFIG, config.to_string().into_bytes()), layers)
}

/// Two gigabytes from 2 MB of gzip, and from 64 kB of zstd: refused when the disk is full, and then it is empty again.
fn bombs_of_bytes_end_where_the_disk_ends() -> Result<()> {
    let (node, shelf) = (Node::below("disk")?, Shelf::open()?);
    node.wake_on_disk(96)?;
    let host = proa_tests::outside::Outside::new(node.pid()?);
    node.proa(&["run", "--rm", node.probe()?, "out", "warm"])?.success()?;
    let size = 2_u64 << 30;
    let head = Tarball::new().header(&Header { name: b"zeros", size, ..Header::default() }, b"").so_far();
    let layers = [
        ("gzip", image::LAYER_GZIP, repeated(&head, &vec![0; 1 << 20], 2 << 10)),
        ("zstd", LAYER_ZSTD, zstd::bomb(&head, size)),
    ];
    host.forget_peak();
    let before = host.peak()?;
    for (name, media_type, layer) in layers {
        let reference = shelf.put(name, &packed(media_type, layer));
        node.proa(&["run", "--rm", "--isolation", "linux", &reference])?.refused(125, &["space"])?;
        let output = node.proa(&["run", "--rm", "--isolation", "linux", node.probe()?, "out", "alive"])?.success()?;
        ensure!(output.text() == "alive", "{output}");
        for entry in std::fs::read_dir(node.seen_by_host(&node.root().join("layers"))?)? {
            let entry = entry?.file_name();
            ensure!(!entry.to_string_lossy().starts_with('.'), "`{}` was left", entry.display());
        }
    }
    let grown = host.peak()?.saturating_sub(before);
    ensure!(grown <= MEMORY, "the host's memory grew by {} MiB", grown >> 20);
    node.close()
}

const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn more_entries_than_a_layer_may_have_are_refused() -> Result<()> {
    // The root again and again: no file system is asked for an inode.
    let entry = Tarball::new().folder("./").so_far().repeat(128);
    let layer = repeated(b"", &entry, 2_000_000 / 128 + 1);
    within_memory(MEMORY, |node| {
        let reference = Shelf::open()?.put("entries", &packed(image::LAYER_GZIP, layer));
        node.proa(&["pull", &reference])?.refused(1, &["too many entries"])?;
        Ok(())
    })
}

fn headers_without_end_are_refused() -> Result<()> {
    let value = vec![b'v'; 1_000_000];
    let one = Tarball::new().pax(&[("SCHILY.xattr.user.a", &value)]).so_far();
    let global = Tarball::new()
        .extended(b'g', &[b"1000011 a=".as_slice(), value.as_slice(), b"\n".as_slice()].concat())
        .so_far();
    let announced = Header { name: b"x", flag: b'x', size: 8 << 30, ..Header::default() };
    let announced = Tarball::new().header(&announced, b"").so_far();
    let bombs = [
        ("pax", repeated(b"", &one, 500), "two PAX headers"),
        ("global", repeated(b"", &global, 200), ""),
        ("announced", gzip(&announced), "longer than the limit"),
        ("zeros-within", repeated(&announced, &vec![0; 1 << 20], 100), "longer than the limit"),
    ];
    within_memory(MEMORY, |node| {
        let shelf = Shelf::open()?;
        for (name, layer, word) in bombs {
            let reference = shelf.put(name, &packed(image::LAYER_GZIP, layer));
            node.proa(&["pull", &reference])?.refused(1, &[word])?;
        }
        Ok(())
    })
}

/// RFC 8878, 3.1.1.1.2: a window may be nearly 4 TiB, and a reader may refuse above 8 MiB.
fn a_window_larger_than_the_machine_is_refused() -> Result<()> {
    let layer = Tarball::new().file("a", 0o644, b"x").finish();
    within_memory(MEMORY, |node| {
        let shelf = Shelf::open()?;
        let mut image = packed(LAYER_ZSTD, zstd::wide(&layer));
        let reference = shelf.put("wide", &image);
        node.proa(&["pull", &reference])?.refused(1, &[])?;
        // The window of an honest frame, and the same layer, come in.
        image = layered(layer.clone());
        let plain = image.last_layer();
        let packed = zstd::zstd(&layer);
        image.manifest["layers"][1] = image::descriptor(LAYER_ZSTD, &packed);
        image.blobs.remove(&plain);
        image.blobs.insert(image::digest(&packed), packed);
        let reference = shelf.put("honest", &image);
        node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "out", "x"])?.success()?;
        Ok(())
    })
}

fn more_layers_than_an_overlay_takes_are_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let mut image = layered(Tarball::new().file("a", 0o644, b"x").finish());
    let layer = image.manifest["layers"][1].clone();
    image.manifest["layers"] = json!(vec![layer; 1001]);
    node.proa(&["pull", &shelf.put("descriptors", &image)])?.refused(1, &["more than 1000"])?;
    let probe = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let many = (0..520).map(|at| Tarball::new().file(&format!("f{at}"), 0o644, b"x").finish());
    let recipe = image::Recipe { entrypoint: &["/probe"], ..Default::default() };
    let image = Image::native(&recipe, [probe].into_iter().chain(many).collect());
    let reference = shelf.put("layers", &image);
    let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "out", "x"])?;
    super::refused_or_prints(output, "x")
}

/// Links of 4 KB to 4 KB each, 200 MB of them from a few kilobytes.
fn an_archive_of_names_alone_is_refused() -> Result<()> {
    let name = "n/".repeat(60) + &"n".repeat(200);
    let target = vec![b't'; 4000];
    let entry = Tarball::new().pax(&[("path", name.as_bytes()), ("linkpath", &target)]).symlink("n", "t").so_far();
    let archive = repeated(b"", &entry, 40_000);
    within_memory(MEMORY, |node| {
        let answer = node.post("/images/load?quiet=1", "application/x-tar", &archive)?;
        ensure!(answer.text().contains("names alone take more memory"), "{} {}", answer.status, answer.text());
        Ok(())
    })
}
