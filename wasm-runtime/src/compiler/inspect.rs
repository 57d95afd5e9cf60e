//! Reads a module's outside: how it is entered and what it imports. Before the engine sees it, so that a module nobody
//! can link is refused in a moment, and in a sentence that names the import.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{ComponentExternalKind, Encoding, ExternalKind, Parser, Payload};

use crate::error::{Error, Result};
use crate::facts::{Facts, ModuleKind};
use crate::wasi::{INTERFACES, PREVIEW1};

/// What stands at the outermost level of a module or component.
#[derive(Debug, Default)]
struct Outside {
    component: bool,
    /// By name; a core module's have a first field each.
    imports: BTreeMap<String, Option<String>>,
    exports: BTreeSet<String>,
}

/// Says what `bytes` are.
///
/// # Errors
/// `Refused` with one sentence: not Wasm, no entry point, or an import nobody provides, named.
pub fn inspect(bytes: &[u8]) -> Result<Facts> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Error::Refused("this is not WebAssembly: it does not begin with `\\0asm`".to_owned()));
    }
    let outside = read(bytes).map_err(|error| Error::Refused(format!("this is not valid WebAssembly: {error}")))?;
    let kind = entry(&outside)?;
    match outside.imports.iter().find(|(import, _)| !provided(outside.component, import)) {
        Some((import, field)) => Err(Error::Refused(unprovided(import, field.as_deref()))),
        None => Ok(Facts { kind, imports: outside.imports.into_keys().collect() }),
    }
}

fn read(bytes: &[u8]) -> wasmparser::Result<Outside> {
    let mut outside = Outside::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } if depth == 0 => outside.component = encoding == Encoding::Component,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ImportSection(section) if depth == 0 => {
                for import in section.into_imports() {
                    let import = import?;
                    outside.imports.entry(import.module.to_owned()).or_insert_with(|| Some(import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        outside.exports.insert(export.name.to_owned());
                    }
                }
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    outside.imports.insert(import?.name.name.to_owned(), None);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        outside.exports.insert(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(outside)
}

fn entry(outside: &Outside) -> Result<ModuleKind> {
    let exports = |interface: &str| outside.exports.iter().any(|name| version_0_2(name, interface));
    if outside.component {
        if exports("wasi:cli/run") {
            Ok(ModuleKind::Command)
        } else if exports("wasi:http/incoming-handler") {
            Ok(ModuleKind::Http)
        } else {
            let sentence = "the component has no entry: it exports neither `wasi:cli/run` nor \
                            `wasi:http/incoming-handler` of WASI 0.2";
            Err(Error::Refused(sentence.to_owned()))
        }
    } else if outside.exports.contains("_start") {
        Ok(ModuleKind::Module)
    } else {
        Err(Error::Refused("the module has no entry: it does not export a function `_start`".to_owned()))
    }
}

fn provided(component: bool, import: &str) -> bool {
    match component {
        true => INTERFACES.iter().any(|interface| version_0_2(import, interface)),
        false => import == PREVIEW1,
    }
}

/// Whether `name` is `interface` in any version 0.2.x; these are compatible with one another.
fn version_0_2(name: &str, interface: &str) -> bool {
    name.strip_prefix(interface)
        .and_then(|rest| rest.strip_prefix("@0.2."))
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Worlds outside WASI 0.2's command and proxy, by the package that belongs to them.
const WORLDS: &[(&str, &str)] = &[
    ("wasi:blobstore/", "wasi:blobstore/imports"),
    ("wasi:config/", "wasi:config/imports"),
    ("wasi:keyvalue/", "wasi:keyvalue/imports"),
    ("wasi:logging/", "wasi:logging/imports"),
    ("wasi:messaging/", "wasi:messaging/imports-request-reply"),
    ("wasi:nn/", "wasi:nn/ml"),
    ("wasi:tls/", "wasi:tls/imports"),
    ("wasi:cli/", "wasi:cli/command"),
    ("wasi:clocks/", "wasi:cli/command"),
    ("wasi:filesystem/", "wasi:cli/command"),
    ("wasi:io/", "wasi:cli/command"),
    ("wasi:random/", "wasi:cli/command"),
    ("wasi:sockets/", "wasi:cli/command"),
    ("wasi:http/", "wasi:http/proxy"),
    ("env", "a browser's or another runtime's `env`"),
];

/// One sentence naming an import nobody provides, and the world that would.
pub(super) fn unprovided(import: &str, field: Option<&str>) -> String {
    let shown = field.map_or_else(|| format!("`{import}`"), |field| format!("`{import}` `{field}`"));
    let world = WORLDS.iter().find(|(prefix, _)| import.starts_with(prefix)).map(|(_, world)| *world);
    match (world, import.split_once('@')) {
        (Some(world), Some((_, version))) if world.starts_with("wasi:") => {
            let version = version.split('.').take(2).collect::<Vec<_>>().join(".");
            format!("it imports {shown}, which nothing here provides; the world `{world}@{version}` would")
        }
        (Some(world), _) if world.starts_with("wasi:") => {
            format!("it imports {shown}, which nothing here provides; the world `{world}` would")
        }
        (Some(other), _) => format!("it imports {shown}, which nothing here provides; it belongs to {other}"),
        (None, _) => format!("it imports {shown}, which nothing here provides, nor does any world of WASI 0.2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(ModuleKind, &[&str]), &str>) {
        let found = inspect(&wat::parse_str(text).unwrap());
        match (found, expected) {
            (Ok(facts), Ok((kind, imports))) => {
                assert_eq!(facts.kind, kind);
                assert_eq!(facts.imports, imports);
            }
            (Err(error), Err(part)) => {
                let sentence = error.to_string();
                assert!(sentence.contains(part), "`{part}` is not in `{sentence}`");
            }
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_core_module_with_start_is_a_module() {
        check(r#"(module (func (export "_start")))"#, Ok((ModuleKind::Module, &[])));
    }

    #[test]
    fn a_core_module_without_start_has_no_entry() {
        check(r#"(module (func (export "_initialize")))"#, Err("`_start`"));
    }

    #[test]
    fn a_component_is_named_by_what_it_exports() {
        check(
            r#"(component (import "wasi:cli/environment@0.2.7" (instance))
                (instance $run) (export "wasi:cli/run@0.2.3" (instance $run)))"#,
            Ok((ModuleKind::Command, &["wasi:cli/environment@0.2.7"])),
        );
        check(
            r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
            Ok((ModuleKind::Http, &[])),
        );
    }

    #[test]
    fn an_import_nobody_provides_is_named_with_its_world() {
        check(
            r#"(component (import "wasi:keyvalue/store@0.2.0-draft" (instance))
                (instance $run) (export "wasi:cli/run@0.2.3" (instance $run)))"#,
            Err(
                "`wasi:keyvalue/store@0.2.0-draft`, which nothing here provides; the world `wasi:keyvalue/imports@0.2`",
            ),
        );
        check(
            r#"(component (import "wasi:cli/environment@0.3.0" (instance))
                (instance $run) (export "wasi:cli/run@0.2.3" (instance $run)))"#,
            Err("the world `wasi:cli/command@0.3` would"),
        );
        check(r#"(module (import "env" "alert" (func)) (func (export "_start")))"#, Err("imports `env` `alert`,"));
    }

    #[test]
    fn bytes_that_are_not_wasm_are_refused_in_a_sentence() {
        let sentence = inspect(b"#!/bin/sh").unwrap_err().to_string();
        assert!(sentence.contains("not WebAssembly"), "{sentence}");
        let sentence = inspect(b"\0asm\x01\0\0\0\xff").unwrap_err().to_string();
        assert!(sentence.contains("not valid WebAssembly"), "{sentence}");
    }
}
