//! `package`: makes an image of a Wasm program: the CNCF Wasm OCI artifact, and with a Linux program beside it an index
//! that offers both.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use proa_registry::package::{self, Package};
use proa_registry::{Descriptor, Layout, Reference};

use super::client::Client;
use super::door::Door;
use super::image;

/// `proa package`.
#[derive(Debug, Args)]
pub(crate) struct PackageArgs {
    /// A Wasm module or component
    #[arg(value_name = "APP.WASM")]
    module: PathBuf,
    /// A static Linux program that does the same, for the image's Linux side
    #[arg(long, value_name = "PROGRAM")]
    with_linux: Option<PathBuf>,
    /// The image's name; the file's otherwise
    #[arg(short, long, value_name = "REFERENCE")]
    tag: Option<String>,
    /// Write an OCI image layout here instead of giving the image to the host
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print the digest only
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: PackageArgs, door: impl FnOnce() -> anyhow::Result<Door>) -> anyhow::Result<u8> {
    let package = Package {
        module: image::read_wasm(&args.module)?,
        linux: args.with_linux.as_deref().map(read_linux).transpose()?,
        annotations: Default::default(),
    };
    let reference = match &args.tag {
        Some(tag) => Reference::parse(tag).with_context(|| format!("read the image's name `{tag}`"))?,
        None => name_of(&args.module)?,
    };
    let packed = match &args.output {
        Some(folder) => write(folder, &reference, &package)?,
        None => {
            let scratch = tempfile::tempdir().context("make a scratch folder")?;
            let packed = write(scratch.path(), &reference, &package)?;
            image::load_named(&mut Client::connect(&door()?)?, &Layout::open(scratch.path())?, &packed, &reference)?;
            packed
        }
    };
    let mut out = std::io::stdout();
    if args.quiet {
        writeln!(out, "{}", packed.digest)?;
    } else {
        writeln!(out, "{}@{}", reference.familiar(), packed.digest)?;
    }
    Ok(0)
}

fn write(folder: &Path, reference: &Reference, package: &Package) -> anyhow::Result<Descriptor> {
    let layout = Layout::create(folder).with_context(|| format!("make the image layout `{}`", folder.display()))?;
    package::write(&layout, reference, package).with_context(|| format!("pack `{}`", reference.familiar()))
}

fn read_linux(path: &Path) -> anyhow::Result<Vec<u8>> {
    let program = std::fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
    if !program.starts_with(b"\x7fELF") {
        bail!("`{}` is no Linux program: it does not begin with the ELF magic number", path.display());
    }
    Ok(program)
}

/// The file's name without its ending, in the letters an image's name may have.
fn name_of(module: &Path) -> anyhow::Result<Reference> {
    let stem = module.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Reference::parse(name.trim_matches('-'))
        .with_context(|| format!("make a name of `{}`\nhint: give one with -t", module.display()))
}
