//! Files copied in and out: of running, paused and resting containers, by Docker's rules for paths, and never beyond the
//! container, whatever its guest does meanwhile.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use proa_tests::api::{self, Answer};
use proa_tests::image::{Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::tarball::{Header, Kind, Tarball, gzip};
use proa_tests::{Container, Isolation, Need, Suite, Under, cases, guest};
use serde_json::{Value, json};

use super::{NATIVE, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        NATIVE,
        &[Need::Peer("busybox")],
        cases![
            files_go_into_and_come_out_of_a_running_container,
            a_container_that_does_not_run_is_copied_from_and_into,
            a_paused_container_is_copied_from_and_into,
            owners_and_modes_are_those_inside,
            the_end_of_a_path_says_whether_a_link_is_followed,
            a_guest_that_swaps_links_leads_no_copy_out,
            fifos_and_devices_are_never_opened,
            what_may_not_be_copied_in_is_refused_in_one_sentence,
            mounts_are_part_of_what_is_copied,
            a_whole_root_is_copied_without_what_the_kernel_mounts_in_it,
        ],
    );
    suite.under(NATIVE, &[Need::Peer("busybox"), Need::Peer("docker")], cases![the_stock_docker_copies_both_ways]);
    suite.add(
        &[Need::Isolation(Isolation::Linux), Need::Peer("busybox")],
        [("a_host_killed_during_a_copy_leaves_nothing", a_host_killed_during_a_copy_leaves_nothing)],
    );
    suite.under(WASM, &[], cases![a_wasm_container_is_copied_from_and_into_where_it_has_directories]);
}

fn archive(under: &Under, method: &str, id: &str, path: &str, more: &str, body: &[u8]) -> Result<Answer> {
    let target = format!("/containers/{id}/archive?path={path}{more}");
    api::request(under.node.socket(), method, &target, "application/x-tar", body)
}

fn put(under: &Under, id: &str, path: &str, tar: Tarball) -> Result<Answer> {
    archive(under, "PUT", id, path, "", &tar.finish())
}

/// A name, its owner and its content.
type Member = (String, (u64, u64), String);

/// What is in a tar, by name.
fn members(bytes: &[u8]) -> Result<Vec<Member>> {
    let mut found = Vec::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let owner = (entry.header().uid()?, entry.header().gid()?);
        let mut content = String::new();
        entry.read_to_string(&mut content)?;
        found.push((name, owner, content));
    }
    found.sort();
    Ok(found)
}

fn stat(under: &Under, id: &str, path: &str) -> Result<Value> {
    let answer = archive(under, "HEAD", id, path, "", b"")?.success()?;
    let header = answer.headers.get("X-Docker-Container-Path-Stat");
    Ok(serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(header)?)?)
}

fn shell<'a>(under: &'a Under, flags: &[&str], script: &str) -> Result<Container<'a>> {
    let busybox = guest::busybox(under.node)?;
    let flags = [&["--isolation", under.isolation.name()], flags].concat();
    under.node.detached_image(&flags, &busybox, &["sh", "-c", script])
}

fn inside(under: &Under, container: &Container<'_>, script: &str) -> Result<String> {
    Ok(under.node.proa(&["exec", container.id(), "sh", "-c", script])?.success()?.text())
}

/// A container that was created and not started; removed by the caller.
fn resting(under: &Under, script: &str) -> Result<String> {
    let name = fresh_name("resting");
    let busybox = guest::busybox(under.node)?;
    let line = ["create", "--name", &name, "--isolation", under.isolation.name(), &busybox, "sh", "-c", script];
    under.node.proa(&line)?.success()?;
    Ok(name)
}

fn files_go_into_and_come_out_of_a_running_container(under: &Under) -> Result<()> {
    let container = shell(under, &[], "mkdir /work && echo old > /work/file && echo ready && sleep 1000")?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    let tar = Tarball::new().file("file", 0o640, b"new\n").folder("folder").file("folder/deep/made", 0o644, b"x");
    put(under, container.id(), "/work", tar)?.success()?;
    ensure!(
        inside(under, &container, "cat /work/file; stat -c %a /work/file; ls /work/folder/deep")? == "new\n640\nmade"
    );
    let zipped = gzip(&Tarball::new().file("zipped", 0o600, b"by gzip").finish());
    archive(under, "PUT", container.id(), "/work", "", &zipped)?.success()?;
    let out = archive(under, "GET", container.id(), "/work", "", b"")?.success()?;
    let names: Vec<String> = members(&out.body)?.into_iter().map(|(name, ..)| name).collect();
    ensure!(
        names == ["work/", "work/file", "work/folder/", "work/folder/deep/", "work/folder/deep/made", "work/zipped"],
        "{names:?}"
    );
    let one = archive(under, "GET", container.id(), "work/folder/../file", "", b"")?.success()?;
    ensure!(members(&one.body)? == [("file".to_owned(), (0, 0), "new\n".to_owned())]);
    for (method, path) in [("GET", "/nowhere"), ("HEAD", "/work/file/x/y"), ("PUT", "/nowhere")] {
        let answer = archive(under, method, container.id(), path, "", b"")?;
        ensure!(matches!(answer.status, 400 | 404), "{method} {path}: {}: {}", answer.status, answer.text());
    }
    let answer = archive(under, "GET", container.id(), "/nowhere", "", b"")?;
    let sentence = format!("Could not find the file /nowhere in container {}", container.id());
    ensure!((answer.status, answer.json()?["message"].as_str()) == (404, Some(sentence.as_str())), "{}", answer.text());
    Ok(())
}

fn a_container_that_does_not_run_is_copied_from_and_into(under: &Under) -> Result<()> {
    let name = resting(under, "cat /etc/given; echo made > /tmp-file")?;
    let copied = (|| -> Result<()> {
        put(under, &name, "/etc", Tarball::new().file("given", 0o644, b"from outside\n"))?.success()?;
        let started = under.node.proa(&["start", "-a", &name])?.success()?;
        ensure!(started.stdout == b"from outside\n", "{started}");
        let out = archive(under, "GET", &name, "/tmp-file", "", b"")?.success()?;
        ensure!(members(&out.body)? == [("tmp-file".to_owned(), (0, 0), "made\n".to_owned())]);
        ensure!(under.node.proa(&["start", "-a", &name])?.success()?.stdout == b"from outside\n", "it starts again");
        let strays = fs::read_dir("/proc")?.flatten().filter(|entry| {
            fs::read(entry.path().join("cgroup")).is_ok_and(|text| String::from_utf8_lossy(&text).contains("/files-"))
        });
        ensure!(strays.count() == 0, "a sandbox made for a look is still there");
        Ok(())
    })();
    under.node.proa(&["rm", "-f", &name])?.success()?;
    copied
}

fn a_paused_container_is_copied_from_and_into(under: &Under) -> Result<()> {
    let container = shell(under, &[], "echo held > /held; echo ready; sleep 1000")?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    under.node.post(&format!("/containers/{}/pause", container.id()), "application/json", b"")?.success()?;
    let out = archive(under, "GET", container.id(), "/held", "", b"")?.success()?;
    ensure!(members(&out.body)?[0].2 == "held\n");
    put(under, container.id(), "/", Tarball::new().file("given", 0o644, b"while it was held"))?.success()?;
    under.node.post(&format!("/containers/{}/unpause", container.id()), "application/json", b"")?.success()?;
    ensure!(inside(under, &container, "cat /given")? == "while it was held");
    Ok(())
}

fn owners_and_modes_are_those_inside(under: &Under) -> Result<()> {
    let container = shell(under, &["-u", "1000:2000"], "sleep 1000")?;
    let member = |name: &'static str, owner| Header {
        name: name.as_bytes(),
        mode: 0o4711,
        flag: b'0',
        link: b"",
        size: 1,
        device: (0, 0),
        owner,
    };
    let tar = || Tarball::new().header(&member("file", 33), b"x");
    put(under, container.id(), "/home", tar())?.success()?;
    ensure!(inside(under, &container, "stat -c '%u %a' /home/file")? == "33 4711");
    let out = archive(under, "GET", container.id(), "/home/file", "", b"")?.success()?;
    ensure!(members(&out.body)?[0].1.0 == 33, "the owner inside is told");
    archive(under, "PUT", container.id(), "/home", "&copyUIDGID=true", &tar().finish())?.success()?;
    ensure!(inside(under, &container, "stat -c '%u:%g' /home/file")? == "1000:2000");
    let nobody = put(under, container.id(), "/home", Tarball::new().header(&member("beyond", 1 << 20), b"x"))?;
    let there_is = under.isolation == Isolation::Linux;
    ensure!((nobody.status == 200) == there_is, "{}: {}", nobody.status, nobody.text());
    Ok(())
}

fn the_end_of_a_path_says_whether_a_link_is_followed(under: &Under) -> Result<()> {
    let script = "mkdir -p /real/sub && echo x > /real/file && ln -s /real /link && ln -s ../../../real/file /up && ln -s /no /off; echo ready; sleep 1000";
    let container = shell(under, &[], script)?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    let id = container.id();
    let link = stat(under, id, "/link")?;
    ensure!(link["linkTarget"] == "/real" && link["mode"] == json!(134_218_239), "{link}");
    ensure!(stat(under, id, "/up")?["linkTarget"] == "/real/file" && stat(under, id, "/off")?["linkTarget"] == "/no");
    let folder = stat(under, id, "/link/")?;
    ensure!(
        folder["linkTarget"] == "" && folder["name"] == "link" && folder["mode"].as_u64() > Some(1 << 31),
        "{folder}"
    );
    for (path, first) in [("/link", "link"), ("/link/", "link/"), ("/link/.", "./"), ("/real/sub/..", "real/")] {
        let out = archive(under, "GET", id, path, "", b"")?.success()?;
        let names: Vec<String> = members(&out.body)?.into_iter().map(|(name, ..)| name).collect();
        ensure!(names.first().map(String::as_str) == Some(first), "{path}: {names:?}");
        ensure!((names.len() > 1) == (path != "/link"), "{path}: {names:?}");
    }
    // Into a link to a folder, as `docker cp` does once it has asked where it leads.
    put(under, id, "/link/sub", Tarball::new().file("through", 0o644, b"x"))?.success()?;
    ensure!(inside(under, &container, "ls /real/sub")? == "through");
    ensure!(archive(under, "PUT", id, "/real/file", "", b"")?.text().contains("not a directory"));
    Ok(())
}

/// CVE-2018-15664 and CVE-2026-42306: between the look at a path and its use, the guest makes it a link.
fn a_guest_that_swaps_links_leads_no_copy_out(under: &Under) -> Result<()> {
    let canary = under.node.scratch().join(format!("swap-{}", under.isolation));
    fs::create_dir_all(&canary)?;
    fs::write(canary.join("secret"), "the node's")?;
    let outside = guest::path(&canary)?;
    // The same path inside holds what a copy may see and change.
    let script = format!(
        "mkdir -p {outside} /d && echo inside > {outside}/secret && echo inside > /d/secret && cd / && echo ready; \
         while true; do mv d e; ln -s {outside} d; ln -sfn /proc/self/root{outside} l; rm d; mv e d; ln -sfn /proc/1/cwd l; done"
    );
    let container = shell(under, &[], &script)?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    let before = fingerprint(&canary)?;
    let over = AtomicBool::new(false);
    let leaked = thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<bool> {
            let mut leaked = false;
            while !over.load(Ordering::Relaxed) {
                for path in ["/d/secret", "/d/", "/l/", "/d"] {
                    let out = archive(under, "GET", container.id(), path, "", b"")?;
                    leaked |= out.body.windows(10).any(|window| window == b"the node's");
                }
            }
            Ok(leaked)
        });
        let written = (|| -> Result<()> {
            for round in 0..150 {
                let tar = Tarball::new().file("secret", 0o644, b"changed").file(
                    &format!("sub/made-{}", round % 3),
                    0o644,
                    b"x",
                );
                let path = ["/d", "/d/", "/l", "/"][round % 4];
                // The guest may be in the way; what counts is where it went.
                put(under, container.id(), path, tar)?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        let leaked = reader.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))??;
        written.map(|()| leaked)
    })?;
    ensure!(!leaked, "a copy out read the node's file");
    ensure!(fingerprint(&canary)? == before, "a copy in changed the node's files");
    Ok(())
}

fn fingerprint(folder: &Path) -> Result<Vec<(String, u64, i64, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        let content = fs::read_to_string(entry.path()).unwrap_or_default();
        all.push((entry.file_name().to_string_lossy().into_owned(), found.ino(), found.mtime(), content));
    }
    all.sort();
    Ok(all)
}

/// CVE-2023-25153's class: what is no file is told of, not read.
fn fifos_and_devices_are_never_opened(under: &Under) -> Result<()> {
    let container =
        shell(under, &[], "mkdir /odd && mkfifo /odd/fifo && ln -s /dev/zero /odd/zero; echo ready; sleep 1000")?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    for path in ["/odd", "/odd/fifo", "/dev", "/proc/1/attr"] {
        archive(under, "GET", container.id(), path, "", b"")?.success().with_context(|| path.to_owned())?;
    }
    let devices = archive(under, "GET", container.id(), "/dev", "", b"")?.success()?;
    let names: Vec<String> = members(&devices.body)?.into_iter().map(|(name, ..)| name).collect();
    ensure!(names.contains(&"dev/null".to_owned()), "{names:?}");
    Ok(())
}

fn what_may_not_be_copied_in_is_refused_in_one_sentence(under: &Under) -> Result<()> {
    let container = shell(under, &["--read-only", "--tmpfs", "/run"], "sleep 1000")?;
    let refused = |path: &str, more: &str, tar: Tarball, status: u16, words: &str| -> Result<()> {
        let answer = archive(under, "PUT", container.id(), path, more, &tar.finish())?;
        let message = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        ensure!(
            answer.status == status && message.contains(words) && !message.contains('\n'),
            "{}: {message}",
            answer.status
        );
        Ok(())
    };
    let file = || Tarball::new().file("file", 0o644, b"x");
    refused("/", "", file(), 403, "container rootfs is marked read-only")?;
    put(under, container.id(), "/run", file().folder("folder"))?.success()?;
    let keep = "&noOverwriteDirNonDir=true";
    refused("/run", keep, Tarball::new().folder("file"), 400, "cannot overwrite non-directory")?;
    refused("/run", keep, Tarball::new().file("folder", 0o644, b""), 400, "cannot overwrite directory")?;
    refused("/run", "", Tarball::new().entry("null", 0o666, &Kind::Device(1, 3)), 400, "is a device")?;
    refused("/run", "", Tarball::new().file("../up", 0o644, b""), 400, "..")?;
    refused("/run", "", Tarball::new().entry("hard", 0o644, &Kind::Hardlink("../../etc/passwd")), 400, "hard link")?;
    let noise = archive(under, "PUT", container.id(), "/run", "", b"this is no archive at all, only words")?;
    ensure!(noise.status == 400, "{}: {}", noise.status, noise.text());
    let xz = archive(under, "PUT", container.id(), "/run", "", b"\xfd7zXZ\0...........")?;
    ensure!(xz.status == 400 && xz.text().contains("xz"), "{}", xz.text());
    Ok(())
}

fn mounts_are_part_of_what_is_copied(under: &Under) -> Result<()> {
    let data = under.node.scratch().join(format!("copied-{}", under.isolation));
    fs::create_dir_all(&data)?;
    fs::write(data.join("given"), "mounted")?;
    let (writable, read_only) = (format!("{}:/rw", guest::path(&data)?), format!("{}:/ro:ro", guest::path(&data)?));
    let container = shell(under, &["-v", &writable, "-v", &read_only], "sleep 1000")?;
    let out = archive(under, "GET", container.id(), "/rw/given", "", b"")?.success()?;
    ensure!(members(&out.body)?[0].2 == "mounted");
    put(under, container.id(), "/rw", Tarball::new().file("made", 0o644, b"through the mount"))?.success()?;
    ensure!(fs::read_to_string(data.join("made"))? == "through the mount");
    let refused = put(under, container.id(), "/ro", Tarball::new().file("no", 0o644, b""))?;
    ensure!(refused.status == 403 && refused.text().contains("marked read-only"), "{}", refused.text());
    Ok(())
}

fn the_stock_docker_copies_both_ways(under: &Under) -> Result<()> {
    let container = shell(
        under,
        &[],
        "mkdir -p /srv/www && echo page > /srv/www/index; ln -s /srv/www /www; echo ready; sleep 1000",
    )?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    let place = under.node.scratch().join(format!("docker-cp-{}", under.isolation));
    fs::create_dir_all(&place)?;
    let at = |name: &str| place.join(name).to_string_lossy().into_owned();
    let docker = |args: &[&str]| -> Result<()> { proa_tests::docker::docker(under.node, args)?.success().map(drop) };
    let id = container.id();
    docker(&["cp", &format!("{id}:/srv/www"), &at("out")])?;
    ensure!(fs::read_to_string(place.join("out/index"))? == "page\n");
    docker(&["cp", &format!("{id}:/srv/www/."), &at("contents")])?;
    ensure!(fs::read_to_string(place.join("contents/index"))? == "page\n");
    docker(&["cp", "-L", &format!("{id}:/www"), &at("followed")])?;
    ensure!(place.join("followed/index").is_file());
    docker(&["cp", &format!("{id}:/www"), &at("link")])?;
    ensure!(place.join("link").is_symlink());
    docker(&["cp", &at("out"), &format!("{id}:/srv/new")])?;
    docker(&["cp", &at("out/index"), &format!("{id}:/www/second")])?;
    docker(&["cp", &at("out/index"), &format!("{id}:/www/")])?;
    ensure!(
        inside(under, &container, "cat /srv/new/index /srv/www/second; ls /srv/www")? == "page\npage\nindex\nsecond"
    );
    let missing = proa_tests::docker::docker(under.node, &["cp", &format!("{id}:/nothing"), &at("x")])?;
    ensure!(missing.code() == Some(1) && missing.complaint().contains("Could not find the file /nothing"), "{missing}");
    Ok(())
}

fn a_wasm_container_is_copied_from_and_into_where_it_has_directories(under: &Under) -> Result<()> {
    let data = under.node.scratch().join(format!("wasm-cp-{}", under.isolation));
    fs::create_dir_all(&data)?;
    fs::write(data.join("given"), "a file")?;
    let (writable, read_only) =
        (format!("{}:/data", guest::path(&data)?), format!("{}:/fixed:ro", guest::path(&data)?));
    let container = under.node.detached(under.isolation, &["-v", &writable, "-v", &read_only], &["tick", "0.1"])?;
    let out = archive(under, "GET", container.id(), "/data/given", "", b"")?.success()?;
    ensure!(members(&out.body)?[0].2 == "a file");
    put(under, container.id(), "/data", Tarball::new().file("made", 0o644, b"copied"))?.success()?;
    ensure!(fs::read_to_string(data.join("made"))? == "copied");
    for (path, status) in [("/fixed", 403), ("/", 400), ("/etc", 400), ("/data/missing", 404), ("/data/made", 400)] {
        let refused = put(under, container.id(), path, Tarball::new().file("no", 0o644, b""))?;
        ensure!(refused.status == status, "{path}: {}: {}", refused.status, refused.text());
    }
    ensure!(!data.join("no").exists());
    let refused = under.node.get(&format!("/containers/{}/export", container.id()))?;
    ensure!(refused.status == 400 && refused.text().contains("Wasm"), "{}", refused.text());
    Ok(())
}

/// Of /proc and /sys some files are for writing only, and nothing in them is the container's.
fn a_whole_root_is_copied_without_what_the_kernel_mounts_in_it(under: &Under) -> Result<()> {
    let busybox = guest::busybox(under.node)?;
    let script = "while true; do echo x > /tmp-a; mv /tmp-a /tmp-b; mkdir /tmp-c; rm -r /tmp-b /tmp-c; done";
    let flags = ["--isolation", under.isolation.name()];
    let container = under.node.detached_image(&flags, &busybox, &["sh", "-c", script])?;
    for round in 0..8 {
        let out = under.node.scratch().join(fresh_name("whole"));
        under.node.proa(&["cp", &format!("{}:/", container.id()), guest::path(&out)?])?.success()?;
        ensure!(out.join("bin/busybox").exists() && out.join("etc").exists(), "round {round}");
        for mounted in ["proc", "sys"] {
            ensure!(fs::read_dir(out.join(mounted))?.next().is_none(), "`{mounted}` is not empty");
        }
        fs::remove_dir_all(&out)?;
    }
    // What is asked for by its own name is there, as far as it may be read.
    let told = archive(under, "GET", container.id(), "/proc/sys", "", b"")?.success()?;
    ensure!(members(&told.body)?.iter().any(|(name, ..)| name.ends_with("kernel/hostname")));
    Ok(())
}

/// An image whose export is larger than what all buffers between a host and its client hold.
fn bulky(node: &proa_tests::Node) -> Result<String> {
    let bulk = Tarball::new().file("bulk", 0o644, &guest::blob(32 << 20)).finish();
    let recipe = Recipe { command: &["/bin/sh"], env: &["PATH=/bin"], ..Recipe::default() };
    let layout = node.scratch().join(fresh_name("bulky"));
    let image = Image::native(&recipe, vec![guest::busybox_layer()?, bulk]);
    image.write_layout(&layout, "docker.io/library/bulky:latest")?;
    node.load(&layout)
}

/// What was made for a look at a container that rests goes with the look, also when the host dies in between.
fn a_host_killed_during_a_copy_leaves_nothing() -> Result<()> {
    use std::io::Write;
    let node = proa_tests::Node::start()?;
    let bulky = bulky(&node)?;
    let made =
        node.proa(&["create", "--isolation", "linux", "--name", "rests", &bulky, "cat", "/etc/passwd"])?.success()?;
    let group = format!("files-{}", made.text());
    let looked_at = || -> bool {
        let of = |entry: fs::DirEntry| fs::read(entry.path().join("cgroup")).unwrap_or_default();
        let mut all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.any(|entry| String::from_utf8_lossy(&of(entry)).contains(&group))
    };
    // A client that takes nothing: the answer is larger than what fits on the way.
    let mut client = std::os::unix::net::UnixStream::connect(node.socket())?;
    client.write_all(b"GET /containers/rests/export HTTP/1.1\r\nHost: proa\r\n\r\n")?;
    proa_tests::wait::until("its files are looked at", || Ok(looked_at()))?;
    node.restart()?;
    proa_tests::wait::until("the look is over", || Ok(!looked_at()))?;
    ensure!(node.proa(&["start", "-a", "rests"])?.success()?.text().contains("root"));
    // And where the client goes away, the look is over at once.
    let mut client = std::os::unix::net::UnixStream::connect(node.socket())?;
    client.write_all(b"GET /containers/rests/export HTTP/1.1\r\nHost: proa\r\n\r\n")?;
    proa_tests::wait::until("its files are looked at again", || Ok(looked_at()))?;
    drop(client);
    proa_tests::wait::until("the second look is over", || Ok(!looked_at()))?;
    node.close()
}
