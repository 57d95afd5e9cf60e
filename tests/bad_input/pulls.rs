//! Registries that lie, break off, or have nothing.

use anyhow::{Result, ensure};
use proa_tests::image::{self, Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Tarball, gzip};
use proa_tests::{Need, Node, Suite, cases, peer};
use serde_json::json;

use proa_tests::Isolation;

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[],
        cases![
            an_unknown_image_is_named,
            a_registry_that_is_not_there_is_named,
            a_corrupt_layer_is_not_stored,
            a_truncated_layer_is_not_stored,
            a_layer_longer_than_announced_is_not_stored,
            a_corrupt_config_is_not_stored,
            a_manifest_under_a_foreign_digest_is_refused,
            a_layer_whose_content_is_not_what_the_config_says_is_refused,
            a_manifest_that_is_also_an_index_is_refused,
            a_manifest_that_makes_no_sense_is_refused,
            an_image_for_another_platform_is_refused,
        ],
    );
    suite.add(&[Need::Isolation(Isolation::Linux)], cases![docker_s_media_types_and_both_compressions_run]);
}

/// An image whose layer no other case's image has, so that nobody else's pull has brought it before.
fn probe_image(recipe: &Recipe<'_>) -> Image {
    let only = fresh_name("only");
    let layer = Tarball::new().file("only", 0o644, only.as_bytes());
    let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    Image::native(&Recipe { entrypoint: &["/probe"], ..recipe.clone() }, vec![layer])
}

/// Pulls and runs `reference`, which must both be refused with `words`, and leave nothing visible.
fn refused(node: &Node, reference: &str, blob: Option<&str>, words: &[&str]) -> Result<()> {
    node.proa(&["pull", reference])?.refused(1, words)?;
    node.proa(&["run", "--rm", reference])?.refused(125, words)?;
    let listed = node.proa(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?.success()?;
    ensure!(!listed.text().contains(reference), "the refused image is listed: {listed}");
    if let Some(digest) = blob {
        let blob = node.root().join("store/blobs/sha256").join(digest.trim_start_matches("sha256:"));
        ensure!(!blob.exists(), "a blob of other content lies under `{digest}`");
    }
    Ok(())
}

fn an_unknown_image_is_named() -> Result<()> {
    let (node, shelf) = (Node::shared()?, Shelf::open()?);
    shelf.put("known", &probe_image(&Recipe::default()));
    let reference = shelf.put("x", &probe_image(&Recipe::default())).replace("/x:", "/unknown:");
    refused(node, &reference, None, &[&reference])?;
    node.proa(&["run", "--rm", "--pull", "never", &reference])?.refused(125, &[&reference])?;
    node.proa(&["pull", &reference.replace("unknown:latest", "known:other")])?.refused(1, &["known:other"])?;
    Ok(())
}

fn a_registry_that_is_not_there_is_named() -> Result<()> {
    let address = peer::free_address()?.to_string();
    refused(Node::shared()?, &format!("{address}/nobody/home:1"), None, &[&address])
}

fn a_corrupt_layer_is_not_stored() -> Result<()> {
    let shelf = Shelf::open()?;
    let image = probe_image(&Recipe::default());
    let reference = shelf.put("corrupt", &image);
    let digest = image.last_layer();
    let mut bytes = image.blobs[&digest].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    shelf.replace(&digest, &bytes);
    refused(Node::shared()?, &reference, Some(&digest), &["digest"])
}

fn a_truncated_layer_is_not_stored() -> Result<()> {
    let shelf = Shelf::open()?;
    let image = probe_image(&Recipe { gzip: true, ..Recipe::default() });
    let reference = shelf.put("truncated", &image);
    let digest = image.last_layer();
    shelf.cut(&digest, image.blobs[&digest].len() / 3);
    refused(Node::shared()?, &reference, Some(&digest), &[])
}

fn a_layer_longer_than_announced_is_not_stored() -> Result<()> {
    let shelf = Shelf::open()?;
    let mut image = probe_image(&Recipe::default());
    let digest = image.last_layer();
    image.manifest["layers"][0]["size"] = json!(1000);
    let reference = shelf.put("longer", &image);
    refused(Node::shared()?, &reference, Some(&digest), &["bytes"])?;
    image.manifest["layers"][0]["size"] = json!(image.blobs[&digest].len() + 1);
    let reference = shelf.put("shorter", &image);
    refused(Node::shared()?, &reference, Some(&digest), &["bytes"])
}

fn a_corrupt_config_is_not_stored() -> Result<()> {
    let shelf = Shelf::open()?;
    let image = probe_image(&Recipe::default());
    let reference = shelf.put("config", &image);
    let digest = image.manifest["config"]["digest"].as_str().unwrap_or_default().to_owned();
    let size = image.blobs[&digest].len();
    shelf.replace(&digest, &vec![b' '; size]);
    refused(Node::shared()?, &reference, Some(&digest), &["digest"])
}

fn a_manifest_under_a_foreign_digest_is_refused() -> Result<()> {
    let shelf = Shelf::open()?;
    let image = probe_image(&Recipe::default());
    let reference = shelf.put("foreign", &image);
    let (name, _) = reference.rsplit_once(':').unwrap_or_default();
    let other = image::digest(b"something else");
    shelf.alias("foreign", &image, &other);
    let output = Node::shared()?.proa(&["pull", &format!("{name}@{other}")])?;
    output.refused(1, &["digest"])?;
    Ok(())
}

/// The layer is what the manifest says, but its content is not what the config says (diff_ids).
fn a_layer_whose_content_is_not_what_the_config_says_is_refused() -> Result<()> {
    let shelf = Shelf::open()?;
    let layer = Tarball::new().file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
        "rootfs": { "type": "layers", "diff_ids": [image::digest(b"another layer")] },
    });
    let parts = vec![(image::LAYER_GZIP.to_owned(), gzip(&layer))];
    let image = Image::assemble(image::MANIFEST, (image::CONFIG, config.to_string().into_bytes()), parts);
    let reference = shelf.put("diffid", &image);
    let node = Node::shared()?;
    // Pulling may verify at once or when the layer is unpacked; running never gets past it.
    node.proa(&["pull", &reference])?.keeps_its_composure()?;
    node.proa(&["run", "--rm", "--isolation", "linux", &reference, "out", "x"])?.refused(125, &["digest"])?;
    Ok(())
}

/// CVE-2021-41190: one document, two meanings.
fn a_manifest_that_is_also_an_index_is_refused() -> Result<()> {
    let shelf = Shelf::open()?;
    let mut image = probe_image(&Recipe::default());
    image.manifest["manifests"] = json!([]);
    refused(Node::shared()?, &shelf.put("both", &image), None, &[])
}

fn a_manifest_that_makes_no_sense_is_refused() -> Result<()> {
    let shelf = Shelf::open()?;
    let node = Node::shared()?;
    let sound = probe_image(&Recipe::default());
    for (number, broken) in [
        json!({}),
        json!([]),
        json!("text"),
        json!({ "schemaVersion": 1 }),
        json!({ "schemaVersion": 2, "mediaType": image::MANIFEST, "config": {}, "layers": [] }),
        json!({ "schemaVersion": 2, "mediaType": image::MANIFEST, "config": sound.manifest["config"], "layers": [{ "mediaType": "x", "size": -1, "digest": "sha256:../../x" }] }),
    ]
    .into_iter()
    .enumerate()
    {
        let image = Image { manifest: broken, ..sound.clone() };
        refused(node, &shelf.put(&format!("broken{number}"), &image), None, &[])?;
    }
    Ok(())
}

fn an_image_for_another_platform_is_refused() -> Result<()> {
    let shelf = Shelf::open()?;
    let layer = Tarball::new().file("probe", 0o755, b"\x7fELF").finish();
    let mut image = Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer]);
    let config = json!({
        "architecture": "riscv64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
        "rootfs": { "type": "layers", "diff_ids": [image.last_layer()] },
    })
    .to_string()
    .into_bytes();
    image.manifest["config"] = image::descriptor(image::CONFIG, &config);
    image.blobs.insert(image::digest(&config), config);
    let reference = shelf.put("riscv", &image);
    Node::shared()?.proa(&["run", "--rm", &reference])?.refused(125, &["linux/riscv64"])?;
    Ok(())
}

fn docker_s_media_types_and_both_compressions_run() -> Result<()> {
    let shelf = Shelf::open()?;
    let node = Node::shared()?;
    let recipes = [
        ("docker", Recipe { docker: true, ..Recipe::default() }),
        ("gzip", Recipe { gzip: true, ..Recipe::default() }),
        ("plain", Recipe::default()),
    ];
    for (name, recipe) in recipes {
        let reference = shelf.put(name, &probe_image(&recipe));
        let output = node.proa(&["run", "--rm", "-q", "--isolation", "linux", &reference, "out", name])?.success()?;
        ensure!(output.text() == name, "{output}");
    }
    Ok(())
}
