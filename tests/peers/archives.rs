//! Archives and registries between programs: what `docker save` of ours is to skopeo, what skopeo's archives are to us,
//! and logins at Debian's docker-registry.

use std::fs;

use anyhow::{Result, ensure};
use proa_tests::peer::{self, Distribution};
use proa_tests::{Isolation, Need, Node, Suite, cases, guest};
use serde_json::{Value, json};

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[Need::Peer("skopeo"), Need::Root],
        // skopeo gives what it unpacks to its owners, which it may as root only.
        cases![skopeo_reads_what_we_save_in_both_ways],
    );
    suite.add(&[Need::Peer("skopeo")], cases![skopeo_s_archives_load_and_run, skopeo_s_zstd_layers_run]);
    suite.add(
        &[Need::Peer("docker-registry")],
        cases![docker_registry_checks_a_login_and_shows_its_image_to_it_only, docker_registry_mounts_what_it_has],
    );
}

fn skopeo(args: &[&str]) -> Result<proa_tests::Output> {
    peer::run("skopeo", &[&["--insecure-policy"], args].concat())
}

fn saved(node: &Node, name: &str) -> Result<String> {
    let file = node.scratch().join("saved.tar");
    fs::write(&file, node.get(&format!("/images/{name}/get"))?.success()?.body)?;
    Ok(file.display().to_string())
}

fn skopeo_reads_what_we_save_in_both_ways() -> Result<()> {
    let node = Node::start()?;
    guest::bare(&node)?;
    node.proa(&["tag", "bare", "bare:saved"])?.success()?;
    let file = saved(&node, "bare:saved")?;
    for source in [format!("oci-archive:{file}"), format!("docker-archive:{file}:bare:saved")] {
        let copy = node.scratch().join("copy");
        let _ = fs::remove_dir_all(&copy);
        skopeo(&["copy", &source, &format!("oci:{}:copied", copy.display())])?.success()?;
        let seen = skopeo(&["inspect", "--config", &source])?.success()?;
        let config: Value = serde_json::from_slice(&seen.stdout)?;
        ensure!(config["config"]["Entrypoint"][0] == "/probe", "{source}: {seen}");
    }
    node.close()
}

fn skopeo_s_archives_load_and_run() -> Result<()> {
    let node = Node::start()?;
    let layout = node.scratch().join("layout");
    guest::busybox_image()?.write_layout(&layout, "given")?;
    let source = format!("oci:{}:given", layout.display());
    for form in ["oci-archive", "docker-archive"] {
        let file = node.scratch().join(format!("{form}.tar"));
        skopeo(&["copy", &source, &format!("{form}:{}:made:1", file.display())])?.success()?;
        node.post("/images/load", "application/x-tar", &fs::read(&file)?)?.success()?;
        if Need::Isolation(Isolation::Linux).lacking().is_none() {
            let image = format!("{form}:{}", file.display());
            let line = ["run", "--rm", "--isolation", "linux", &image, "echo", form];
            let output = node.proa(&line)?.success()?;
            ensure!(output.text() == form, "{output}");
        }
    }
    node.close()
}

fn skopeo_s_zstd_layers_run() -> Result<()> {
    let node = Node::start()?;
    let (layout, packed) = (node.scratch().join("layout"), node.scratch().join("packed"));
    guest::busybox_image()?.write_layout(&layout, "given")?;
    let (source, target) = (format!("oci:{}:given", layout.display()), format!("oci:{}:zstd", packed.display()));
    skopeo(&["copy", "--dest-compress-format", "zstd", "--dest-compress", &source, &target])?.success()?;
    if Need::Isolation(Isolation::Linux).lacking().is_none() {
        let output = node.proa(&["run", "--rm", "--isolation", "linux", &target, "echo", "zstd"])?.success()?;
        ensure!(output.text() == "zstd", "{output}");
    }
    node.close()
}

fn docker_registry_checks_a_login_and_shows_its_image_to_it_only() -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::guarded()?);
    let address = registry.address().to_string();
    let auth = |password: &str| {
        let body = json!({ "username": "sailor", "password": password, "serveraddress": address });
        node.post("/auth", "application/json", body.to_string().as_bytes())
    };
    let refused = auth("wrong")?;
    ensure!(refused.status == 401 && refused.text().contains("unauthorized"), "{} {}", refused.status, refused.text());
    let pull = node.post(&format!("/images/create?fromImage={address}/a&tag=1"), "", b"")?;
    ensure!(pull.status == 404 && pull.text().contains("pull access denied"), "{} {}", pull.status, pull.text());
    node.close()
}

fn docker_registry_mounts_what_it_has() -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::start()?);
    guest::bare(&node)?;
    let (first, second) = (format!("{}/one/bare:1", registry.address()), format!("{}/two/bare:1", registry.address()));
    for name in [&first, &second] {
        node.proa(&["tag", "bare", name])?.success()?;
    }
    node.proa(&["push", &first])?.success()?;
    let told = node.post(&format!("/images/{}/push?tag=1", second.trim_end_matches(":1")), "", b"")?.success()?.text();
    ensure!(told.contains("Mounted from") && !told.contains("Pushing"), "{told}");
    let fresh = Node::start()?;
    fresh.proa(&["pull", &second])?.success()?;
    fresh.close()?;
    node.close()
}
