//! What a container has changed: told, exported and made an image.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use proa_tests::node::fresh_name;
use proa_tests::{Container, Need, Suite, Under, cases, docker, guest};
use serde_json::{Value, json};

use super::{NATIVE, WASM};

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        NATIVE,
        &[Need::Peer("busybox")],
        cases![
            diff_tells_what_was_added_changed_and_deleted,
            a_container_that_wrote_nothing_has_no_changes,
            export_is_the_whole_root_with_owners_links_and_attributes,
            a_commit_is_an_image_with_what_was_changed_and_what_was_deleted,
            commit_takes_dockerfile_instructions,
            a_committed_file_keeps_its_owner,
        ],
    );
    suite.under(NATIVE, &[Need::Peer("busybox"), Need::Peer("docker")], cases![the_stock_docker_commits_and_diffs]);
    suite.under(WASM, &[], cases![a_wasm_container_has_no_changes_and_says_so]);
}

fn shell<'a>(under: &'a Under, script: &str) -> Result<Container<'a>> {
    let busybox = guest::busybox(under.node)?;
    let script = format!("{script}; echo ready; sleep 1000");
    let flags = ["--isolation", under.isolation.name()];
    let container = under.node.detached_image(&flags, &busybox, &["sh", "-c", &script])?;
    container.shows("that it is ready", |logs| logs.contains("ready"))?;
    Ok(container)
}

fn changes(under: &Under, id: &str) -> Result<Vec<(String, u64)>> {
    let all = under.node.get(&format!("/containers/{id}/changes"))?.success()?.json()?;
    let all = all.as_array().context("changes are a list")?;
    let pair = |change: &Value| Some((change["Path"].as_str()?.to_owned(), change["Kind"].as_u64()?));
    all.iter().map(|change| pair(change).context("a path and a kind")).collect()
}

/// Commits, gives the new image's name, which the caller removes.
fn commit(under: &Under, id: &str, more: &str) -> Result<String> {
    let name = fresh_name("committed");
    let target = format!("/commit?container={id}&repo={name}&tag=1{more}");
    let answer = under.node.post(&target, "application/json", b"")?.success()?;
    ensure!(
        answer.status == 201 && answer.json()?["Id"].as_str().is_some_and(|id| id.starts_with("sha256:")),
        "{}",
        answer.text()
    );
    Ok(format!("{name}:1"))
}

fn run(under: &Under, image: &str, script: &str) -> Result<String> {
    let line = ["run", "--rm", "--isolation", under.isolation.name(), image, "sh", "-c", script];
    Ok(under.node.proa(&line)?.success()?.text())
}

fn remove(under: &Under, image: &str) -> Result<()> {
    under.node.proa(&["rmi", "-f", image])?.success().map(drop)
}

fn diff_tells_what_was_added_changed_and_deleted(under: &Under) -> Result<()> {
    let container = shell(
        under,
        "mkdir -p /made/deep && echo x > /made/deep/file && echo more >> /etc/passwd && rm /etc/group && ln -s x /link && \
         rm -rf /home && mkdir /home && echo y > /home/new && chmod 700 /tmp && touch /tmp/brief && rm /tmp/brief",
    )?;
    let found = changes(under, container.id())?;
    for expected in [
        ("/made", 1),
        ("/made/deep/file", 1),
        ("/etc", 0),
        ("/etc/passwd", 0),
        ("/etc/group", 2),
        ("/link", 1),
        ("/home", 0),
        ("/home/new", 1),
        ("/tmp", 0),
    ] {
        ensure!(found.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} is not told: {found:?}");
    }
    let told = |path: &str| found.iter().any(|(other, _)| other == path);
    for path in ["/", "/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/bin", "/tmp/brief"] {
        ensure!(!told(path), "{path} has not changed: {found:?}");
    }
    let mut ordered = found.clone();
    ordered.sort();
    ensure!(found == ordered, "{found:?}");
    Ok(())
}

fn a_container_that_wrote_nothing_has_no_changes(under: &Under) -> Result<()> {
    let container = shell(under, "true")?;
    let found = changes(under, container.id())?;
    ensure!(found.is_empty(), "{found:?}");
    let missing = under.node.get("/containers/nobody-here/changes")?;
    ensure!(missing.status == 404, "{}", missing.text());
    Ok(())
}

fn export_is_the_whole_root_with_owners_links_and_attributes(under: &Under) -> Result<()> {
    let container = shell(
        under,
        "mkdir /x && echo content > /x/file && chown 33:44 /x/file && chmod 4750 /x/file && ln /x/file /x/hard && \
         ln -s /etc/passwd /x/soft && mkfifo /x/fifo",
    )?;
    let exported = under.node.get(&format!("/containers/{}/export", container.id()))?.success()?;
    let mut found = Vec::new();
    for entry in tar::Archive::new(&exported.body[..]).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let header = entry.header();
        found.push((name, header.entry_type(), header.uid()?, header.mode()?, content.len()));
    }
    let find =
        |name: &str| found.iter().find(|entry| entry.0 == name).with_context(|| format!("{name} is not in the export"));
    let files = [find("x/file")?, find("x/hard")?];
    ensure!(files.iter().any(|file| file.1.is_file() && (file.2, file.3, file.4) == (33, 0o4750, 8)), "{files:?}");
    ensure!(files.iter().any(|file| file.1.is_hard_link()), "{files:?}");
    ensure!(find("x/soft")?.1.is_symlink() && find("x/fifo")?.1.is_fifo());
    ensure!(find("proc/")?.1.is_dir() && find("etc/hosts")?.4 == 0);
    ensure!(
        !found.iter().any(|entry| entry.0.starts_with("proc/1") || entry.0 == "dev/null"),
        "what is mounted is not exported"
    );
    // And what was exported is what a stopped container has.
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    let again = under.node.get(&format!("/containers/{}/export", container.id()))?.success()?;
    ensure!(tar::Archive::new(&again.body[..]).entries()?.count() == found.len());
    Ok(())
}

fn a_commit_is_an_image_with_what_was_changed_and_what_was_deleted(under: &Under) -> Result<()> {
    let container = shell(
        under,
        "echo made > /made && rm /etc/group && rm -rf /home && mkdir /home && echo y > /home/new && echo ready",
    )?;
    let image = commit(under, container.id(), "&comment=a+comment&author=somebody")?;
    let state = container.inspect()?["State"].clone();
    ensure!(state["Running"] == true && state["Paused"] == false, "{state}");
    let shown = run(under, &image, "cat /made; ls /etc/group; ls /home")?;
    ensure!(shown == "made\nnew", "{shown}");
    let inspect = under.node.get(&format!("/images/{image}/json"))?.success()?.json()?;
    ensure!(
        inspect["Author"] == "somebody"
            && inspect["RootFS"]["Layers"].as_array().is_some_and(|layers| layers.len() == 2),
        "{inspect}"
    );
    // Of a container that does not run, and of one made from the new image.
    container.proa(&["kill"])?.success()?;
    container.ended()?;
    let second = commit(under, container.id(), "")?;
    ensure!(run(under, &second, "cat /made")? == "made");
    remove(under, &second)?;
    remove(under, &image)
}

fn commit_takes_dockerfile_instructions(under: &Under) -> Result<()> {
    let container = shell(under, "echo x > /made")?;
    let changes = "&changes=CMD+%5B%22cat%22%2C%22%2Fmade%22%5D&changes=ENV+GIVEN%3D1%0ALABEL+a%3Db&changes=WORKDIR+%2Fetc&changes=EXPOSE+80";
    let image = commit(under, container.id(), changes)?;
    let line = ["run", "--rm", "--isolation", under.isolation.name(), &image];
    ensure!(under.node.proa(&line)?.success()?.text() == "x");
    ensure!(run(under, &image, "echo $GIVEN; pwd")? == "1\n/etc");
    let config = under.node.get(&format!("/images/{image}/json"))?.success()?.json()?["Config"].clone();
    ensure!(config["Labels"]["a"] == "b" && config["ExposedPorts"]["80/tcp"] == json!({}), "{config}");
    remove(under, &image)?;
    for (query, status, words) in [
        (format!("container={}&changes=RUN+make", container.id()), 400, "run is not a valid change command"),
        (format!("container={}&repo=UPPER", container.id()), 400, "invalid reference"),
        ("container=nobody-here".to_owned(), 404, "No such container"),
        (String::new(), 400, "container"),
    ] {
        let refused = under.node.post(&format!("/commit?{query}"), "application/json", b"")?;
        ensure!(
            refused.status == status && refused.text().contains(words),
            "{query}: {}: {}",
            refused.status,
            refused.text()
        );
    }
    Ok(())
}

fn a_committed_file_keeps_its_owner(under: &Under) -> Result<()> {
    let container = shell(under, "echo x > /made && chown 33:44 /made && chmod 2751 /made")?;
    let image = commit(under, container.id(), "")?;
    ensure!(run(under, &image, "stat -c '%u:%g %a' /made")? == "33:44 2751");
    remove(under, &image)
}

fn the_stock_docker_commits_and_diffs(under: &Under) -> Result<()> {
    let container = shell(under, "echo x > /made; rm /etc/group")?;
    let diff = docker::docker(under.node, &["diff", container.id()])?.success()?;
    ensure!(diff.lines() == ["C /etc", "D /etc/group", "A /made"], "{diff}");
    let name = fresh_name("by-docker");
    docker::docker(under.node, &["commit", "-m", "why", "-a", "who", "-c", "CMD cat /made", container.id(), &name])?
        .success()?;
    let history = docker::docker(under.node, &["run", "--rm", &name])?.success()?;
    ensure!(history.text() == "x", "{history}");
    remove(under, &name)
}

fn a_wasm_container_has_no_changes_and_says_so(under: &Under) -> Result<()> {
    let container = under.node.detached(under.isolation, &[], &["tick", "0.1"])?;
    for (method, target) in [
        ("GET", format!("/containers/{}/changes", container.id())),
        ("POST", format!("/commit?container={}", container.id())),
    ] {
        let refused = proa_tests::api::request(under.node.socket(), method, &target, "application/json", b"")?;
        ensure!(refused.status == 400 && refused.text().contains("is Wasm"), "{target}: {}", refused.text());
    }
    Ok(())
}
