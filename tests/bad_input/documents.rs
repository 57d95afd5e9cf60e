//! Manifests, indexes and configurations that can be read two ways, or not at all; names that race.

use anyhow::{Context, Result, ensure};
use proa_tests::hostile::Hostile;
use proa_tests::image::{self, Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Tarball, gzip};
use proa_tests::{Isolation, Need, Node, Suite, cases, zstd};
use serde_json::{Value, json};

use super::within_memory;

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[],
        cases![
            an_index_in_an_index_in_an_index_is_refused,
            an_index_that_holds_itself_is_refused,
            names_that_stand_twice_are_refused,
            documents_of_any_size_and_depth_are_bounded,
            digests_nobody_can_verify_are_refused,
            a_layer_of_elsewhere_is_neither_fetched_nor_asked_for,
            a_document_that_is_not_what_it_was_announced_as_is_refused,
        ],
    );
    suite.add(
        &[Need::Isolation(Isolation::Linux)],
        cases![
            as_many_diff_ids_as_layers_are_needed_and_history_is_only_told,
            a_media_type_that_lies_changes_nothing,
            a_name_for_which_pulls_race_is_one_whole_image,
        ],
    );
}

/// An image that no other case's pull has brought.
fn fresh() -> Image {
    let layer = Tarball::new().file("only", 0o644, fresh_name("document").as_bytes());
    let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer])
}

fn refused(node: &Node, reference: &str, words: &[&str]) -> Result<()> {
    node.proa(&["pull", reference])?.refused(1, words)?;
    let listed = node.proa(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?.success()?;
    ensure!(!listed.text().contains(reference), "the refused image is listed: {listed}");
    Ok(())
}

/// An index of `children`, put on the shelf by their digests too.
fn index(shelf: &Shelf, name: &str, children: &[&Image]) -> Image {
    let entries: Vec<Value> = children
        .iter()
        .map(|child| {
            shelf.put(name, child);
            let media = child.manifest["mediaType"].as_str().unwrap_or_default();
            let mut entry = image::descriptor(media, &child.manifest_bytes());
            if media != image::INDEX {
                entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
            }
            entry
        })
        .collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": image::INDEX, "manifests": entries });
    Image { manifest, blobs: children.iter().flat_map(|child| child.blobs.clone()).collect() }
}

fn an_index_in_an_index_in_an_index_is_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let mut nested = fresh();
    for _ in 0..3 {
        nested = index(&shelf, "nested", &[&nested]);
    }
    refused(node, &shelf.put("nested", &nested), &["nested more than 2 deep"])?;
    let mut many = index(&shelf, "many", &[&fresh()]);
    let entry = many.manifest["manifests"][0].clone();
    many.manifest["manifests"] = json!(vec![entry; 1001]);
    refused(node, &shelf.put("many", &many), &["more than 1000"])
}

/// No document can hold its own digest, so such an index needs a registry that lies.
fn an_index_that_holds_itself_is_refused() -> Result<()> {
    let shelf = Shelf::open()?;
    let digest = image::digest(b"myself");
    let entry = json!({ "mediaType": image::INDEX, "digest": digest, "size": 300,
        "platform": { "os": "linux", "architecture": "amd64" } });
    let manifest = json!({ "schemaVersion": 2, "mediaType": image::INDEX, "manifests": [entry] });
    let image = Image { manifest, blobs: Default::default() };
    let reference = shelf.put("loop", &image);
    shelf.alias("loop", &image, &digest);
    refused(Node::shared()?, &reference, &[])
}

/// One digest, two documents: the first of the same names, or the last.
fn names_that_stand_twice_are_refused() -> Result<()> {
    let (one, two) = (fresh(), fresh());
    let config = one.manifest["config"].to_string();
    let (first, second) = (one.manifest["layers"].to_string(), two.manifest["layers"].to_string());
    let media = image::MANIFEST;
    let text =
        format!(r#"{{"schemaVersion":2,"mediaType":"{media}","config":{config},"layers":{first},"layers":{second}}}"#);
    let registry = serving(vec![text.into_bytes()])?;
    refused(Node::shared()?, &format!("{}/twice:latest", registry.address()), &["stands twice"])
}

/// A registry that answers every request with the next of `bodies`, as a manifest, and the last for ever.
fn serving(bodies: Vec<Vec<u8>>) -> Result<Hostile> {
    use std::io::Write;
    let next = std::sync::atomic::AtomicUsize::new(0);
    Hostile::open(move |asked, stream| {
        if !asked.target.contains("/manifests/") && !asked.target.contains("/blobs/") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
            return;
        }
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).min(bodies.len() - 1);
        let (media, length) = (image::MANIFEST, bodies[at].len());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&bodies[at]);
    })
}

fn documents_of_any_size_and_depth_are_bounded() -> Result<()> {
    within_memory(64 << 20, |node| {
        let shelf = Shelf::open()?;
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let annotated = format!(r#"{{"schemaVersion":2,"layers":[],"annotations":{}}}"#, deep(100_000));
        let registry = serving(vec![deep(1_000_000).into_bytes()])?;
        refused(node, &format!("{}/deep:latest", registry.address()), &[])?;
        let registry = serving(vec![annotated.into_bytes()])?;
        refused(node, &format!("{}/deeper:latest", registry.address()), &[])?;
        let registry = serving(vec![vec![b' '; 5 << 20]])?;
        refused(node, &format!("{}/long:latest", registry.address()), &["4194304"])?;
        // Announced too long it is not even asked for; longer than announced it is broken off.
        let mut image = fresh();
        image.manifest["config"]["size"] = json!(100 << 20);
        refused(node, &shelf.put("announced", &image), &["104857600 bytes long, the limit is 4194304"])?;
        let mut image = fresh();
        let digest = image.manifest["config"]["digest"].as_str().unwrap_or_default().to_owned();
        image.manifest["config"]["size"] = json!(1000);
        let reference = shelf.put("hundred", &image);
        shelf.replace(&digest, &vec![b' '; 100 << 20]);
        refused(node, &reference, &["bytes"])?;
        for (name, config) in [("nested", deep(500)), ("labels", format!(r#"{{"config":{{"Labels":{}}}}}"#, deep(200)))]
        {
            let layers = vec![(image::LAYER.to_owned(), Tarball::new().finish())];
            let image = Image::assemble(image::MANIFEST, (image::CONFIG, config.into_bytes()), layers);
            refused(node, &shelf.put(name, &image), &[])?;
        }
        Ok(())
    })
}

fn digests_nobody_can_verify_are_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let hex = "a".repeat(64);
    let bad = [
        "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        format!("sha1:{}", &hex[..40]),
        format!("sha256:{}", &hex[..63]),
        format!("sha256:{hex}a"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256+b64:{hex}"),
        format!("sha512:{hex}"),
        hex.clone(),
        format!("sha256:../../{}", &hex[..58]),
        format!("sha256:{}\0", &hex[..63]),
        String::new(),
    ];
    for (number, digest) in bad.iter().enumerate() {
        let mut image = fresh();
        image.manifest["layers"][0]["digest"] = json!(digest);
        refused(node, &shelf.put(&format!("digest{number}"), &image), &[]).with_context(|| digest.clone())?;
        let output = node.proa(&["pull", "--", &format!("{}@{digest}", "127.0.0.1:1/x")]);
        // A zero byte is no argument of a program.
        if let Ok(output) = output {
            ensure!(output.code() != Some(0), "{output}");
            output.keeps_its_composure()?;
        }
    }
    Ok(())
}

/// CVE-2020-15157: the layer's own URL got the registry's credentials.
fn a_layer_of_elsewhere_is_neither_fetched_nor_asked_for() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let elsewhere = Hostile::open(|_, _| ())?;
    let url = format!("http://{}/layer", elsewhere.address());
    let mut image = fresh();
    image.manifest["layers"][0]["urls"] = json!([url]);
    refused(node, &shelf.put("foreign", &image), &["foreign"])?;
    let mut image = fresh();
    image.manifest["layers"][0]["urls"] = json!([url]);
    image.manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    let digest = image.last_layer();
    image.blobs.remove(&digest);
    refused(node, &shelf.put("windows", &image), &["foreign"])?;
    ensure!(elsewhere.asked().is_empty(), "somebody asked {:?}", elsewhere.asked());
    Ok(())
}

fn a_document_that_is_not_what_it_was_announced_as_is_refused() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let mut as_index = fresh();
    as_index.manifest["mediaType"] = json!(image::INDEX);
    refused(node, &shelf.put("as-index", &as_index), &["declared as"])?;
    let mut as_manifest = index(&shelf, "as-manifest", &[&fresh()]);
    as_manifest.manifest["mediaType"] = json!(image::MANIFEST);
    refused(node, &shelf.put("as-manifest", &as_manifest), &["declared as"])?;
    for (name, broken) in [
        ("null-layers", json!({ "schemaVersion": 2, "config": as_index.manifest["config"], "layers": null })),
        (
            "text-size",
            json!({ "schemaVersion": 2, "config": as_index.manifest["config"], "layers": [{ "mediaType": "x", "size": "9", "digest": as_index.last_layer() }] }),
        ),
        (
            "float-size",
            json!({ "schemaVersion": 2, "config": as_index.manifest["config"], "layers": [{ "mediaType": "x", "size": 1.5, "digest": as_index.last_layer() }] }),
        ),
        ("float-version", json!({ "schemaVersion": 2.5, "config": as_index.manifest["config"], "layers": [] })),
        ("list-config", json!({ "schemaVersion": 2, "config": [], "layers": [] })),
    ] {
        refused(node, &shelf.put(name, &Image { manifest: broken, ..fresh() }), &[])
            .with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn as_many_diff_ids_as_layers_are_needed_and_history_is_only_told() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let layer = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let id = image::digest(&layer);
    let parts = || vec![(image::LAYER.to_owned(), layer.clone())];
    let with = |diff_ids: Value, history: Value| {
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": history });
        Image::assemble(image::MANIFEST, (image::CONFIG, config.to_string().into_bytes()), parts())
    };
    for (name, diff_ids) in [("none", json!([])), ("two", json!([id, id])), ("null", Value::Null)] {
        refused(node, &shelf.put(name, &with(diff_ids, json!([]))), &["layers"]).with_context(|| name.to_owned())?;
    }
    let long = vec![json!({ "created_by": "\u{1b}[2J", "empty_layer": false }); 500];
    let reference = shelf.put("history", &with(json!([id]), json!(long)));
    let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "out", "x"])?.success()?;
    ensure!(output.text() == "x", "{output}");
    let told = node.get(&format!("/images/{reference}/history"))?;
    ensure!(told.status < 500 || told.status == 501, "{} {}", told.status, told.text());
    Ok(())
}

/// The magic number decides, as everywhere else; what is verified is the digest of what came out.
fn a_media_type_that_lies_changes_nothing() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    let zstd_media = "application/vnd.oci.image.layer.v1.tar+zstd";
    let layer = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let forms = [("plain", layer.clone()), ("gzip", gzip(&layer)), ("zstd", zstd::zstd(&layer))];
    for (form, bytes) in &forms {
        for (said, media) in [("plain", image::LAYER), ("gzip", image::LAYER_GZIP), ("zstd", zstd_media)] {
            let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
                "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] } });
            let layers = vec![(media.to_owned(), bytes.clone())];
            let image = Image::assemble(image::MANIFEST, (image::CONFIG, config.to_string().into_bytes()), layers);
            let reference = shelf.put(&format!("{form}-said-{said}"), &image);
            let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "out", form])?;
            if form == &said {
                output.success()?;
            } else {
                super::refused_or_prints(output, form).with_context(|| format!("{form} said to be {said}"))?;
            }
        }
    }
    Ok(())
}

/// Two pulls of one name while what it points at changes: the name is one of them, whole, and a container keeps its own.
fn a_name_for_which_pulls_race_is_one_whole_image() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let say = |text: &str| {
        let layer = Tarball::new().file("said", 0o644, text.as_bytes());
        let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
        Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer])
    };
    let (one, two) = (say("one"), say("two"));
    let reference = shelf.put("race", &one);
    node.proa(&["pull", "-q", &reference])?.success()?;
    let keeper = node.detached_image(&["--isolation", "linux"], &reference, &["sleep", "600"])?;
    for round in 0..4 {
        std::thread::scope(|scope| -> Result<()> {
            let pulls = [0, 1, 2].map(|at| {
                let (node, reference) = (&node, &reference);
                shelf.put("race", if (round + at) % 2 == 0 { &two } else { &one });
                scope.spawn(move || node.proa(&["pull", "-q", reference]))
            });
            for pull in pulls {
                let ended = pull.join().map_err(|_| anyhow::anyhow!("a pull panicked"))??;
                ended.success()?;
            }
            Ok(())
        })?;
        let line = ["run", "--rm", "-q", "--pull", "never", "--isolation", "linux", &reference, "read", "/said"];
        let said = node.proa(&line)?.success()?.text();
        ensure!(["one", "two"].contains(&said.as_str()), "the name gives `{said}`");
        let id = node.get(&format!("/images/{reference}/json"))?.success()?.json()?["Id"].clone();
        let whole = [("one", &one), ("two", &two)]
            .iter()
            .any(|(text, image)| *text == said && id == image::digest(&image.manifest_bytes()).as_str());
        ensure!(whole, "`{said}` by the id {id}");
    }
    ensure!(
        keeper.inspect()?["Image"] == image::digest(&one.manifest_bytes()).as_str(),
        "the container changed its image"
    );
    let said = node.proa(&["exec", keeper.id(), "/probe", "read", "/said"])?.success()?;
    ensure!(said.text() == "one", "{said}");
    drop(keeper);
    node.close()
}
