//! Archives that come in by the API: `docker load`, `docker import`, `docker cp`. Paths that climb, documents that point at
//! nothing or at somebody else's, names that are taken over; a canary beside the root.

use anyhow::{Context, Result, ensure};
use proa_tests::canary::Canary;
use proa_tests::image::{self, Image, Recipe};
use proa_tests::tarball::{Header, Kind, Tarball, gzip};
use proa_tests::{Isolation, Need, Node, Suite, api, cases};
use serde_json::{Value, json};

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[],
        cases![
            an_archive_that_climbs_or_points_elsewhere_is_refused,
            an_archive_whose_documents_lie_is_refused,
            an_archive_takes_over_no_name_it_does_not_tag,
            layers_that_are_links_to_each_other_load,
        ],
    );
    suite.add(
        &[Need::Isolation(Isolation::Linux)],
        cases![what_is_imported_climbs_nowhere, what_is_copied_in_stays_in_the_container],
    );
}

/// What `docker save` before version 25 wrote, piece by piece.
struct Saved {
    layer: Vec<u8>,
    config: Vec<u8>,
}

impl Saved {
    fn new() -> Saved {
        let only = proa_tests::node::fresh_name("archive");
        let layer = Tarball::new().file("only", 0o644, only.as_bytes());
        let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
            "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] } });
        Saved { config: config.to_string().into_bytes(), layer }
    }

    /// The archive with `manifest` and whatever else.
    fn with(&self, manifest: &Value, more: impl FnOnce(Tarball) -> Tarball) -> Vec<u8> {
        let tar =
            Tarball::new().file("c.json", 0o644, &self.config).folder("l/").file("l/layer.tar", 0o644, &self.layer);
        more(tar).file("manifest.json", 0o644, manifest.to_string().as_bytes()).finish()
    }
}

fn manifest(tags: &[&str]) -> Value {
    json!([{ "Config": "c.json", "RepoTags": tags, "Layers": ["l/layer.tar"] }])
}

fn images(node: &Node) -> Result<Vec<String>> {
    let mut lines =
        node.proa(&["images", "-a", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"])?.success()?.lines();
    lines.sort();
    Ok(lines)
}

/// Loads what must be refused in one sentence and change no name.
fn refused(node: &Node, canary: &Canary, name: &str, archive: &[u8]) -> Result<()> {
    let before = images(node)?;
    let answer = node.post("/images/load?quiet=1", "application/x-tar", archive)?;
    let text = answer.text();
    ensure!(text.contains("\"message\"") || text.contains("\"error\""), "`{name}` was taken: {} {text}", answer.status);
    ensure!(!text.contains("panicked") && text.len() < 2000, "`{name}`: {text}");
    ensure!(images(node)? == before, "`{name}` changed the images");
    canary.sings().with_context(|| name.to_owned())
}

fn an_archive_that_climbs_or_points_elsewhere_is_refused() -> Result<()> {
    let node = Node::start()?;
    let canary = Canary::beside(&node)?;
    let (saved, tags) = (Saved::new(), manifest(&["climbs:1"]));
    let path = format!("{}/made", canary.path());
    let up = format!("{}{}", "../".repeat(14), path.trim_start_matches('/'));
    let with = |more: &dyn Fn(Tarball) -> Tarball| saved.with(&tags, more);
    refused(&node, &canary, "dots", &with(&|tar| tar.file(&up, 0o644, b"evil")))?;
    refused(&node, &canary, "absolute", &with(&|tar| tar.file(&path, 0o644, b"evil")))?;
    refused(&node, &canary, "hidden", &with(&|tar| tar.pax(&[("path", up.as_bytes())]).file("x", 0o644, b"evil")))?;
    refused(&node, &canary, "disagree", &with(&|tar| tar.pax(&[("size", b"512")]).file("x", 0o644, b"")))?;
    refused(&node, &canary, "owner", &with(&|tar| tar.pax(&[("uid", b"4294967296")]).file("x", 0o644, b"")))?;
    refused(&node, &canary, "long", &with(&|tar| tar.extended(b'L', &vec![b'n'; 3 << 20]).file("x", 0o644, b"")))?;
    refused(
        &node,
        &canary,
        "sized",
        &with(&|tar| tar.header(&Header { name: b"x", size: 8 << 30, ..Header::default() }, b"x")),
    )?;
    for (name, config, layer) in [
        ("config-dots", "../../../../etc/passwd", "l/layer.tar"),
        ("config-absolute", "/etc/passwd", "l/layer.tar"),
        ("config-none", "nothing.json", "l/layer.tar"),
        ("config-folder", "l/", "l/layer.tar"),
        ("layer-dots", "c.json", "../../etc/passwd"),
        ("layer-absolute", "c.json", "/etc/passwd"),
        ("layer-none", "c.json", "nothing/layer.tar"),
        ("layer-empty", "c.json", ""),
        ("layer-link", "c.json", "way"),
        ("layer-circle", "c.json", "a"),
        ("layer-device", "c.json", "device"),
    ] {
        let manifest = json!([{ "Config": config, "RepoTags": ["climbs:1"], "Layers": [layer] }]);
        let archive = saved.with(&manifest, |tar| {
            let tar = tar.symlink("way", "/etc/passwd").symlink("a", "b").symlink("b", "a");
            tar.entry("device", 0o644, &Kind::Device(1, 5))
        });
        refused(&node, &canary, name, &archive)?;
    }
    let whole = saved.with(&tags, |tar| tar);
    refused(&node, &canary, "half", &whole[..whole.len() / 2])?;
    let packed = gzip(&whole);
    refused(&node, &canary, "half-gzip", &packed[..packed.len() / 2])?;
    refused(&node, &canary, "empty", b"")?;
    refused(&node, &canary, "zeros", &[0; 4096])?;
    node.post("/images/load?quiet=1", "application/x-tar", &packed)?.success()?;
    ensure!(images(&node)?.iter().any(|line| line.contains("climbs:1")), "{:?}", images(&node)?);
    node.close()
}

fn an_archive_whose_documents_lie_is_refused() -> Result<()> {
    let node = Node::start()?;
    let canary = Canary::beside(&node)?;
    let saved = Saved::new();
    let other = Value::String(image::digest(b"another"));
    for (name, manifest) in [
        ("object", json!({})),
        ("nothing", json!([])),
        ("numbers", json!([7])),
        ("no-config", json!([{ "Layers": ["l/layer.tar"] }])),
        ("list-config", json!([{ "Config": [], "Layers": [] }])),
        ("no-layers", json!([{ "Config": "c.json", "Layers": [] }])),
        ("twice", json!([{ "Config": "c.json", "Layers": ["l/layer.tar", "l/layer.tar"] }])),
        ("config-as-layer", json!([{ "Config": "l/layer.tar", "Layers": ["c.json"] }])),
    ] {
        refused(&node, &canary, name, &saved.with(&manifest, |tar| tar))?;
    }
    let deep = format!("[{}", "[".repeat(200_000));
    let tar = || Tarball::new().file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    refused(&node, &canary, "deep", &tar().file("manifest.json", 0o644, deep.as_bytes()).finish())?;
    refused(&node, &canary, "deep-index", &tar().file("index.json", 0o644, deep.as_bytes()).finish())?;
    refused(&node, &canary, "long-index", &tar().file("index.json", 0o644, &vec![b' '; 5 << 20]).finish())?;
    let blob = format!("blobs/sha256/{}", image::digest(b"x").trim_start_matches("sha256:"));
    refused(
        &node,
        &canary,
        "promise",
        &tar().file(&blob, 0o644, b"y").file("index.json", 0o644, br#"{"schemaVersion":2,"manifests":[]}"#).finish(),
    )?;
    for digest in [other, json!("sha256:../../x"), json!("md5:x"), json!(7)] {
        let entry = json!({ "mediaType": image::MANIFEST, "digest": digest, "size": 7 });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        refused(&node, &canary, &digest.to_string(), &tar().file("index.json", 0o644, index.as_bytes()).finish())?;
    }
    node.close()
}

/// An archive names what it tags; neither a broken one nor the older `repositories` file moves anybody's name.
fn an_archive_takes_over_no_name_it_does_not_tag() -> Result<()> {
    let node = Node::start()?;
    let canary = Canary::beside(&node)?;
    let victim = Saved::new();
    node.post("/images/load?quiet=1", "application/x-tar", &victim.with(&manifest(&["victim:1"]), |tar| tar))?
        .success()?;
    let before = node.get("/images/victim:1/json")?.success()?.json()?["Id"].clone();
    let evil = Saved::new();
    for tags in [
        ["victim:1", "UPPER:1"],
        ["victim:1", ""],
        ["victim:1", "a:b:c"],
        ["victim:1", "../x"],
        ["victim:1", "x@sha256:short"],
    ] {
        refused(&node, &canary, tags[1], &evil.with(&manifest(&tags), |tar| tar))?;
    }
    let second_broken = json!([
        { "Config": "c.json", "RepoTags": ["victim:1"], "Layers": ["l/layer.tar"] },
        { "Config": "c.json", "RepoTags": ["other:1"], "Layers": ["l/none"] },
    ]);
    refused(&node, &canary, "second", &evil.with(&second_broken, |tar| tar))?;
    let repositories = format!(r#"{{"victim":{{"1":"{}"}}}}"#, "a".repeat(64));
    let archive = evil.with(&manifest(&["mine:1"]), |tar| tar.file("repositories", 0o644, repositories.as_bytes()));
    node.post("/images/load?quiet=1", "application/x-tar", &archive)?.success()?;
    let names = node.get("/images/victim:1/json")?.success()?.json()?;
    ensure!(names["Id"] == before, "the name moved: {names}");
    ensure!(node.get("/images/mine:1/json")?.success()?.json()?["Id"] != before);
    node.close()
}

/// Docker before version 25 wrote a shared layer once and links to it.
fn layers_that_are_links_to_each_other_load() -> Result<()> {
    let node = Node::shared()?;
    let saved = Saved::new();
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["linked:1"], "Layers": ["m/layer.tar"] }]);
    let archive = saved.with(&manifest, |tar| tar.folder("m/").symlink("m/layer.tar", "../l/layer.tar"));
    node.post("/images/load?quiet=1", "application/x-tar", &archive)?.success()?;
    node.get("/images/linked:1/json")?.success()?;
    Ok(())
}

/// A path that climbs from anywhere to a file beside the root.
fn dots_to(canary: &Canary) -> String {
    format!("{}{}/made", "../".repeat(14), canary.path().trim_start_matches('/'))
}

/// Archives that would make or take a file beside the root.
fn climbing(canary: &Canary) -> [(&'static str, Tarball); 4] {
    let dots = dots_to(canary);
    [
        ("dots", Tarball::new().file(&dots, 0o644, b"evil")),
        ("absolute", Tarball::new().file(&format!("{}/made", canary.path()), 0o644, b"evil")),
        ("symlink", Tarball::new().symlink("way", canary.path()).file("way/made", 0o644, b"evil")),
        ("hardlink", Tarball::new().entry("h", 0o644, &Kind::Hardlink(&format!("{}/file", canary.path())))),
    ]
}

/// `docker import` makes one layer of whatever comes; it is unpacked like any other.
fn what_is_imported_climbs_nowhere() -> Result<()> {
    let node = Node::start()?;
    let canary = Canary::beside(&node)?;
    for (name, tar) in climbing(&canary) {
        let target = format!("/images/create?fromSrc=-&repo=imported-{name}&tag=1");
        let answer = node.post(&target, "application/x-tar", &tar.finish())?;
        canary.sings().with_context(|| name.to_owned())?;
        let refused = answer.status >= 400 || answer.text().contains("\"error\"");
        let run = node.proa(&["run", "--rm", "--pull", "never", &format!("imported-{name}:1"), "/x"])?;
        // There is no such program in any of them: what was taken says so, and nothing worse.
        ensure!(refused || matches!(run.code(), Some(125..=127)), "`{name}`: {} {run}", answer.text());
        run.keeps_its_composure()?;
        canary.sings().with_context(|| name.to_owned())?;
    }
    node.post("/images/create?fromSrc=-&repo=noise&tag=1", "application/x-tar", &proa_tests::guest::blob(10_000))?;
    node.get("/_ping")?.success()?;
    node.close()
}

/// CVE-2018-15664, CVE-2019-14271, CVE-2026-41567: what a container says of its own paths is not believed.
fn what_is_copied_in_stays_in_the_container() -> Result<()> {
    let node = Node::start()?;
    let canary = Canary::beside(&node)?;
    let layer = Tarball::new()
        .file("probe", 0o755, proa_tests::samples::PROBE_LINUX)
        .symlink("out", canary.path())
        .symlink("up", "../../../../../../../../..")
        .folder("in/")
        .finish();
    let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
    let layout = node.scratch().join("copied");
    Image::native(&recipe, vec![layer]).write_layout(&layout, "docker.io/library/copied:1")?;
    let reference = node.load(&layout)?;
    let container = node.detached_image(&["--isolation", "linux"], &reference, &["sleep", "600"])?;
    let more = [
        ("whiteout", Tarball::new().file(".wh.probe", 0o644, b"")),
        ("device", Tarball::new().entry("disk", 0o666, &Kind::Device(8, 0))),
        ("bomb", Tarball::new().header(&Header { name: b"x", size: 8 << 30, ..Header::default() }, b"x")),
        ("pax", Tarball::new().pax(&[("path", dots_to(&canary).as_bytes())]).file("x", 0o644, b"evil")),
    ];
    let made = std::path::Path::new(canary.path()).join("made");
    for (name, tar) in climbing(&canary).into_iter().chain(more) {
        let archive = tar.finish();
        for folder in ["/", "/in", "/out", "/up", "/out/../in", "/proc/self/fd", "/proc/1/root", "/nowhere"] {
            let target = format!("/containers/{}/archive?path={folder}", container.id());
            let answer = api::request(node.socket(), "PUT", &target, "application/x-tar", &archive)?;
            ensure!(
                answer.status < 500 || answer.status == 501,
                "{name} to {folder}: {} {}",
                answer.status,
                answer.text()
            );
            canary.sings().with_context(|| format!("{name} to {folder}"))?;
            ensure!(!made.exists());
        }
    }
    for path in ["/out/file", "/up/etc/hostname", "/proc/1/root/etc/hostname", "/out", "../../../../etc/hostname"] {
        let target = format!("/containers/{}/archive?path={path}", container.id());
        let text = node.get(&target)?.text();
        ensure!(!text.contains("sings"), "`{path}` leads to the canary");
    }
    ensure!(node.proa(&["exec", container.id(), "/probe", "out", "alive"])?.text() == "alive");
    drop(container);
    node.close()
}
