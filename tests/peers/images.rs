//! skopeo, umoci and Debian's docker-registry: our store read by others, their registries read by us, and the reverse.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use proa_tests::peer::{self, Distribution};
use proa_tests::registry::Registry;
use proa_tests::{Isolation, Need, Node, Suite, cases, guest};
use serde_json::Value;

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[Need::Peer("skopeo")],
        cases![skopeo_reads_the_store, skopeo_s_layout_runs, skopeo_pushes_to_our_registry_and_pulls_back],
    );
    suite.add(&[Need::Peer("umoci"), Need::Peer("skopeo")], cases![umoci_unpacks_from_the_store]);
    suite.add(&[Need::Peer("umoci")], cases![umoci_s_image_runs]);
    suite.add(
        &[Need::Peer("docker-registry")],
        cases![docker_registry_takes_a_push_and_gives_a_pull, docker_registry_keeps_an_index_whole],
    );
    suite.add(
        &[Need::Peer("docker-registry"), Need::Peer("skopeo")],
        cases![skopeo_and_proa_exchange_by_docker_registry],
    );
    suite.add(&[], cases![our_registry_takes_a_push_and_gives_a_pull]);
}

fn layout_of(node: &Node) -> String {
    node.root().join("store").display().to_string()
}

fn skopeo(args: &[&str]) -> Result<proa_tests::Output> {
    peer::run("skopeo", &[&["--insecure-policy"], args].concat())
}

/// The name under which the store's index lists `reference`.
fn name_in_store(node: &Node, part: &str) -> Result<String> {
    let index: Value = serde_json::from_slice(&fs::read(node.root().join("store/index.json"))?)?;
    let manifests = index["manifests"].as_array().context("an index has manifests")?;
    let names = manifests.iter().filter_map(|m| m["annotations"]["org.opencontainers.image.ref.name"].as_str());
    let found = names.clone().find(|name| name.contains(part));
    Ok(found.with_context(|| format!("`{part}` is none of {:?}", names.collect::<Vec<_>>()))?.to_owned())
}

fn skopeo_reads_the_store() -> Result<()> {
    let node = Node::start()?;
    guest::bare(&node)?;
    let name = name_in_store(&node, "bare")?;
    let source = format!("oci:{}:{name}", layout_of(&node));
    let seen = skopeo(&["inspect", "--config", &source])?.success()?;
    let config: Value = serde_json::from_slice(&seen.stdout)?;
    ensure!(config["config"]["Entrypoint"][0] == "/probe", "{seen}");
    let copy = node.scratch().join("copy");
    skopeo(&["copy", &source, &format!("oci:{}:copied", copy.display())])?.success()?;
    ensure!(copy.join("index.json").exists());
    node.close()
}

fn skopeo_s_layout_runs() -> Result<()> {
    let node = Node::start()?;
    guest::bare(&node)?;
    let source = format!("oci:{}:{}", layout_of(&node), name_in_store(&node, "bare")?);
    let copy = node.scratch().join("copy");
    skopeo(&["copy", &source, &format!("oci:{}:copied", copy.display())])?.success()?;
    if Need::Isolation(Isolation::Linux).lacking().is_none() {
        let image = format!("oci:{}:copied", copy.display());
        let output = node.proa(&["run", "--rm", "--isolation", "linux", &image, "out", "copied"])?.success()?;
        ensure!(output.text() == "copied", "{output}");
    }
    node.close()
}

fn skopeo_pushes_to_our_registry_and_pulls_back() -> Result<()> {
    let (node, registry) = (Node::start()?, Registry::start()?);
    guest::bare(&node)?;
    let source = format!("oci:{}:{}", layout_of(&node), name_in_store(&node, "bare")?);
    let remote = format!("{}/by/skopeo:1", registry.address());
    skopeo(&["copy", "--dest-tls-verify=false", &source, &format!("docker://{remote}")])?.success()?;
    let seen = skopeo(&["inspect", "--tls-verify=false", &format!("docker://{remote}")])?.success()?;
    ensure!(seen.text().contains("\"Layers\""), "{seen}");
    let tags = skopeo(&["list-tags", "--tls-verify=false", &format!("docker://{}/by/skopeo", registry.address())])?;
    ensure!(tags.clone().success()?.text().contains("\"1\""), "{tags}");
    node.proa(&["pull", &remote])?.success()?;
    node.close()
}

fn umoci_unpacks_from_the_store() -> Result<()> {
    let node = Node::start()?;
    guest::bare(&node)?;
    let listed = peer::run("umoci", &["ls", "--layout", &layout_of(&node)])?.success()?;
    ensure!(listed.text().contains("bare"), "{listed}");
    // umoci's own names hold no colon, so the image takes one it can say.
    let copy = node.scratch().join("copy");
    let source = format!("oci:{}:{}", layout_of(&node), name_in_store(&node, "bare")?);
    skopeo(&["copy", &source, &format!("oci:{}:plain", copy.display())])?.success()?;
    let bundle = node.scratch().join("bundle");
    let image = format!("{}:plain", copy.display());
    peer::run("umoci", &["unpack", "--rootless", "--image", &image, guest::path(&bundle)?])?.success()?;
    ensure!(fs::read(bundle.join("rootfs/probe"))? == proa_tests::samples::PROBE_LINUX);
    node.close()
}

fn umoci_s_image_runs() -> Result<()> {
    let node = Node::start()?;
    let layout = node.scratch().join("by-umoci");
    let image = format!("{}:made", layout.display());
    let umoci = |args: &[&str]| peer::run("umoci", args)?.success();
    umoci(&["init", "--layout", guest::path(&layout)?])?;
    umoci(&["new", "--image", &image])?;
    let root: PathBuf = node.scratch().join("rootfs");
    fs::create_dir_all(&root)?;
    fs::write(root.join("probe"), proa_tests::samples::PROBE_LINUX)?;
    fs::set_permissions(root.join("probe"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    umoci(&["insert", "--rootless", "--image", &image, guest::path(&root.join("probe"))?, "/probe"])?;
    umoci(&["config", "--image", &image, "--config.entrypoint", "/probe", "--config.env", "MADE_BY=umoci"])?;
    if Need::Isolation(Isolation::Linux).lacking().is_none() {
        let output = node.proa(&["run", "--rm", "--isolation", "linux", &format!("oci:{image}"), "env"])?.success()?;
        ensure!(output.lines().iter().any(|line| line == "MADE_BY=umoci"), "{output}");
    }
    node.close()
}

/// Pushes the probe's index to `remote`, forgets it, and pulls and runs it again under all there is.
fn there_and_back(remote: &str) -> Result<()> {
    let node = Node::start()?;
    let probe = node.probe()?;
    node.proa(&["tag", probe, remote])?.success()?;
    let pushed = node.proa(&["push", remote])?.success()?;
    ensure!(pushed.text().contains("digest: sha256:"), "{pushed}");
    node.proa(&["rmi", remote, probe])?.success()?;
    ensure!(node.proa(&["images", "-q"])?.success()?.text().is_empty());
    let fresh = Node::start()?;
    fresh.proa(&["pull", remote])?.success()?;
    for isolation in Isolation::ALL {
        if Need::Isolation(isolation).lacking().is_none() {
            let line = ["run", "--rm", "--pull", "never", "--isolation", isolation.name(), remote, "out", "back"];
            let output = fresh.proa(&line)?.success()?;
            ensure!(output.text() == "back", "{output}");
        }
    }
    fresh.close()?;
    node.close()
}

fn docker_registry_takes_a_push_and_gives_a_pull() -> Result<()> {
    let registry = Distribution::start()?;
    there_and_back(&format!("{}/some/where/probe:1.0", registry.address()))
}

fn our_registry_takes_a_push_and_gives_a_pull() -> Result<()> {
    let registry = Registry::start()?;
    there_and_back(&format!("{}/some/where/probe:1.0", registry.address()))
}

fn docker_registry_keeps_an_index_whole() -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::start()?);
    let remote = format!("{}/probe:index", registry.address());
    node.proa(&["tag", node.probe()?, &remote])?.success()?;
    node.proa(&["push", &remote])?.success()?;
    let (status, body) = proa_tests::load::get(registry.address(), "/v2/probe/tags/list")?;
    ensure!(status == 200 && body.contains("index"), "{status} {body}");
    let accept = "application/vnd.oci.image.index.v1+json";
    let answer = proa_tests::load::get_as(registry.address(), "/v2/probe/manifests/index", accept)?;
    let index: Value = serde_json::from_str(&answer.1).with_context(|| answer.1.clone())?;
    ensure!(index["manifests"].as_array().is_some_and(|list| list.len() == 2), "{index}");
    node.close()
}

fn skopeo_and_proa_exchange_by_docker_registry() -> Result<()> {
    let (node, registry) = (Node::start()?, Distribution::start()?);
    let layout = node.scratch().join("layout");
    guest::busybox_image()?.write_layout(&layout, "given")?;
    let remote = format!("{}/busybox:by-skopeo", registry.address());
    let source = format!("oci:{}:given", layout.display());
    for format in ["oci", "v2s2"] {
        let line = ["copy", "--dest-tls-verify=false", "--format", format, &source, &format!("docker://{remote}")];
        skopeo(&line)?.success()?;
        node.proa(&["pull", &remote])?.success()?;
        if Need::Isolation(Isolation::Linux).lacking().is_none() {
            let line = ["run", "--rm", "--isolation", "linux", &remote, "echo", format];
            let output = node.proa(&line)?.success()?;
            ensure!(output.text() == format, "{output}");
        }
    }
    let back = format!("{}/busybox:by-proa", registry.address());
    node.proa(&["tag", &remote, &back])?.success()?;
    node.proa(&["push", &back])?.success()?;
    let seen = skopeo(&["inspect", "--tls-verify=false", &format!("docker://{back}")])?.success()?;
    ensure!(seen.text().contains("\"Layers\""), "{seen}");
    node.close()
}
