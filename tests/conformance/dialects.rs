//! Wasm as the world ships it: every dialect is run by plain `run`, or one sentence says what is missing.

use anyhow::{Result, ensure};
use proa_tests::image::{self, Image};
use proa_tests::shelf::Shelf;
use proa_tests::tarball::{Tarball, gzip};
use proa_tests::{Output, Suite, Under, cases, load, peer, samples, wait};
use serde_json::{Value, json};

use super::WASM;

const WASM_LAYER: &str = "application/wasm";
/// Of wasm-to-oci, older wkg and Spin.
const CONTENT_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
const SPIN_CONFIG: &str = "application/vnd.fermyon.spin.application.v1+config";

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        WASM,
        &[],
        cases![
            the_cncf_artifact_runs,
            wkg_s_packages_run,
            wasm_to_oci_s_artifacts_run,
            runwasi_s_images_run,
            images_for_every_wasi_platform_run,
            the_compat_variant_runs,
            an_artifact_with_an_empty_config_runs,
            a_spin_application_serves_its_http_component,
            a_spin_application_that_cannot_be_served_is_refused_in_one_sentence,
            a_library_without_an_entry_is_refused_in_one_sentence,
        ],
    );
}

/// Pulls and runs `image` by nothing but its name.
fn run(under: &Under, image: &Image, args: &[&str]) -> Result<Output> {
    let shelf = Shelf::open()?;
    let reference = shelf.put("dialect", image);
    let line = ["run", "--rm", "--isolation", under.isolation.name(), &reference];
    let output = under.node.proa(&[&line, args].concat());
    under.node.proa(&["rmi", "-f", &reference])?;
    output
}

/// A dialect is well when its program ran, and had its arguments.
fn runs(under: &Under, what: &str, image: &Image) -> Result<()> {
    let output = run(under, image, &["out", what])?;
    ensure!(output.code() == Some(0) && output.text() == what, "{what}: {output}");
    Ok(())
}

fn artifact(config: (&str, Value), layer: &str, module: &[u8]) -> Image {
    let config = (config.0, config.1.to_string().into_bytes());
    Image::assemble(image::MANIFEST, config, vec![(layer.to_owned(), module.to_vec())])
}

fn the_cncf_artifact_runs(under: &Under) -> Result<()> {
    for module in [samples::PROBE_MODULE, samples::PROBE_COMPONENT] {
        runs(under, "cncf", &Image::artifact(module.to_vec()))?;
    }
    Ok(())
}

fn wkg_s_packages_run(under: &Under) -> Result<()> {
    let config = json!({
        "created": "2026-01-01T00:00:00Z", "author": null, "architecture": "wasm", "os": "wasip2",
        "layerDigests": [image::digest(samples::PROBE_COMPONENT)],
        "component": { "exports": ["wasi:cli/run@0.2.0"], "imports": [], "target": null },
    });
    runs(under, "wkg", &artifact(("application/vnd.wasm.config.v0+json", config), WASM_LAYER, samples::PROBE_COMPONENT))
}

fn wasm_to_oci_s_artifacts_run(under: &Under) -> Result<()> {
    let config = ("application/vnd.wasm.config.v1+json", json!({}));
    runs(under, "wasm-to-oci", &artifact(config, CONTENT_LAYER, samples::PROBE_MODULE))
}

fn runwasi_s_images_run(under: &Under) -> Result<()> {
    let config = json!({ "architecture": "wasm", "os": "wasi", "config": { "Env": ["BY=runwasi"] },
        "rootfs": { "type": "layers", "diff_ids": [] } });
    let layer = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";
    let image = artifact((image::CONFIG, config), layer, samples::PROBE_COMPONENT);
    runs(under, "runwasi", &image)?;
    let env = run(under, &image, &["env"])?.success()?;
    ensure!(env.lines().iter().any(|line| line == "BY=runwasi"), "{env}");
    Ok(())
}

/// An ordinary image whose file system holds the program.
fn with_files(os: &str, architecture: &str, docker: bool) -> Image {
    let layer = Tarball::new().file("app.wasm", 0o755, samples::PROBE_MODULE).finish();
    let config = json!({
        "architecture": architecture, "os": os, "config": { "Entrypoint": ["/app.wasm"] },
        "rootfs": { "type": "layers", "diff_ids": [image::digest(&layer)] },
    });
    let (manifest, config_type, layer_type) = match docker {
        true => (image::DOCKER_MANIFEST, image::DOCKER_CONFIG, image::DOCKER_LAYER),
        false => (image::MANIFEST, image::CONFIG, image::LAYER_GZIP),
    };
    let config = (config_type, config.to_string().into_bytes());
    Image::assemble(manifest, config, vec![(layer_type.to_owned(), gzip(&layer))])
}

fn images_for_every_wasi_platform_run(under: &Under) -> Result<()> {
    for (os, architecture) in
        [("wasi", "wasm"), ("wasip1", "wasm"), ("wasip2", "wasm"), ("wasi", "wasm32"), ("wasip1", "wasm32")]
    {
        for docker in [false, true] {
            runs(under, &format!("{os}/{architecture}"), &with_files(os, architecture, docker))?;
        }
    }
    Ok(())
}

fn the_compat_variant_runs(under: &Under) -> Result<()> {
    for value in ["compat", "compat-smart"] {
        let mut image = with_files("linux", "amd64", false);
        image.manifest["annotations"] = json!({ "module.wasm.image/variant": value });
        runs(under, value, &image)?;
    }
    Ok(())
}

/// As OCI 1.1 has artifacts: the type beside the config, which says nothing.
fn an_artifact_with_an_empty_config_runs(under: &Under) -> Result<()> {
    let mut image = artifact(("application/vnd.oci.empty.v1+json", json!({})), WASM_LAYER, samples::PROBE_COMPONENT);
    image.manifest["artifactType"] = json!("application/vnd.wasm.component.v1");
    runs(under, "empty", &image)
}

fn spin(trigger: &str, routes: &[&str]) -> Image {
    let component = |id: &str| {
        json!({ "id": id, "metadata": {}, "env": { "COLOUR": "red" }, "files": [],
            "source": { "content_type": "application/wasm", "digest": image::digest(samples::HTTP_COMPONENT) } })
    };
    let triggers: Vec<Value> = routes
        .iter()
        .map(|id| {
            json!({ "id": format!("trigger--{id}"), "trigger_type": trigger,
                "trigger_config": { "component": id, "executor": null, "route": "/..." } })
        })
        .collect();
    let config = json!({
        "spin_lock_version": 1, "metadata": { "name": "hello", "version": "0.1.0", "origin": "vendored-app" },
        "triggers": triggers, "components": routes.iter().map(|id| component(id)).collect::<Vec<_>>(),
    });
    artifact((SPIN_CONFIG, config), CONTENT_LAYER, samples::HTTP_COMPONENT)
}

fn a_spin_application_serves_its_http_component(under: &Under) -> Result<()> {
    let shelf = Shelf::open()?;
    let reference = shelf.put("spin", &spin("http", &["hello"]));
    let address = peer::free_address()?;
    let flags = ["--isolation", under.isolation.name(), "-p", &format!("{address}:80")];
    let served = under.node.detached_image(&flags, &reference, &[])?;
    wait::until("it answers", || Ok(load::get(address, "/").is_ok()))?;
    ensure!(load::get(address, "/env")?.1.contains("COLOUR=red"));
    under.node.proa(&["rm", "-f", served.id()])?.success()?;
    under.node.proa(&["rmi", "-f", &reference])?.success().map(drop)
}

fn a_spin_application_that_cannot_be_served_is_refused_in_one_sentence(under: &Under) -> Result<()> {
    run(under, &spin("redis", &["hello"]), &[])?.refused(125, &["trigger `redis`", "`http`"])?;
    run(under, &spin("http", &["one", "two"]), &[])?.refused(125, &["2 components"])?;
    Ok(())
}

fn a_library_without_an_entry_is_refused_in_one_sentence(under: &Under) -> Result<()> {
    // The smallest component there is exports nothing, and so does the smallest module.
    for wasm in [&b"\0asm\x0d\0\x01\0"[..], &b"\0asm\x01\0\0\0"[..]] {
        let output = run(under, &Image::artifact(wasm.to_vec()), &[])?;
        ensure!(output.code().is_some_and(|code| code >= 125), "{output}");
        output.keeps_its_composure()?;
    }
    Ok(())
}
