//! The image argument: a reference, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:TAG]` or a .wasm file. What lies in files is packed into an OCI layout
//! archive and given to the host by `POST /images/load`; the host itself never opens the caller's files.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use proa_registry::LayoutName;
use proa_registry::archive;
use proa_registry::package::{self, Package};
use proa_registry::{ArchiveName, Descriptor, Layout, Limits, Reference};
use serde_json::Value;

use super::client::{self, Client, Payload};
use super::progress;

/// The annotation under which a layout's index names its images (image-spec, annotations).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What names an image on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Image {
    /// A name that host and registries know.
    Reference(String),
    /// `oci:DIR[:TAG]`
    Layout(String),
    /// `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:TAG]`
    Archive(String),
    /// A Wasm module or component in a file.
    File(PathBuf),
}

impl Image {
    /// Told apart by form first: `oci:` and `.wasm` are never references. A path that exists is a file too, so that a
    /// mistaken one is told what is wrong with it instead of being looked for in a registry.
    pub(crate) fn parse(word: &str) -> anyhow::Result<Image> {
        let is_path = word.starts_with('/') || word.starts_with('.');
        if word.is_empty() {
            bail!("the image has no name");
        } else if word.starts_with("oci:") {
            Ok(Image::Layout(word.to_owned()))
        } else if ArchiveName::is_meant(word) {
            Ok(Image::Archive(word.to_owned()))
        } else if word.ends_with(".wasm") || (is_path && Path::new(word).is_file()) {
            Ok(Image::File(PathBuf::from(word)))
        } else {
            Ok(Image::Reference(word.to_owned()))
        }
    }

    /// The name by which the host knows it, given to the host first where it is not there yet.
    pub(crate) fn settle(&self, client: &mut Client) -> anyhow::Result<String> {
        match self {
            Image::Reference(name) => Ok(name.clone()),
            Image::Layout(name) => {
                let LayoutName { dir, tag } = name.parse()?;
                let layout =
                    Layout::open(&dir).with_context(|| format!("open the image layout `{}`", dir.display()))?;
                let image = find(&layout, tag.as_deref()).with_context(|| format!("find the image `{name}`"))?;
                load(client, &layout, image)
            }
            Image::Archive(name) => {
                let name: ArchiveName = name.parse()?;
                let scratch = tempfile::tempdir().context("make a scratch folder")?;
                let layout = Layout::create(scratch.path())?;
                let image = archive::open(&name, &layout, &Limits::default())
                    .with_context(|| format!("open the archive `{name}`"))?;
                load(client, &layout, image)
            }
            Image::File(path) => {
                let module = read_wasm(path)?;
                let scratch = tempfile::tempdir().context("make a scratch folder")?;
                let layout = Layout::create(scratch.path())?;
                let package = Package { module, linux: None, annotations: Default::default() };
                let mut image = package::write(&layout, &Reference::parse("module:latest")?, &package)
                    .with_context(|| format!("pack `{}`", path.display()))?;
                // A file has no name to give: the host knows it by its digest, and no image of anybody's is renamed.
                image.annotations.clear();
                load(client, &layout, image)
            }
        }
    }
}

/// An image of a layout by the name written there, by the short form of a reference written there (`hello` where
/// `proa package -t hello` wrote it), or by a bare tag.
fn find(layout: &Layout, name: Option<&str>) -> anyhow::Result<Descriptor> {
    let written = layout.find_name(name);
    let (Err(_), Some(name)) = (&written, name) else { return Ok(written?) };
    let full = Reference::parse(name).ok().map(|reference| reference.to_string());
    let ending = format!(":{name}");
    let is_meant = |entry: &Descriptor| {
        let known = entry.annotations.get(REF_NAME);
        known.is_some_and(|known| Some(known) == full.as_ref() || known.ends_with(&ending))
    };
    match layout.descriptors()?.into_iter().find(is_meant) {
        Some(found) => Ok(found),
        None => Ok(written?),
    }
}

/// The bytes of a .wasm file, which begin as the core specification and the component model say.
pub(crate) fn read_wasm(path: &Path) -> anyhow::Result<Vec<u8>> {
    let module = std::fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
    if !module.starts_with(b"\0asm") {
        let hint = match module.get(..4) {
            Some(b"\x7fELF") => {
                "\nhint: it is a native program; pack it with `proa package app.wasm --with-linux FILE`"
            }
            Some([b'(', ..]) => "\nhint: it looks like Wasm text; translate it with `wasm-tools parse` first",
            _ => "",
        };
        bail!("`{}` is not Wasm: it does not begin with `\\0asm`{hint}", path.display());
    }
    Ok(module)
}

/// Gives the host an image it may have already; the name to create by.
fn load(client: &mut Client, layout: &Layout, image: Descriptor) -> anyhow::Result<String> {
    let digest = image.digest.to_string();
    match client.get::<Value>(&format!("/images/{digest}/json")) {
        Ok(_) => Ok(digest),
        Err(client::Error::Refused { status: 404, .. }) => Ok(send(client, layout, image)?.unwrap_or(digest)),
        Err(error) => Err(error.into()),
    }
}

/// Gives the host an image and makes sure that it has this name there.
pub(crate) fn load_named(
    client: &mut Client,
    layout: &Layout,
    image: &Descriptor,
    reference: &Reference,
) -> anyhow::Result<()> {
    send(client, layout, image.clone())?;
    super::tag::tag(client, &image.digest.to_string(), &reference.to_string())
}

/// Sends an image as an archive; the name the host gave it.
fn send(client: &mut Client, layout: &Layout, image: Descriptor) -> anyhow::Result<Option<String>> {
    let mut packed = archive(layout, image).context("pack the image for the host")?;
    let payload = Payload::Stream { media_type: "application/x-tar", bytes: &mut packed };
    let answer = client.send("POST", "/images/load?quiet=1", &[], payload)?;
    let mut name = None;
    progress::follow(answer.into_body(), &mut |message| {
        let said = message.stream.as_deref().unwrap_or_default().trim();
        let loaded = said.strip_prefix("Loaded image ID: ").or_else(|| said.strip_prefix("Loaded image: "));
        if let Some(loaded) = loaded {
            name = Some(loaded.to_owned());
        }
        Ok(())
    })?;
    Ok(name)
}

/// The image as an OCI layout archive, in a file that has no name.
fn archive(layout: &Layout, image: Descriptor) -> anyhow::Result<impl Read + use<>> {
    let mut file: File = tempfile::tempfile()?;
    archive::write(layout, &[image], &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_layouts_and_files_are_told_apart_by_form() {
        for (word, expected) in [
            ("busybox", Image::Reference("busybox".into())),
            ("127.0.0.1:5000/a/b:c", Image::Reference("127.0.0.1:5000/a/b:c".into())),
            ("oci:hello-image:latest", Image::Layout("oci:hello-image:latest".into())),
            ("docker-archive:a.tar:b", Image::Archive("docker-archive:a.tar:b".into())),
            ("oci-archive:a.tar", Image::Archive("oci-archive:a.tar".into())),
            ("app.wasm", Image::File("app.wasm".into())),
            ("./missing", Image::Reference("./missing".into())),
            ("/proc/self/exe", Image::File("/proc/self/exe".into())),
        ] {
            assert_eq!(Image::parse(word).expect("an image"), expected, "{word}");
        }
    }

    #[test]
    fn a_file_that_is_not_wasm_is_refused_in_one_sentence() {
        let error = read_wasm(Path::new("/proc/self/exe")).expect_err("an ELF file").to_string();
        assert!(error.starts_with("`/proc/self/exe` is not Wasm"), "{error}");
        assert!(error.contains("\nhint: it is a native program"), "{error}");
    }
}
