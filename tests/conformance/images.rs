//! Images as Docker's users handle them: saved, loaded, imported, looked at, narrowed, removed, and fetched again where
//! a pull was cut off.

use anyhow::{Context, Result, ensure};
use proa_tests::api::{self, Answer};
use proa_tests::image::{self, Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::registry::Registry;
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Tarball, gzip};
use proa_tests::zstd::zstd;
use proa_tests::{Isolation, Need, Node, Suite, Under, cases, guest, samples, wait};
use serde_json::{Value, json};

use super::NATIVE;

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(&[], cases![a_saved_image_is_loaded_and_runs, an_archive_runs_by_its_file_s_name]);
    suite.under(NATIVE, &[], cases![layers_in_every_compression_run, an_imported_tar_runs]);
    suite.add(
        &[],
        cases![
            a_saved_archive_is_an_oci_layout_and_docker_s_own,
            a_name_without_a_tag_saves_all_of_them,
            history_has_docker_s_fields,
            inspect_has_every_field_of_dockerd,
            lists_are_narrowed_as_docker_s,
            prune_takes_what_is_unused_and_counts_it,
            compiled_code_goes_with_its_image,
            rmi_has_docker_s_conflicts,
            a_distribution_is_looked_up_without_a_pull,
            a_login_is_checked_by_the_registry,
            a_push_tells_of_layers_and_ends_with_its_digest,
            a_pull_that_was_killed_goes_on_where_it_stopped,
            pulls_at_once_fetch_a_layer_once,
            image_events_have_docker_s_names,
            import_refuses_what_is_no_tar_and_what_it_would_have_to_fetch,
        ],
    );
}

/// A small image of its own: a name, and a file that tells it from others.
fn small(tag: &str, labels: &Value, created: &str) -> Image {
    let layer = Tarball::new().file("etc/name", 0o644, tag.as_bytes()).finish();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": created, "author": "a sailor",
        "config": { "Cmd": ["/bin/true"], "Labels": labels, "Env": ["A=1"] },
        "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] },
        "history": [
            { "created": created, "created_by": "COPY name /etc/name", "comment": "first" },
            { "created": created, "created_by": "CMD [\"/bin/true\"]", "empty_layer": true },
        ],
    });
    let config = (image::CONFIG, config.to_string().into_bytes());
    Image::assemble(image::MANIFEST, config, vec![(image::LAYER_GZIP.to_owned(), gzip(&layer))])
}

/// Loads it under `name`.
fn enter(node: &Node, name: &str, image: &Image) -> Result<String> {
    let folder = node.scratch().join(fresh_name("layout"));
    image.write_layout(&folder, &format!("docker.io/library/{name}"))?;
    node.load(&folder)
}

fn post(node: &Node, target: &str) -> Result<Answer> {
    node.post(target, "application/json", b"")
}

fn delete(node: &Node, target: &str) -> Result<Answer> {
    api::request(node.socket(), "DELETE", target, "application/json", b"")
}

fn escaped(filters: &Value) -> String {
    filters.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The files of a tar by their names.
fn unpacked(node: &Node, tar: &[u8]) -> Result<std::path::PathBuf> {
    let folder = node.scratch().join(fresh_name("unpacked"));
    std::fs::create_dir_all(&folder)?;
    let path = folder.with_extension("tar");
    std::fs::write(&path, tar)?;
    let done = std::process::Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(&folder).status()?;
    ensure!(done.success(), "GNU tar cannot read it");
    Ok(folder)
}

fn a_saved_image_is_loaded_and_runs(under: &Under) -> Result<()> {
    let probe = under.node.probe()?;
    let tar = under.node.get(&format!("/images/{probe}/get"))?.success()?.body;
    let other = Node::start()?;
    for bytes in [tar.clone(), gzip(&tar), zstd(&tar)] {
        other.post("/images/load", "application/x-tar", &bytes)?.success()?;
    }
    let line = ["run", "--rm", "--pull", "never", "--isolation", under.isolation.name(), probe, "out", "again"];
    let output = other.proa(&line)?.success()?;
    ensure!(output.text() == "again", "{output}");
    other.close()
}

fn an_archive_runs_by_its_file_s_name(under: &Under) -> Result<()> {
    let probe = under.node.probe()?;
    let file = under.node.scratch().join(fresh_name("archive"));
    std::fs::write(&file, under.node.get(&format!("/images/{probe}/get"))?.success()?.body)?;
    let other = Node::start()?;
    for image in [format!("oci-archive:{}", file.display()), format!("docker-archive:{}:{probe}", file.display())] {
        let line = ["run", "--rm", "--isolation", under.isolation.name(), &image, "out", "filed"];
        let output = other.proa(&line)?.success()?;
        ensure!(output.text() == "filed", "{image}: {output}");
    }
    let missing = format!("oci-archive:{}:none", file.display());
    other.proa(&["run", "--rm", &missing])?.refused(125, &["none"])?;
    other.close()
}

fn layers_in_every_compression_run(under: &Under) -> Result<()> {
    let shelf = Shelf::open()?;
    let layer = Tarball::new().file("probe", 0o755, samples::PROBE_LINUX).finish();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/probe"] },
        "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] },
    });
    let packed = [("plain", layer.clone()), ("gzip", gzip(&layer)), ("zstd", zstd(&layer))];
    for (manifest, config_type, media_types) in [
        (
            image::MANIFEST,
            image::CONFIG,
            [
                "application/vnd.oci.image.layer.v1.tar+zstd",
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                image::DOCKER_LAYER,
            ],
        ),
        (
            image::DOCKER_MANIFEST,
            image::DOCKER_CONFIG,
            ["application/vnd.docker.image.rootfs.diff.tar.zstd", image::DOCKER_LAYER, image::LAYER],
        ),
    ] {
        for ((name, bytes), media_type) in packed.iter().zip(media_types) {
            let image = Image::assemble(
                manifest,
                (config_type, config.to_string().into_bytes()),
                vec![(media_type.to_owned(), bytes.clone())],
            );
            let reference = shelf.put(&fresh_name("mix"), &image);
            let line = ["run", "--rm", "--isolation", under.isolation.name(), &reference, "out", name];
            let output = under.node.proa(&line)?.success()?;
            ensure!(output.text() == *name, "{media_type} as {name}: {output}");
            under.node.proa(&["rmi", "-f", &reference])?.success()?;
        }
    }
    Ok(())
}

fn an_imported_tar_runs(under: &Under) -> Result<()> {
    let name = fresh_name("imported");
    let tar = Tarball::new().file("probe", 0o755, samples::PROBE_LINUX).finish();
    let changes = "changes=ENTRYPOINT%20%5B%22%2Fprobe%22%5D&changes=ENV%20BY%3Dimport&changes=LABEL%20l%3D1";
    let target = format!("/images/create?fromSrc=-&repo={name}&tag=1&message=by%20hand&{changes}");
    let answer = under.node.post(&target, "application/x-tar", &zstd(&tar))?.success()?;
    let id = answer.json()?["status"].as_str().unwrap_or_default().to_owned();
    ensure!(id.starts_with("sha256:"), "{}", answer.text());
    let line = ["run", "--rm", "--isolation", under.isolation.name(), &format!("{name}:1"), "env"];
    let output = under.node.proa(&line)?.success()?;
    ensure!(output.lines().iter().any(|line| line == "BY=import"), "{output}");
    let seen = under.node.get(&format!("/images/{name}:1/json"))?.success()?.json()?;
    ensure!(
        seen["Id"] == id.as_str() && seen["Comment"] == "by hand" && seen["Config"]["Labels"]["l"] == "1",
        "{seen}"
    );
    under.node.proa(&["rmi", &format!("{name}:1")])?.success().map(drop)
}

fn a_saved_archive_is_an_oci_layout_and_docker_s_own() -> Result<()> {
    let node = Node::start()?;
    let name = enter(&node, "small:1", &small("one", &json!({}), "2026-01-01T00:00:00Z"))?;
    post(&node, &format!("/images/{name}/tag?repo=other/small&tag=2"))?.success()?;
    let tar = node.get(&format!("/images/get?names={name}&names=other/small:2"))?.success()?;
    let folder = unpacked(&node, &tar.body)?;
    let json = |name: &str| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(folder.join(name))?)?) };
    ensure!(json("oci-layout")?["imageLayoutVersion"] == "1.0.0");
    let (index, manifest) = (json("index.json")?, json("manifest.json")?);
    ensure!(index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/library/small:1", "{index}");
    ensure!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "1", "{index}");
    ensure!(manifest[0]["RepoTags"] == json!(["small:1", "other/small:2"]), "{manifest}");
    for path in manifest[0]["Layers"].as_array().into_iter().flatten().chain([&manifest[0]["Config"]]) {
        ensure!(folder.join(path.as_str().context("a path")?).is_file(), "{path}");
    }
    ensure!(json("repositories")?["other/small"]["2"].is_string());
    ensure!(node.get("/images/get?names=nothing")?.status == 404);
    ensure!(node.get("/images/get")?.status == 400);
    node.close()
}

fn a_name_without_a_tag_saves_all_of_them() -> Result<()> {
    let node = Node::start()?;
    for tag in ["1", "2"] {
        enter(&node, &format!("many:{tag}"), &small(tag, &json!({}), "2026-01-01T00:00:00Z"))?;
    }
    let folder = unpacked(&node, &node.get("/images/many/get")?.success()?.body)?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    ensure!(manifest.as_array().is_some_and(|images| images.len() == 2), "{manifest}");
    node.close()
}

fn history_has_docker_s_fields() -> Result<()> {
    let node = Node::start()?;
    let name = enter(&node, "small:1", &small("one", &json!({}), "2026-01-01T00:00:00Z"))?;
    let history = node.get(&format!("/images/{name}/history"))?.success()?.json()?;
    let (last, first) = (&history[0], &history[1]);
    ensure!(last["CreatedBy"] == "CMD [\"/bin/true\"]" && last["Size"] == 0 && last["Tags"] == json!(["small:1"]));
    ensure!(last["Id"].as_str().is_some_and(|id| id.starts_with("sha256:")) && first["Id"] == "<missing>");
    ensure!(first["Comment"] == "first" && first["Size"].as_u64() > Some(0) && first["Tags"].is_null(), "{history}");
    ensure!(first["Created"] == 1_767_225_600, "{history}");
    ensure!(node.get("/images/nothing/history")?.status == 404);
    node.close()
}

fn inspect_has_every_field_of_dockerd() -> Result<()> {
    let node = Node::start()?;
    let name = enter(&node, "small:1", &small("one", &json!({ "l": "1" }), "2026-01-01T00:00:00Z"))?;
    let seen = node.get(&format!("/images/{name}/json"))?.success()?.json()?;
    for field in [
        "Id",
        "RepoTags",
        "RepoDigests",
        "Parent",
        "Comment",
        "Created",
        "DockerVersion",
        "Author",
        "Config",
        "Architecture",
        "Os",
        "Size",
        "GraphDriver",
        "RootFS",
        "Metadata",
        "Descriptor",
    ] {
        ensure!(seen.get(field).is_some(), "`{field}` is missing: {seen}");
    }
    ensure!(seen["Author"] == "a sailor" && seen["Created"] == "2026-01-01T00:00:00Z", "{seen}");
    let digest = seen["Id"].as_str().context("an id")?.to_owned();
    ensure!(seen["RepoDigests"][0] == format!("small@{digest}"), "{seen}");
    let older = node.get(&format!("/v1.43/images/{name}/json"))?.success()?.json()?;
    ensure!(older["VirtualSize"] == older["Size"] && seen.get("VirtualSize").is_none(), "{older}");
    let listed = node.get("/images/json?shared-size=1")?.success()?.json()?;
    ensure!(
        listed[0]["SharedSize"] == 0 && listed[0]["Size"] == seen["Size"] && listed[0]["Containers"] == 0,
        "{listed}"
    );
    node.close()
}

fn lists_are_narrowed_as_docker_s() -> Result<()> {
    let node = Node::start()?;
    for (tag, created) in [("1", "2026-01-01T00:00:01Z"), ("2", "2026-01-01T00:00:02Z"), ("3", "2026-01-01T00:00:03Z")]
    {
        enter(&node, &format!("small:{tag}"), &small(tag, &json!({ "nr": tag, "all": "yes" }), created))?;
    }
    delete(&node, "/images/small:3?force=1")?.success()?;
    enter(&node, "small:3", &small("3", &json!({ "nr": "3" }), "2026-01-01T00:00:03Z"))?;
    let tags = |filters: Value| -> Result<String> {
        let listed = node.get(&format!("/images/json?filters={}", escaped(&filters)))?.success()?.json()?;
        let names = listed.as_array().into_iter().flatten().filter_map(|image| image["RepoTags"][0].as_str());
        Ok(names.map(|name| name.trim_start_matches("small:")).collect::<Vec<_>>().join(","))
    };
    for (filters, expected) in [
        (json!({}), "3,2,1"),
        (json!({ "before": ["small:2"] }), "1"),
        (json!({ "since": ["small:1"] }), "3,2"),
        (json!({ "since": ["small:1"], "before": ["small:3"] }), "2"),
        (json!({ "label": ["nr=2"] }), "2"),
        (json!({ "label": ["all"] }), "2,1"),
        (json!({ "reference": ["small:[13]"] }), ""),
        (json!({ "reference": ["sm*:2", "small:1"] }), "2,1"),
        (json!({ "until": ["2026-01-01T00:00:02Z"] }), "1"),
        (json!({ "until": ["1h"] }), "3,2,1"),
        (json!({ "dangling": ["true"] }), ""),
        (json!({ "dangling": ["false"] }), "3,2,1"),
    ] {
        let found = tags(filters.clone())?;
        ensure!(found == expected, "{filters}: `{found}` instead of `{expected}`");
    }
    let get = |filters: Value| node.get(&format!("/images/json?filters={}", escaped(&filters)));
    ensure!(get(json!({ "before": ["none"] }))?.status == 404);
    ensure!(get(json!({ "colour": ["red"] }))?.status == 400);
    ensure!(get(json!({ "until": ["soon"] }))?.status == 400);
    node.close()
}

fn prune_takes_what_is_unused_and_counts_it() -> Result<()> {
    let node = Node::start()?;
    for tag in ["1", "2", "3"] {
        let labels = if tag == "3" { json!({ "keep": "yes" }) } else { json!({}) };
        enter(&node, &format!("small:{tag}"), &small(tag, &labels, "2026-01-01T00:00:00Z"))?;
    }
    let bare = guest::bare(&node)?;
    let prune = |filters: Value| -> Result<Value> {
        post(&node, &format!("/images/prune?filters={}", escaped(&filters)))?.success()?.json()
    };
    let nothing = prune(json!({}))?;
    // What loading left of its archives is garbage all the same.
    ensure!(nothing["ImagesDeleted"].is_null() && nothing["SpaceReclaimed"].is_u64(), "{nothing}");
    // The second image takes the first one's name, which leaves the first without any.
    let listed = node.get("/images/small:1/json")?.success()?.json()?;
    post(&node, "/images/small:2/tag?repo=small&tag=1")?.success()?;
    let first = prune(json!({ "dangling": ["true"] }))?;
    let gone = listed["Id"].as_str().unwrap_or_default();
    if !first["ImagesDeleted"].is_null() {
        ensure!(first["ImagesDeleted"][0]["Deleted"] == gone && first["SpaceReclaimed"].as_u64() > Some(0), "{first}");
    }
    let container = node.proa(&["create", "--isolation", "linux", &bare])?;
    let all = prune(json!({ "dangling": ["false"], "label!": ["keep"] }))?;
    let text = all.to_string();
    ensure!(text.contains("Untagged") && !text.contains("small:3"), "{all}");
    if container.code() == Some(0) {
        ensure!(node.get(&format!("/images/{bare}/json"))?.status == 200, "an image in use was pruned: {all}");
        node.proa(&["rm", &container.text()])?.success()?;
    }
    let last = prune(json!({ "dangling": ["0"] }))?;
    ensure!(last["SpaceReclaimed"].as_u64() > Some(0), "{last}");
    ensure!(node.get("/images/json")?.success()?.json()? == json!([]));
    ensure!(post(&node, &format!("/images/prune?filters={}", escaped(&json!({ "x": ["y"] }))))?.status == 400);
    node.close()
}

fn rmi_has_docker_s_conflicts() -> Result<()> {
    let node = Node::start()?;
    let name = enter(&node, "small:1", &small("one", &json!({}), "2026-01-01T00:00:00Z"))?;
    let id = node.get(&format!("/images/{name}/json"))?.success()?.json()?["Id"].as_str().context("an id")?.to_owned();
    let message = |answer: Answer| -> Result<(u16, String)> {
        let status = answer.status;
        Ok((status, answer.json()?["message"].as_str().unwrap_or_default().to_owned()))
    };
    post(&node, &format!("/images/{name}/tag?repo=other/small&tag=2"))?.success()?;
    let (status, text) = message(delete(&node, &format!("/images/{id}"))?)?;
    ensure!(
        status == 409 && text.contains("(must be forced) - image is referenced in multiple repositories"),
        "{text}"
    );
    let one = delete(&node, "/images/other/small:2")?.success()?.json()?;
    ensure!(one == json!([{ "Untagged": "other/small:2" }]), "{one}");
    if Need::Isolation(Isolation::Linux).lacking().is_none() {
        let running = node.detached(Isolation::Linux, &[], &["tick", "1"])?;
        let probe = node.probe()?;
        let probe_id = node.get(&format!("/images/{probe}/json"))?.success()?.json()?;
        let probe_id = probe_id["Id"].as_str().context("an id")?.to_owned();
        let (status, text) = message(delete(&node, &format!("/images/{probe_id}?force=1"))?)?;
        ensure!(
            status == 409 && text.contains("(cannot be forced) - image is being used by running container"),
            "{text}"
        );
        let (status, text) = message(delete(&node, &format!("/images/{probe}"))?)?;
        ensure!(status == 409 && text.contains("(must force) - container"), "{text}");
        // Forced, what runs keeps its image without a name.
        let untagged = delete(&node, &format!("/images/{probe}?force=1"))?.success()?.json()?;
        ensure!(untagged.as_array().is_some_and(|items| items.len() == 1), "{untagged}");
        ensure!(node.get(&format!("/images/{probe_id}/json"))?.success()?.json()?["RepoTags"] == json!([]));
        node.proa(&["kill", running.id()])?.success()?;
        running.wait()?;
        let (status, text) = message(delete(&node, &format!("/images/{probe_id}"))?)?;
        ensure!(
            status == 409 && text.contains("(must be forced) - image is being used by stopped container"),
            "{text}"
        );
        node.proa(&["rm", running.id()])?.success()?;
        delete(&node, &format!("/images/{probe_id}"))?.success()?;
    }
    let gone = delete(&node, &format!("/images/{name}?noprune=1"))?.success()?.json()?;
    ensure!(gone == json!([{ "Untagged": "small:1" }, { "Deleted": id }]), "{gone}");
    ensure!(message(delete(&node, &format!("/images/{name}"))?)? == (404, "No such image: small:1".to_owned()));
    node.close()
}

fn a_distribution_is_looked_up_without_a_pull() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let image = small("one", &json!({}), "2026-01-01T00:00:00Z");
    let reference = shelf.put("looked", &image);
    let seen = node.get(&format!("/distribution/{reference}/json"))?.success()?.json()?;
    ensure!(seen["Descriptor"]["digest"] == image::digest(&image.manifest_bytes()), "{seen}");
    ensure!(seen["Platforms"] == json!([{ "architecture": "amd64", "os": "linux" }]), "{seen}");
    ensure!(node.get("/images/json")?.success()?.json()? == json!([]));
    let missing = node.get(&format!("/distribution/{reference}x/json"))?;
    ensure!(missing.status == 404 && missing.text().contains("manifest unknown"), "{}", missing.text());
    node.close()
}

fn a_login_is_checked_by_the_registry() -> Result<()> {
    let (node, registry) = (Node::start()?, Registry::start()?);
    let body = |address: &str| json!({ "username": "u", "password": "p", "serveraddress": address }).to_string();
    let auth = |address: &str| node.post("/auth", "application/json", body(address).as_bytes());
    let good = auth(&registry.address().to_string())?.success()?.json()?;
    ensure!(good == json!({ "Status": "Login Succeeded", "IdentityToken": "" }), "{good}");
    ensure!(auth("not a host")?.status == 400);
    ensure!(auth("127.0.0.1:1")?.status == 500);
    node.close()
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn a_push_tells_of_layers_and_ends_with_its_digest() -> Result<()> {
    let (node, registry) = (Node::start()?, Registry::start()?);
    let image = small("one", &json!({}), "2026-01-01T00:00:00Z");
    let name = enter(&node, "small:1", &image)?;
    let remote = format!("{}/team/small", registry.address());
    post(&node, &format!("/images/{name}/tag?repo={remote}&tag=1"))?.success()?;
    let told = lines(&post(&node, &format!("/images/{remote}/push?tag=1"))?.success()?);
    ensure!(told[0]["status"] == format!("The push refers to repository [{remote}]"), "{told:?}");
    let digest = image.last_layer();
    let layer = &digest["sha256:".len()..][..12];
    let ids: Vec<_> = told.iter().filter_map(|line| line["id"].as_str()).collect();
    ensure!(!ids.is_empty() && ids.iter().all(|id| *id == layer), "{layer}: {told:?}");
    let aux = &told.last().context("a last line")?["aux"];
    let manifest = image.manifest_bytes();
    ensure!(*aux == json!({ "Tag": "1", "Digest": image::digest(&manifest), "Size": manifest.len() }), "{aux}");
    let missing = lines(&post(&node, &format!("/images/create?fromImage={remote}&tag=9"))?);
    let text = serde_json::to_string(&missing)?;
    ensure!(text.contains("manifest unknown") && text.matches("pull").count() <= 1, "{text}");
    node.close()
}

fn long_image() -> Image {
    // Noise does not compress: the layer is as long as it looks.
    let layer = Tarball::new().file("noise", 0o644, &guest::blob(3 << 20)).finish();
    Image::native(&Recipe { command: &["/noise"], ..Recipe::default() }, vec![layer])
}

fn a_pull_that_was_killed_goes_on_where_it_stopped() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let image = long_image();
    let reference = shelf.put("long", &image);
    shelf.hold_back(&image.last_layer());
    let pull = proa_tests::command::start(&mut node.command(&["pull", "-q", &reference]))?;
    let partial = node.root().join("store/ingest");
    let half = image.blobs[&image.last_layer()].len() as u64 / 2;
    let here = || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum::<u64>()
    };
    wait::until("half of the layer is here", || Ok(shelf.half_sent() == 1 && here() >= half - 65_536))?;
    node.kill()?;
    drop(pull);
    let kept = here();
    ensure!(kept >= half - 65_536, "{kept} of {half}");
    // From now on the registry has only what is missing.
    shelf.release();
    node.wake()?;
    ensure!(here() == kept, "the new host threw the beginning away");
    node.proa(&["pull", "-q", &reference])?.success()?;
    ensure!(shelf.ranges().iter().any(|from| *from > 0 && *from <= half), "{:?}", shelf.ranges());
    ensure!(here() == 0, "the partial file is left");
    node.proa(&["rmi", &reference])?.success()?;
    node.close()
}

fn pulls_at_once_fetch_a_layer_once() -> Result<()> {
    let (node, shelf) = (Node::start()?, Shelf::open()?);
    let image = long_image();
    let names: Vec<String> = (0..4).map(|nr| shelf.put(&format!("same{nr}"), &image)).collect();
    shelf.hold_back(&image.last_layer());
    let pulls: Vec<_> = names
        .iter()
        .map(|name| proa_tests::command::start(&mut node.command(&["pull", "-q", name])))
        .collect::<Result<_>>()?;
    wait::until("a layer is on its way", || Ok(shelf.half_sent() == 1))?;
    shelf.release();
    for pull in pulls {
        pull.finish(wait::PATIENCE)?.success()?;
    }
    ensure!(shelf.half_sent() == 1, "{} downloads of one layer", shelf.half_sent());
    node.close()
}

fn image_events_have_docker_s_names() -> Result<()> {
    let (node, registry) = (Node::start()?, Registry::start()?);
    let name = enter(&node, "small:1", &small("one", &json!({}), "2026-01-01T00:00:00Z"))?;
    let remote = format!("{}/small", registry.address());
    post(&node, &format!("/images/{name}/tag?repo={remote}&tag=1"))?.success()?;
    post(&node, &format!("/images/{remote}/push?tag=1"))?.success()?;
    node.get(&format!("/images/{name}/get"))?.success()?;
    delete(&node, &format!("/images/{remote}:1"))?.success()?;
    post(&node, &format!("/images/create?fromImage={remote}&tag=1"))?.success()?;
    node.post("/images/create?fromSrc=-", "application/x-tar", &Tarball::new().file("a", 0o644, b"").finish())?
        .success()?;
    delete(&node, &format!("/images/{remote}:1"))?.success()?;
    delete(&node, &format!("/images/{name}"))?.success()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let filters = escaped(&json!({ "type": ["image"] }));
    let told = lines(&node.get(&format!("/events?since=0&until={until}&filters={filters}"))?);
    let actions: Vec<_> = told.iter().filter_map(|event| event["Action"].as_str()).collect();
    let expected = ["load", "tag", "push", "save", "untag", "pull", "import", "untag", "untag", "delete"];
    ensure!(actions == expected, "{actions:?}");
    let pull = told.iter().find(|event| event["Action"] == "pull").context("a pull")?;
    ensure!(pull["Actor"]["ID"] == format!("{remote}:1") && pull["Actor"]["Attributes"]["name"] == remote, "{pull}");
    node.close()
}

fn import_refuses_what_is_no_tar_and_what_it_would_have_to_fetch() -> Result<()> {
    let node = Node::start()?;
    let refused = |target: &str, body: &[u8]| -> Result<String> {
        let answer = node.post(target, "application/x-tar", body)?;
        ensure!((400..=500).contains(&answer.status), "{}", answer.text());
        Ok(answer.json()?["message"].as_str().unwrap_or_default().to_owned())
    };
    let url = refused("/images/create?fromSrc=http%3A%2F%2F169.254.169.254%2F&repo=x", b"")?;
    ensure!(url.contains("is not fetched from"), "{url}");
    refused("/images/create?fromSrc=-&repo=x", b"no tar at all")?;
    let change = refused("/images/create?fromSrc=-&repo=x&changes=RUN%20true", &Tarball::new().finish())?;
    ensure!(change.contains("RUN is not a valid change command"), "{change}");
    ensure!(node.get("/images/json")?.success()?.json()? == json!([]));
    node.close()
}

fn compiled_code_goes_with_its_image() -> Result<()> {
    let node = Node::start()?;
    let probe = node.probe()?.to_owned();
    let cache = || -> Result<usize> {
        let folder = node.root().join("cache");
        Ok(std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?.count())
    };
    let kept = node.proa(&["create", "--isolation", "wasm", &probe, "out", "kept"])?.success()?.text();
    ensure!(cache()? == 1);
    node.proa(&["rmi", "-f", &probe])?.success()?;
    ensure!(cache()? == 1, "a container's code was taken");
    ensure!(node.proa(&["start", "-a", &kept])?.success()?.text() == "kept");
    node.proa(&["rm", &kept])?.success()?;
    node.load(guest::probe_layout(&node)?)?;
    node.proa(&["run", "--rm", "--isolation", "wasm", &probe, "out", "x"])?.success()?;
    ensure!(cache()? == 1);
    node.proa(&["rmi", &probe])?.success()?;
    ensure!(cache()? == 0, "the code of an image that is gone is left");
    node.close()
}
