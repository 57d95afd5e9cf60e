//! The sample images: packed as `proa package` does, pushed to the demo's registry, pulled back.

use anyhow::Context;
use proa_registry::package::{self, Package};
use proa_registry::{Descriptor, Layout, Reference};
use serde::Deserialize;

use super::scene::Scene;
use crate::cli::client::Client;
use crate::cli::progress::Show;
use crate::cli::query::encode_image;
use crate::cli::{image, pull, push};

/// The samples, packed into a layout of the demo's.
#[derive(Debug)]
pub(super) struct Samples {
    layout: Layout,
    /// A component and a Linux program under one name.
    pub(super) hello: Sample,
    /// An HTTP component.
    pub(super) http: Sample,
}

/// One packed image.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    reference: Reference,
    descriptor: Descriptor,
    /// Bytes of config and layers, of the Wasm and of the Linux variant.
    pub(super) wasm_size: u64,
    pub(super) linux_size: u64,
}

impl Samples {
    pub(super) fn pack(scene: &Scene) -> anyhow::Result<Samples> {
        let layout = Layout::create(&scene.folder().join("packed")).context("make an image layout")?;
        let hello = (proa_samples::HELLO_COMPONENT, Some(proa_samples::HELLO_LINUX));
        let hello = pack(&layout, &format!("{}/hello:latest", scene.registry()), hello)?;
        let http = pack(&layout, &format!("{}/http:latest", scene.registry()), (proa_samples::HTTP_COMPONENT, None))?;
        Ok(Samples { layout, hello, http })
    }

    /// Through the host and the registry and back, so that what runs afterwards came over the distribution protocol.
    pub(super) fn push_and_pull_back(&self, client: &mut Client) -> anyhow::Result<()> {
        for sample in [&self.hello, &self.http] {
            let name = &sample.name;
            image::load_named(client, &self.layout, &sample.descriptor, &sample.reference)
                .with_context(|| format!("load `{name}`"))?;
            push::push(client, name, Show::Nothing).with_context(|| format!("push `{name}`"))?;
            client
                .delete(&format!("/images/{}?force=1", encode_image(name)))
                .with_context(|| format!("remove `{name}`"))?;
            pull::pull(client, name, None, Show::Nothing).with_context(|| format!("pull `{name}`"))?;
        }
        Ok(())
    }
}

fn pack(layout: &Layout, name: &str, (module, linux): (&[u8], Option<&[u8]>)) -> anyhow::Result<Sample> {
    let reference = Reference::parse(name)?;
    let package =
        Package { module: module.to_vec(), linux: linux.map(<[u8]>::to_vec), annotations: Default::default() };
    let descriptor = package::write(layout, &reference, &package).with_context(|| format!("pack `{name}`"))?;
    let (wasm_size, linux_size) = sizes(layout, &descriptor).with_context(|| format!("measure `{name}`"))?;
    Ok(Sample { name: name.to_owned(), reference, descriptor, wasm_size, linux_size })
}

/// An index or a manifest, as far as sizes go.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// Bytes of config and layers, of the Wasm and of the Linux variant.
fn sizes(layout: &Layout, image: &Descriptor) -> anyhow::Result<(u64, u64)> {
    let read = |descriptor: &Descriptor| -> anyhow::Result<Document> {
        Ok(serde_json::from_slice(&layout.read(descriptor, 1 << 20)?)?)
    };
    let sum = |document: &Document| document.config.iter().chain(&document.layers).map(|blob| blob.size).sum::<u64>();
    let top = read(image)?;
    if top.manifests.is_empty() {
        return Ok((sum(&top), 0));
    }
    let (mut wasm, mut linux) = (0, 0);
    for manifest in &top.manifests {
        let size = sum(&read(manifest)?);
        match manifest.platform.as_ref().is_some_and(|platform| platform.is_wasm()) {
            true => wasm = size,
            false => linux = size,
        }
    }
    Ok((wasm, linux))
}
