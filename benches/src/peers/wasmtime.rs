//! The wasmtime command line, of the same version as the engine inside proa.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::on_path;
use crate::round::{Contender, Found};

/// `wasmtime run` of the hello component, compiled beforehand: its fastest way.
pub fn run_precompiled() -> Result<Found> {
    let name = String::from("wasmtime run, precompiled component");
    let Some(program) = on_path("wasmtime") else {
        let reason = "no `wasmtime` on the PATH (cargo install --locked wasmtime-cli --version 48.0.8)".into();
        return Ok(Found::Missing { name, reason });
    };
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("hello.wasm");
    let code = folder.path().join("hello.cwasm");
    fs::write(&source, proa_samples::HELLO_COMPONENT)?;
    let compiled = Command::new(&program).arg("compile").arg(&source).arg("-o").arg(&code).output()?;
    ensure!(compiled.status.success(), "wasmtime compile: {}", String::from_utf8_lossy(&compiled.stderr).trim());
    let command = move |_| {
        let mut command = Command::new(&program);
        command.args(["run", "--allow-precompiled"]).arg(&code);
        command
    };
    Ok(Found::Ready(Contender { name, ours: false, command: Box::new(command), keep: Box::new(folder) }))
}
