//! Wasm that is none, or asks for what nobody provides.

use std::fs;

use anyhow::{Result, ensure};
use proa_tests::image::Image;
use proa_tests::shelf::Shelf;
use proa_tests::{Need, Node, Suite, Under, cases, guest};
use serde_json::json;

use proa_tests::Isolation;

const WASM: &[Isolation] = &[Isolation::Wasm, Isolation::WasmProcess];

pub(crate) fn fill(suite: &mut Suite) {
    suite.under(
        WASM,
        &[],
        cases![
            a_file_that_is_not_wasm_is_refused,
            an_artifact_that_is_not_wasm_is_refused,
            an_import_nobody_provides_is_named,
            a_module_without_an_entry_is_refused,
            a_module_that_traps_at_once_ends_with_134,
            every_way_to_pack_a_module_runs,
            a_start_section_that_computes_for_ever_can_be_killed,
            recursion_without_end_is_a_trap,
            a_guest_may_not_take_all_memory,
        ],
    );
    suite.add(
        &[Need::Isolation(Isolation::Wasm)],
        cases![a_bare_wasm_file_runs, an_index_without_wasm_is_refused_as_wasm],
    );
}

fn bare(under: &Under, name: &str, bytes: &[u8]) -> Result<String> {
    let file = under.node.scratch().join(format!("{name}-{}.wasm", under.isolation));
    fs::write(&file, bytes)?;
    Ok(guest::path(&file)?.to_owned())
}

fn run(under: &Under, image: &str, args: &[&str]) -> Result<proa_tests::Output> {
    under.node.proa(&[&["run", "--rm", "-q", "--isolation", under.isolation.name(), image], args].concat())
}

fn a_file_that_is_not_wasm_is_refused(under: &Under) -> Result<()> {
    let wasm = proa_tests::samples::HELLO_COMPONENT;
    let mut flipped = wasm.to_vec();
    flipped[wasm.len() / 3] ^= 0xff;
    let cases: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"#!/bin/sh\necho no\n"),
        ("header", b"\0asm"),
        ("version", b"\0asm\x63\0\0\0"),
        ("half", &wasm[..wasm.len() / 2]),
    ];
    for (name, bytes) in cases {
        let image = bare(under, name, bytes)?;
        run(under, &image, &[])?.refused(125, &[])?;
    }
    // A flipped byte may hit a name or data and still be Wasm; what must never come is a panic.
    let image = bare(under, "flipped", &flipped)?;
    run(under, &image, &[])?.keeps_its_composure().or_else(|error| {
        // The guest itself may panic; its words are its own.
        ensure!(error.to_string().contains("wasm backtrace") || error.to_string().contains("Hello"), "{error}");
        run(under, &image, &[])
    })?;
    Ok(())
}

/// As above, but by a registry: the host sees it first.
fn an_artifact_that_is_not_wasm_is_refused(under: &Under) -> Result<()> {
    let shelf = Shelf::open()?;
    let wasm = proa_tests::samples::HELLO_COMPONENT;
    for (name, bytes) in [("text", b"no wasm here".to_vec()), ("half", wasm[..wasm.len() / 2].to_vec())] {
        let reference = shelf.put(&format!("{name}-{}", under.isolation), &Image::artifact(bytes));
        run(under, &reference, &[])?.refused(125, &["wasm"])?;
    }
    under.node.get("/_ping")?.success()?;
    Ok(())
}

fn an_import_nobody_provides_is_named(under: &Under) -> Result<()> {
    let component = proa_tests::wat::parse_str(
        r#"(component
            (import "acme:rockets/launch@1.2.3" (instance $acme (export "ignite" (func))))
            (core module $m (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#,
    )?;
    let image = bare(under, "import", &component)?;
    run(under, &image, &[])?.refused(125, &["acme:rockets/launch"])?;
    let module = proa_tests::wat::parse_str(
        r#"(module (import "acme" "ignite" (func)) (memory (export "memory") 1) (func (export "_start") call 0))"#,
    )?;
    let image = bare(under, "module-import", &module)?;
    run(under, &image, &[])?.refused(125, &["`acme` `ignite`"])?;
    Ok(())
}

fn a_module_without_an_entry_is_refused(under: &Under) -> Result<()> {
    let module = proa_tests::wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "other")))"#)?;
    let image = bare(under, "no-entry", &module)?;
    run(under, &image, &[])?.refused(125, &["_start"])?;
    let component = proa_tests::wat::parse_str("(component)")?;
    let image = bare(under, "no-entry-component", &component)?;
    run(under, &image, &[])?.refused(125, &["wasi:cli/run"])?;
    Ok(())
}

fn module(under: &Under, name: &str, body: &str) -> Result<String> {
    bare(under, name, &proa_tests::wat::parse_str(format!(r#"(module (memory (export "memory") 1) {body})"#))?)
}

fn a_module_that_traps_at_once_ends_with_134(under: &Under) -> Result<()> {
    let traps = [
        ("unreachable", r#"(func (export "_start") unreachable)"#),
        ("division", r#"(func (export "_start") i32.const 1 i32.const 0 i32.div_s drop)"#),
        ("bounds", r#"(func (export "_start") i32.const -1 i32.load drop)"#),
        ("start", r#"(func $s unreachable) (start $s) (func (export "_start"))"#),
    ];
    for (name, body) in traps {
        let image = module(under, name, body)?;
        let output = run(under, &image, &[])?.exits(134)?;
        ensure!(!output.complaint().is_empty(), "a trap is reported: {output}");
    }
    Ok(())
}

fn every_way_to_pack_a_module_runs(under: &Under) -> Result<()> {
    let shelf = Shelf::open()?;
    let component = proa_tests::samples::PROBE_COMPONENT;
    let compat = |variant: &str| Image::wasi(component, Some(json!({ variant: "compat" })));
    let images = [
        ("artifact", Image::artifact(component.to_vec())),
        ("artifact-module", Image::artifact(proa_tests::samples::PROBE_MODULE.to_vec())),
        ("wasi-wasm", Image::wasi(component, None)),
        ("compat", compat("module.wasm.image/variant")),
    ];
    for (name, image) in images {
        let reference = shelf.put(&format!("{name}-{}", under.isolation), &image);
        let output = run(under, &reference, &["out", name])?.success()?;
        ensure!(output.text() == name, "{output}");
        let output = run(under, &reference, &["args", "first"])?.success()?;
        ensure!(output.text() == "first", "{output}");
    }
    Ok(())
}

fn a_start_section_that_computes_for_ever_can_be_killed(under: &Under) -> Result<()> {
    let body = r#"(func $s (loop br 0)) (start $s) (func (export "_start"))"#;
    let image = module(under, "spin-start", body)?;
    let loaded = under.node.proa(&["package", &image, "-t", &format!("spin-start-{}", under.isolation)])?.success()?;
    let reference = format!("spin-start-{}", under.isolation);
    ensure!(loaded.text().contains(&reference), "{loaded}");
    let container = under.node.detached_image(&["--isolation", under.isolation.name()], &reference, &[])?;
    container.proa(&["kill"])?.success()?;
    ensure!(container.wait()? == 137);
    Ok(())
}

fn recursion_without_end_is_a_trap(under: &Under) -> Result<()> {
    let image = module(under, "recursion", r#"(func $f (export "_start") call $f)"#)?;
    let neighbour = under.node.detached(under.isolation, &[], &["tick", "0.02"])?;
    run(under, &image, &[])?.exits(134)?;
    let seen = neighbour.logs()?.lines().len();
    neighbour.shows("more ticks", |logs| logs.lines().count() > seen + 3)
}

fn a_guest_may_not_take_all_memory(under: &Under) -> Result<()> {
    let body = r#"(func (export "_start")
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 256)) (i32.const -1))))
        unreachable)"#;
    let image = module(under, "grow", body)?;
    let neighbour = under.node.detached(under.isolation, &[], &["tick", "0.02"])?;
    let line = ["run", "--rm", "-m", "64m", "--isolation", under.isolation.name(), &image];
    let output = under.node.proa(&line)?;
    ensure!(output.code() == Some(134) || output.code() == Some(137), "{output}");
    let seen = neighbour.logs()?.lines().len();
    neighbour.shows("more ticks", |logs| logs.lines().count() > seen + 3)
}

fn a_bare_wasm_file_runs() -> Result<()> {
    let node = Node::shared()?;
    let file = node.scratch().join("hello.wasm");
    fs::write(&file, proa_tests::samples::HELLO_COMPONENT)?;
    let output = node.proa(&["run", "--rm", guest::path(&file)?, "sailor"])?.success()?;
    ensure!(output.text() == "Hello, sailor! I am a WASI 0.2 component.", "{output}");
    fs::write(&file, proa_tests::samples::HELLO_MODULE)?;
    let output = node.proa(&["run", "--rm", guest::path(&file)?, "sailor"])?.success()?;
    ensure!(output.text() == "Hello, sailor! I am a WASI 0.1 module.", "{output}");
    Ok(())
}

fn an_index_without_wasm_is_refused_as_wasm() -> Result<()> {
    let node = Node::shared()?;
    let image = guest::bare(node)?;
    for isolation in ["wasm", "wasm-process"] {
        let output = node.proa(&["run", "--rm", "--isolation", isolation, &image, "out", "x"])?;
        output.refused(125, &[isolation])?;
    }
    let output = node.proa(&["run", "--rm", "--pull", "never", "--platform", "wasi/wasm", &image, "out", "x"])?;
    output.refused(125, &["wasi/wasm"])?;
    Ok(())
}
