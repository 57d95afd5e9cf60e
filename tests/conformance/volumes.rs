//! Volumes: what lies in one outlives containers and hosts, goes when it should, and leads nowhere.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use proa_tests::api::{self, Answer};
use proa_tests::command::Output;
use proa_tests::node::fresh_name;
use proa_tests::{Isolation, Need, Node, Suite, Under, cases, docker, guest};
use serde_json::{Value, json};

use super::{NATIVE, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under_all(
        &[],
        cases![
            what_lies_in_a_volume_is_there_for_the_next_container,
            a_read_only_volume_is_not_written,
            an_anonymous_volume_goes_with_its_container,
            a_volume_in_use_is_not_removed,
            volumes_of_another_container_are_shared,
            inspect_tells_of_volumes,
        ],
    );
    suite.under(
        NATIVE,
        &[Need::Peer("busybox")],
        cases![
            an_empty_volume_gets_what_the_image_has_there,
            containers_made_at_once_share_one_filled_volume,
            a_subpath_is_found_in_the_volume_and_nowhere_else,
            a_volume_s_events_are_docker_s,
            the_owner_of_an_empty_volume_is_the_guest_s_root,
        ],
    );
    suite.under(WASM, &[], cases![a_wasm_guest_writes_to_an_anonymous_volume]);
    suite.add(
        &[],
        [
            ("volumes_are_made_listed_and_removed", volumes_are_made_listed_and_removed),
            ("volumes_are_pruned_as_docker_prunes", volumes_are_pruned_as_docker_prunes),
            ("a_killed_host_leaves_volumes_whole", a_killed_host_leaves_volumes_whole),
            ("what_cannot_be_a_volume_is_refused_in_one_sentence", what_cannot_be_a_volume_is_refused_in_one_sentence),
        ],
    );
    suite
        .add(&[Need::Peer("docker")], [("the_stock_docker_s_volume_verbs_work", the_stock_docker_s_volume_verbs_work)]);
}

fn post(node: &Node, target: &str, body: &Value) -> Result<Answer> {
    node.post(target, "application/json", body.to_string().as_bytes())
}

fn delete(node: &Node, target: &str) -> Result<Answer> {
    api::request(node.socket(), "DELETE", target, "application/json", b"")
}

fn names(node: &Node, filters: &Value) -> Result<Vec<String>> {
    let encoded: String = filters.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
    let listed = node.get(&format!("/volumes?filters={encoded}"))?.success()?.json()?;
    let volumes = listed["Volumes"].as_array().context("a list of volumes")?;
    Ok(volumes.iter().filter_map(|volume| volume["Name"].as_str().map(str::to_owned)).collect())
}

fn gone(node: &Node, name: &str) -> Result<()> {
    ensure!(node.get(&format!("/volumes/{name}"))?.status == 404, "volume {name} is still there");
    ensure!(!node.root().join("volumes").join(name).exists(), "its files are still there");
    Ok(())
}

/// A created container's id; `body` is the host's configuration and more.
fn created(under: &Under, image: &str, command: &[&str], more: &Value) -> Result<Answer> {
    let mut body = json!({ "Image": image, "Cmd": command, "HostConfig": { "Isolation": under.isolation.name() } });
    for (key, value) in more.as_object().context("an object")? {
        match (body.get_mut(key).and_then(Value::as_object_mut), value.as_object()) {
            (Some(into), Some(from)) => into.extend(from.clone()),
            _ => body[key] = value.clone(),
        }
    }
    post(under.node, "/containers/create", &body)
}

fn ran(under: &Under, image: &str, command: &[&str], more: &Value) -> Result<Output> {
    let answer = created(under, image, command, more)?.success()?.json()?;
    let id = answer["Id"].as_str().context("an id")?.to_owned();
    let output = under.node.proa(&["start", "-a", &id]);
    under.node.proa(&["rm", "-fv", &id])?.success()?;
    output
}

fn what_lies_in_a_volume_is_there_for_the_next_container(under: &Under) -> Result<()> {
    let name = fresh_name("lasting");
    let volume = format!("{name}:/data");
    under.node.run(under.isolation, &["-v", &volume], &["write", "/data/file", "kept"])?.success()?;
    let read = under.node.run(under.isolation, &["-v", &volume], &["read", "/data/file"])?.success()?;
    ensure!(read.text() == "kept", "{read}");
    let file = under.node.root().join("volumes").join(&name).join("_data/file");
    ensure!(fs::read_to_string(file)? == "kept", "it lies where inspect says");
    delete(under.node, &format!("/volumes/{name}"))?.success()?;
    gone(under.node, &name)
}

fn a_read_only_volume_is_not_written(under: &Under) -> Result<()> {
    let name = fresh_name("fixed");
    under.node.run(under.isolation, &["-v", &format!("{name}:/data")], &["write", "/data/file", "kept"])?.success()?;
    let fixed = format!("{name}:/data:ro");
    under.node.run(under.isolation, &["-v", &fixed], &["write", "/data/file", "changed"])?.exits(1)?;
    let read = under.node.run(under.isolation, &["-v", &fixed], &["read", "/data/file"])?.success()?;
    ensure!(read.text() == "kept", "{read}");
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

fn an_anonymous_volume_goes_with_its_container(under: &Under) -> Result<()> {
    let image = under.node.probe()?;
    let volumes = json!({ "Volumes": { "/data": {} } });
    let id = |answer: Answer| -> Result<String> {
        Ok(answer.success()?.json()?["Id"].as_str().context("an id")?.to_owned())
    };
    let mount = |id: &str| -> Result<String> {
        let inspect = under.node.get(&format!("/containers/{id}/json"))?.success()?.json()?;
        let name = inspect["Mounts"][0]["Name"].as_str().with_context(|| inspect["Mounts"].to_string())?;
        ensure!(name.len() == 64, "{name}");
        Ok(name.to_owned())
    };
    // With `rm -v`, not without.
    let first = id(created(under, image, &["out", "x"], &volumes)?)?;
    let kept = mount(&first)?;
    under.node.proa(&["rm", &first])?.success()?;
    ensure!(names(under.node, &json!({"dangling":["true"]}))?.contains(&kept));
    let second = id(created(under, image, &["out", "x"], &volumes)?)?;
    let goes = mount(&second)?;
    delete(under.node, &format!("/containers/{second}?v=1"))?.success()?;
    gone(under.node, &goes)?;
    // With --rm, as soon as it has ended.
    let third = created(
        under,
        image,
        &["out", "x"],
        &json!({ "Volumes": { "/data": {} }, "HostConfig": { "AutoRemove": true } }),
    );
    let third = id(third?)?;
    let goes = mount(&third)?;
    under.node.proa(&["start", "-a", &third])?.success()?;
    proa_tests::wait::until("the volume goes with its container", || Ok(gone(under.node, &goes).is_ok()))?;
    delete(under.node, &format!("/volumes/{kept}"))?.success().map(drop)
}

fn a_volume_in_use_is_not_removed(under: &Under) -> Result<()> {
    let name = fresh_name("used");
    let container = under.node.detached(under.isolation, &["-v", &format!("{name}:/data")], &["tick", "0.1"])?;
    let refused = delete(under.node, &format!("/volumes/{name}?force=1"))?;
    let sentence = format!("remove {name}: volume is in use - [{}]", container.id());
    ensure!(
        (refused.status, refused.json()?["message"].as_str()) == (409, Some(sentence.as_str())),
        "{}",
        refused.text()
    );
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    ensure!(delete(under.node, &format!("/volumes/{name}"))?.status == 409, "it would be missed at the next start");
    container.proa(&["rm", "-fv"])?.success()?;
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

fn volumes_of_another_container_are_shared(under: &Under) -> Result<()> {
    let (name, first) = (fresh_name("shared"), fresh_name("first"));
    let data = under.node.scratch().join(&name);
    fs::create_dir_all(&data)?;
    fs::write(data.join("given"), "bound")?;
    fs::set_permissions(under.node.scratch(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let (volume, bind) = (format!("{name}:/data"), format!("{}:/bound", guest::path(&data)?));
    let flags = ["run", "--name", &first, "--isolation", under.isolation.name(), "-v", &volume, "-v", &bind];
    under.node.proa(&[&flags[..], &[under.node.probe()?, "write", "/data/file", "first's"]].concat())?.success()?;
    let image = under.node.probe()?;
    let from = |mode: &str| json!({ "HostConfig": { "VolumesFrom": [format!("{first}{mode}")] } });
    let read = ran(under, image, &["read", "/data/file"], &from(""))?.success()?;
    ensure!(read.text() == "first's", "{read}");
    let read = ran(under, image, &["read", "/bound/given"], &from(":ro"))?.success()?;
    ensure!(read.text() == "bound", "{read}");
    ran(under, image, &["write", "/data/file", "x"], &from(":ro"))?.exits(1)?;
    let missing = created(under, image, &["out"], &json!({ "HostConfig": { "VolumesFrom": ["nobody-here"] } }))?;
    ensure!(missing.status == 404, "{}", missing.text());
    under.node.proa(&["rm", &first])?.success()?;
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

fn inspect_tells_of_volumes(under: &Under) -> Result<()> {
    let name = fresh_name("told");
    let container = under.node.detached(under.isolation, &["-v", &format!("{name}:/data:ro")], &["tick", "0.1"])?;
    let mounts = container.inspect()?["Mounts"].clone();
    let source = under.node.root().join("volumes").join(&name).join("_data");
    let expected = json!([{ "Type": "volume", "Name": name, "Source": source, "Destination": "/data", "Driver": "local",
        "Mode": "ro", "RW": false, "Propagation": "" }]);
    ensure!(mounts == expected, "{mounts}");
    container.proa(&["rm", "-f"])?.success()?;
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

fn an_empty_volume_gets_what_the_image_has_there(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let name = fresh_name("filled");
    let run = |volume: &str, script: &str| -> Result<String> {
        let line = ["run", "--rm", "--isolation", under.isolation.name(), "-v", volume, &busybox, "sh", "-c", script];
        Ok(under.node.proa(&line)?.success()?.text())
    };
    let look = "cd /etc; cat passwd; stat -c '%u:%g %a' . passwd";
    let plain = under.node.proa(&["run", "--rm", "--isolation", under.isolation.name(), &busybox, "sh", "-c", look])?;
    let image = plain.success()?.text();
    ensure!(run(&format!("{name}-etc:/etc"), look)? == image);
    ensure!(run(&format!("{name}-etc:/bin"), "true").is_err(), "only an empty one is filled");
    ensure!(run(&format!("{name}-etc:/x"), "cat /x/passwd")?.contains("root"), "its files came along");
    ensure!(run(&format!("{name}-none:/etc:nocopy"), "ls /etc/passwd 2>&1; true")?.contains("No such file"));
    for suffix in ["-etc", "-none"] {
        delete(under.node, &format!("/volumes/{name}{suffix}"))?.success()?;
    }
    Ok(())
}

fn containers_made_at_once_share_one_filled_volume(under: &Under) -> Result<()> {
    let (busybox, name) = (guest::busybox(under.node)?, fresh_name("together"));
    let outputs = std::thread::scope(|scope| -> Result<Vec<Output>> {
        let makers: Vec<_> = (0..4)
            .map(|_| {
                let volume = format!("{name}:/etc");
                let line = [
                    "run",
                    "--rm",
                    "--isolation",
                    under.isolation.name(),
                    "-v",
                    &volume,
                    &busybox,
                    "cat",
                    "/etc/passwd",
                ];
                let line = line.map(str::to_owned);
                scope.spawn(move || under.node.proa(&line.each_ref().map(String::as_str)))
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?).collect()
    })?;
    for output in outputs {
        ensure!(output.clone().success()?.text().contains("root"), "{output}");
    }
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

/// A link in a volume is the guest's: it must not become the node's when it is mounted.
fn a_subpath_is_found_in_the_volume_and_nowhere_else(under: &Under) -> Result<()> {
    let (busybox, name) = (guest::busybox(under.node)?, fresh_name("partly"));
    post(under.node, "/volumes/create", &json!({ "Name": name }))?.success()?;
    let data = under.node.root().join("volumes").join(&name).join("_data");
    fs::create_dir_all(data.join("inner/deep"))?;
    fs::write(data.join("inner/file"), "of the part")?;
    let canary = under.node.scratch().join(format!("{name}-canary"));
    fs::create_dir_all(&canary)?;
    fs::write(canary.join("file"), "the node's")?;
    symlink(&canary, data.join("out"))?;
    symlink("../../../../../../../../..", data.join("up"))?;
    let mount = |subpath: &str| {
        let mount =
            json!({ "Type": "volume", "Source": name, "Target": "/part", "VolumeOptions": { "Subpath": subpath } });
        json!({ "HostConfig": { "Mounts": [mount] } })
    };
    let read = ran(under, &busybox, &["cat", "/part/file"], &mount("inner"))?.success()?;
    ensure!(read.text() == "of the part", "{read}");
    for subpath in ["out", "missing"] {
        let refused = ran(under, &busybox, &["cat", "/part/file"], &mount(subpath))?;
        ensure!(refused.code() != Some(0) && !refused.text().contains("node"), "{subpath}: {refused}");
    }
    let up = ran(under, &busybox, &["ls", "/part"], &mount("up"))?;
    ensure!(up.code() != Some(0) || up.text().contains("inner"), "the volume's own root is as far as it goes: {up}");
    for subpath in ["../x", "/etc", "a/../../b"] {
        let refused = created(under, &busybox, &["ls"], &mount(subpath))?;
        ensure!(refused.status == 400 && refused.text().contains("subpath"), "{}", refused.text());
    }
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

fn a_volume_s_events_are_docker_s(under: &Under) -> Result<()> {
    let (busybox, name) = (guest::busybox(under.node)?, fresh_name("eventful"));
    let line = ["run", "--rm", "--isolation", under.isolation.name(), "-v", &format!("{name}:/data"), &busybox, "true"];
    under.node.proa(&line)?.success()?;
    let heard = || -> Result<Vec<String>> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
        let target = format!("/events?since=0&until={now}&filters=%7B%22volume%22%3A%5B%22{name}%22%5D%7D");
        let text = under.node.get(&target)?.success()?.text();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events.filter_map(|event| event["Action"].as_str().map(str::to_owned)).collect())
    };
    proa_tests::wait::until("it is unmounted", || Ok(heard()?.iter().any(|action| action == "unmount")))?;
    delete(under.node, &format!("/volumes/{name}"))?.success()?;
    let heard = heard()?;
    ensure!(heard == ["create", "mount", "unmount", "destroy"], "{heard:?}");
    Ok(())
}

fn the_owner_of_an_empty_volume_is_the_guest_s_root(under: &Under) -> Result<()> {
    let (busybox, name) = (guest::busybox(under.node)?, fresh_name("owned"));
    let script = "stat -c %u:%g /data; touch /data/file && chown 33:44 /data/file && stat -c %u:%g /data/file";
    let line = [
        "run",
        "--rm",
        "--isolation",
        under.isolation.name(),
        "-v",
        &format!("{name}:/data"),
        &busybox,
        "sh",
        "-c",
        script,
    ];
    ensure!(under.node.proa(&line)?.success()?.text() == "0:0\n33:44");
    let file = under.node.root().join("volumes").join(&name).join("_data/file");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(file)?);
    let expected = if under.isolation == Isolation::LinuxUserns { 100_033 } else { 33 };
    ensure!(owner == expected, "it belongs to {owner} on the node");
    delete(under.node, &format!("/volumes/{name}"))?.success().map(drop)
}

fn a_wasm_guest_writes_to_an_anonymous_volume(under: &Under) -> Result<()> {
    let more = json!({ "Volumes": { "/data": {} } });
    ran(under, under.node.probe()?, &["write", "/data/file", "x"], &more)?.success().map(drop)
}

fn volumes_are_made_listed_and_removed() -> Result<()> {
    let node = Node::start()?;
    let made = post(&node, "/volumes/create", &json!({ "Name": "data", "Labels": { "tier": "web" } }))?;
    ensure!(made.status == 201, "{}", made.text());
    let volume = made.json()?;
    let place = node.root().join("volumes/data/_data");
    ensure!(
        volume["Mountpoint"] == json!(place) && volume["Driver"] == "local" && volume["Scope"] == "local",
        "{volume}"
    );
    ensure!(volume["Labels"]["tier"] == "web" && volume["Options"] == Value::Null, "{volume}");
    ensure!(
        post(&node, "/volumes/create", &json!({ "Name": "data" }))?.json()?["Labels"]["tier"] == "web",
        "it is the same"
    );
    let nameless =
        post(&node, "/volumes/create", &json!({}))?.success()?.json()?["Name"].as_str().unwrap_or_default().to_owned();
    ensure!(nameless.len() == 64, "{nameless}");
    ensure!(
        names(&node, &json!({"label":["tier=web"]}))? == ["data"]
            && names(&node, &json!({"name":["dat"]}))? == ["data"]
    );
    ensure!(names(&node, &json!({"dangling":["true"],"driver":["local"]}))?.len() == 2);
    ensure!(names(&node, &json!({"dangling":["false"]}))?.is_empty());
    for (target, status) in [("/volumes/data", 204), ("/volumes/data", 404), ("/volumes/data?force=1", 204)] {
        let answer = delete(&node, target)?;
        ensure!(answer.status == status, "{target}: {}: {}", answer.status, answer.text());
    }
    let missing = node.get("/volumes/data")?;
    ensure!(missing.status == 404 && missing.json()?["message"] == "get data: no such volume", "{}", missing.text());
    node.close()
}

fn volumes_are_pruned_as_docker_prunes() -> Result<()> {
    let node = Node::start()?;
    for (name, label) in [("one", "keep"), ("two", "go")] {
        post(&node, "/volumes/create", &json!({ "Name": name, "Labels": { label: "" } }))?.success()?;
        fs::write(node.root().join("volumes").join(name).join("_data/file"), "12345")?;
    }
    let anonymous = post(&node, "/volumes/create", &json!({}))?.success()?.json()?["Name"].clone();
    let prune = |target: &str| -> Result<Value> { post(&node, target, &json!({}))?.success()?.json() };
    ensure!(prune("/v1.44/volumes/prune")?["VolumesDeleted"] == json!([anonymous]), "of late only what nobody named");
    let labelled =
        prune("/v1.44/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%2C%22label!%22%3A%5B%22keep%22%5D%7D")?;
    ensure!(labelled == json!({ "VolumesDeleted": ["two"], "SpaceReclaimed": 5 }), "{labelled}");
    ensure!(prune("/v1.41/volumes/prune")?["VolumesDeleted"] == json!(["one"]), "before, everything unused");
    ensure!(fs::read_dir(node.root().join("volumes"))?.count() == 0);
    node.close()
}

fn a_killed_host_leaves_volumes_whole() -> Result<()> {
    let node = Node::start()?;
    let busybox = node.probe()?.to_owned();
    post(&node, "/volumes/create", &json!({ "Name": "old" }))?.success()?;
    fs::write(node.root().join("volumes/old/_data/file"), "kept")?;
    for round in 0..8_u64 {
        let (socket, image) = (node.socket().to_owned(), busybox.clone());
        let busy = std::thread::spawn(move || {
            for number in 0.. {
                let name = format!("made-{round}-{number}");
                let body =
                    json!({ "Image": image, "Cmd": ["out"], "HostConfig": { "Binds": [format!("{name}:/data")] } });
                let asked = [
                    ("POST", "/volumes/create".to_owned(), json!({ "Name": name })),
                    ("POST", format!("/containers/create?name=holds-{round}-{number}"), body),
                    ("DELETE", format!("/volumes/gone-{}", name), json!({})),
                    ("DELETE", format!("/containers/holds-{round}-{number}?v=1"), json!({})),
                    ("DELETE", format!("/volumes/{name}"), json!({})),
                ];
                for (method, target, body) in asked {
                    if api::request(&socket, method, &target, "application/json", body.to_string().as_bytes()).is_err()
                    {
                        return;
                    }
                }
            }
        });
        // Not a wait for anything: a moment that differs from round to round.
        std::thread::sleep(std::time::Duration::from_millis(7 + round * 13));
        node.restart()?;
        busy.join().map_err(|_| anyhow::anyhow!("the busy thread panicked"))?;
        for entry in fs::read_dir(node.root().join("volumes"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ensure!(
                !name.starts_with('.') && path.join("_data").is_dir() && path.join("volume.json").is_file(),
                "half a volume: {name}"
            );
        }
        let listed = names(&node, &json!({}))?;
        ensure!(listed.len() == fs::read_dir(node.root().join("volumes"))?.count(), "{listed:?}");
        ensure!(fs::read_to_string(node.root().join("volumes/old/_data/file"))? == "kept");
    }
    node.close()
}

fn what_cannot_be_a_volume_is_refused_in_one_sentence() -> Result<()> {
    let node = Node::shared()?;
    let image = node.probe()?;
    let volume = |body: Value| post(node, "/volumes/create", &body);
    let bind =
        |text: &str| post(node, "/containers/create", &json!({ "Image": image, "HostConfig": { "Binds": [text] } }));
    let cases = [
        (volume(json!({ "Name": "../up" }))?, 400, "invalid characters"),
        (volume(json!({ "Name": "x" }))?, 400, "too short"),
        (volume(json!({ "Name": "x".repeat(300) }))?, 400, "longer than"),
        (volume(json!({ "Name": "okay", "Driver": "rexray" }))?, 404, "rexray"),
        (
            volume(json!({ "Name": "okay", "DriverOpts": { "type": "nfs", "o": "addr=x", "device": ":/x" } }))?,
            400,
            "only be",
        ),
        (volume(json!({ "Name": "okay", "DriverOpts": { "size": "1" } }))?, 400, "size"),
        (bind("./relative:/x")?, 400, "invalid characters"),
        (bind("name:/x:what")?, 400, "invalid mode"),
        (bind("/not/there/at/all:/x")?, 400, "bind source path does not exist: /not/there/at/all"),
        (
            post(
                node,
                "/containers/create",
                &json!({ "Image": image, "HostConfig": { "Binds": ["aa:/x", "bb:/x"] } }),
            )?,
            400,
            "Duplicate mount point",
        ),
    ];
    for (answer, status, words) in cases {
        let message = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        ensure!(
            answer.status == status && message.contains(words) && !message.contains('\n'),
            "{words}: {}: {message}",
            answer.status
        );
    }
    ensure!(node.get("/volumes/okay")?.status == 404 && node.get("/volumes/aa")?.status == 404, "nothing was made");
    Ok(())
}

fn the_stock_docker_s_volume_verbs_work() -> Result<()> {
    let node = Node::start()?;
    let say = |args: &[&str]| -> Result<String> { Ok(docker::docker(&node, args)?.success()?.text()) };
    ensure!(say(&["volume", "create", "--label", "a=b", "data"])? == "data");
    ensure!(say(&["volume", "ls", "-q", "--filter", "label=a"])? == "data");
    ensure!(
        say(&["volume", "inspect", "-f", "{{.Mountpoint}} {{.Driver}}", "data"])?
            .ends_with("/volumes/data/_data local")
    );
    let image = node.probe()?.to_owned();
    say(&["run", "--rm", "--mount", "type=volume,src=data,dst=/data", &image, "write", "/data/file", "x"])?;
    ensure!(say(&["run", "--rm", "-v", "data:/data:ro", &image, "read", "/data/file"])? == "x");
    say(&["create", "--name", "holds", "-v", "data:/data", "-v", "/anonymous", &image])?;
    let used = docker::docker(&node, &["volume", "rm", "data"])?;
    ensure!(used.code() == Some(1) && used.complaint().contains("volume is in use"), "{used}");
    say(&["rm", "-v", "holds"])?;
    ensure!(say(&["volume", "ls", "-q"])? == "data");
    ensure!(say(&["volume", "prune", "-a", "-f"])?.contains("data"));
    node.close()
}
