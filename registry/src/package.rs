//! Packages: from a .wasm file to a CNCF Wasm OCI artifact (TAG Runtime's Wasm OCI Artifact layout), and with a static
//! Linux binary to one index that offers both. The same input gives the same bytes: no clock, no host name, fixed order.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use wasmparser::{ComponentExternName, Encoding, Parser, Payload};

use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::platform::Platform;
use crate::reference::Reference;

/// 1970-01-01, the only time that is the same for everybody.
const EPOCH: &str = "1970-01-01T00:00:00Z";
/// Where the Linux variant's binary lies in its image.
const BINARY: &str = "app";

/// What goes into an image.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// A Wasm module or component, binary format.
    pub module: Vec<u8>,
    /// A static Linux program, ELF; its architecture is read from it.
    pub linux: Option<Vec<u8>>,
    /// Annotations of the manifest, and of the index where there is one.
    pub annotations: BTreeMap<String, String>,
}

/// Writes `package` into `layout` under `reference`. Gives back the manifest's descriptor, or the index's where the
/// package has a Linux variant.
pub fn write(layout: &Layout, reference: &Reference, package: &Package) -> Result<Descriptor> {
    let wasm = write_wasm(layout, package)?;
    let descriptor = match &package.linux {
        None => wasm,
        Some(binary) => {
            let linux = write_linux(layout, binary, &package.annotations)?;
            let index = json!({
                "schemaVersion": 2,
                "mediaType": media_type::OCI_INDEX,
                "manifests": [wasm, linux],
                "annotations": package.annotations,
            });
            put_json(layout, media_type::OCI_INDEX, &index)?
        }
    };
    layout.set_name(&descriptor, &reference.to_string())?;
    Ok(descriptor)
}

fn write_wasm(layout: &Layout, package: &Package) -> Result<Descriptor> {
    let described = describe(&package.module)?;
    let (digest, size) = layout.put(&package.module)?;
    let mut config = json!({
        "created": EPOCH,
        "architecture": "wasm",
        "os": described.os,
        "layerDigests": [digest],
    });
    if let Some(component) = described.component {
        config["component"] = component;
    }
    let config = put_json(layout, media_type::WASM_CONFIG, &config)?;
    let layer = Descriptor::new(media_type::WASM, digest, size);
    let mut manifest = put_manifest(layout, &config, &layer, &package.annotations)?;
    manifest.platform = Some(Platform::new("wasi", "wasm"));
    Ok(manifest)
}

struct Described {
    os: &'static str,
    component: Option<Value>,
}

/// Reads what the artifact's config says of a Wasm binary: `wasip1` for a module, `wasip2` and its imports and exports
/// for a component.
fn describe(wasm: &[u8]) -> Result<Described> {
    let refuse = |reason: String| Error::Package { what: "Wasm binary", reason };
    if !wasm.starts_with(b"\0asm") {
        return Err(refuse("it does not begin with Wasm's magic number".to_owned()));
    }
    let (mut imports, mut exports, mut depth, mut is_component) = (Vec::new(), Vec::new(), 0u32, false);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|e| refuse(e.to_string()))? {
            Payload::Version { encoding, .. } => {
                is_component |= depth == 0 && encoding == Encoding::Component;
                depth += 1;
            }
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(name_of(import.map_err(|e| refuse(e.to_string()))?.name));
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(name_of(export.map_err(|e| refuse(e.to_string()))?.name));
                }
            }
            _ => {}
        }
    }
    if !is_component {
        return Ok(Described { os: "wasip1", component: None });
    }
    Ok(Described {
        os: "wasip2",
        component: Some(json!({ "exports": exports, "imports": imports, "target": Value::Null })),
    })
}

fn name_of(name: ComponentExternName<'_>) -> String {
    name.name.to_owned()
}

fn write_linux(layout: &Layout, binary: &[u8], annotations: &BTreeMap<String, String>) -> Result<Descriptor> {
    let architecture = elf_architecture(binary)?;
    let tar = tar_of(binary).map_err(|source| Error::ArchiveIo { action: "write", source })?;
    let diff_id = Digest::sha256_of(&tar);
    // No name and no time in the gzip header.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    let compressed = gzip.write_all(&tar).and_then(|()| gzip.finish());
    let compressed = compressed.map_err(|source| Error::ArchiveIo { action: "compress", source })?;
    let (digest, size) = layout.put(&compressed)?;
    let config = json!({
        "created": EPOCH,
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": [format!("/{BINARY}")], "Env": ["PATH=/"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": EPOCH, "created_by": "proa package" }],
    });
    let config = put_json(layout, media_type::OCI_CONFIG, &config)?;
    let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size);
    let mut manifest = put_manifest(layout, &config, &layer, annotations)?;
    manifest.platform = Some(Platform::new("linux", architecture));
    Ok(manifest)
}

/// The architecture of a 64-bit ELF program, by Go's name for it (ELF header, e_machine).
fn elf_architecture(binary: &[u8]) -> Result<&'static str> {
    let refuse = |reason: &str| Error::Package { what: "Linux binary", reason: reason.to_owned() };
    if !binary.starts_with(b"\x7fELF") || binary.len() < 64 {
        return Err(refuse("it is not an ELF program"));
    }
    let (is_64_bit, is_little) = (binary[4] == 2, binary[5] == 1);
    match u16::from_le_bytes([binary[18], binary[19]]) {
        62 if is_64_bit && is_little => Ok("amd64"),
        183 if is_64_bit && is_little => Ok("arm64"),
        243 if is_64_bit && is_little => Ok("riscv64"),
        _ => Err(refuse("its architecture is neither amd64, arm64 nor riscv64")),
    }
}

fn tar_of(binary: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(binary.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, BINARY, binary)?;
    builder.into_inner()
}

fn put_manifest(
    layout: &Layout,
    config: &Descriptor,
    layer: &Descriptor,
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": [layer],
    });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    put_json(layout, media_type::OCI_MANIFEST, &manifest)
}

fn put_json(layout: &Layout, media_type: &str, value: &Value) -> Result<Descriptor> {
    let (digest, size) = layout.put(value.to_string().as_bytes())?;
    Ok(Descriptor::new(media_type, digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{self, ImageKind};

    /// The smallest module and the smallest component there are.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        (dir, layout)
    }

    fn elf() -> Vec<u8> {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf
    }

    #[test]
    fn a_module_becomes_the_artifact_and_reads_back_as_wasm() {
        let (_dir, layout) = layout();
        let reference = Reference::parse("x").unwrap();
        let package = Package { module: MODULE.to_vec(), ..Package::default() };
        let descriptor = write(&layout, &reference, &package).unwrap();
        let variants = image::variants(&layout, &descriptor).unwrap();
        assert!(variants.len() == 1 && variants[0].wasm && variants[0].present);
        let image = image::image(&layout, &descriptor).unwrap();
        let ImageKind::WasmBlob(blob) = &image.kind else { panic!("{image:?}") };
        assert_eq!(layout.read(blob, 100).unwrap(), MODULE);
        assert_eq!(layout.find_name(Some("docker.io/library/x:latest")).unwrap().digest, descriptor.digest);
    }

    #[test]
    fn the_config_tells_modules_from_components() {
        assert_eq!(describe(MODULE).unwrap().os, "wasip1");
        let component = describe(COMPONENT).unwrap();
        assert!(component.os == "wasip2" && component.component.is_some());
        assert!(describe(b"#!/bin/sh").is_err());
        assert!(describe(b"\0asm\x01\0\0\0\xff").is_err());
    }

    #[test]
    fn both_variants_share_one_index_and_the_bytes_repeat() {
        let (reference, package) = (
            Reference::parse("x").unwrap(),
            Package { module: COMPONENT.to_vec(), linux: Some(elf()), ..Package::default() },
        );
        let ((_a, one), (_b, two)) = (layout(), layout());
        let descriptor = write(&one, &reference, &package).unwrap();
        assert_eq!(descriptor, write(&two, &reference, &package).unwrap());
        let platforms: Vec<String> =
            image::variants(&one, &descriptor).unwrap().iter().map(|v| v.platform.to_string()).collect();
        assert_eq!(platforms, ["wasi/wasm", "linux/amd64"]);
    }

    #[test]
    fn what_is_not_an_elf_program_is_refused() {
        let (_dir, layout) = layout();
        let package = Package { module: MODULE.to_vec(), linux: Some(b"#!/bin/sh".to_vec()), ..Package::default() };
        let message = write(&layout, &Reference::parse("x").unwrap(), &package).unwrap_err().to_string();
        assert!(message.contains("not an ELF"), "{message}");
    }
}
