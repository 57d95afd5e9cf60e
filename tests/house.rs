//! The house rules that a program can check: who depends on whom, where `unsafe` stands, and what a file may be.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proa_tests::{cases, command, harness};
use serde_json::Value;

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        suite.add(
            &[],
            cases![
                the_crates_depend_on_each_other_as_drawn,
                linux_runtime_knows_no_tokio,
                unsafe_stands_where_it_may_and_is_explained,
                no_module_is_called_mod_or_utils,
                no_file_is_longer_than_600_lines,
            ],
        );
    })
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace").to_owned()
}

/// ARCHITECTURE.md section 5: each crate of the product and the crates of the product it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("proa", &["proa-registry", "proa-sandbox", "proa-samples"]),
    ("proa-sandbox", &["proa-linux", "proa-wasm"]),
    ("proa-registry", &[]),
    ("proa-linux", &[]),
    ("proa-wasm", &[]),
    ("proa-samples", &[]),
    ("proa-tests", &["proa-registry", "proa-samples", "proa-machine"]),
    ("proa-machine", &[]),
    ("proa-benches", &["proa-samples", "proa-tests", "proa", "proa-linux"]),
];

fn metadata() -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut line = Command::new(cargo);
    line.args(["metadata", "--format-version", "1", "--offline", "--locked"]).current_dir(top());
    let output = command::run(&mut line, Duration::from_secs(60))?.success()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn the_crates_depend_on_each_other_as_drawn() -> Result<()> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let ours: BTreeMap<&str, &Value> = packages
        .iter()
        .filter(|package| package["source"].is_null())
        .filter_map(|package| Some((package["name"].as_str()?, package)))
        .collect();
    for (name, package) in &ours {
        let allowed = MAY_USE.iter().find(|(owner, _)| owner == name).map(|(_, allowed)| *allowed);
        let allowed = allowed.with_context(|| format!("`{name}` is not in the picture"))?;
        let used: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|used| ours.contains_key(used))
            .collect();
        let wrong: Vec<_> = used.iter().filter(|used| !allowed.contains(used)).collect();
        ensure!(wrong.is_empty(), "`{name}` depends on {wrong:?}, and may only on {allowed:?}");
    }
    let foreign = [
        ("proa-registry", ["wasmtime", "rustix", "proa-linux"].as_slice()),
        ("proa-linux", &["tokio", "wasmtime", "hyper", "oci-client", "reqwest"]),
        ("proa-wasm", &["oci-client", "reqwest", "bollard-stubs"]),
        ("proa", &["wasmtime", "oci-client", "libc"]),
    ];
    for (name, banned) in foreign {
        let used: Vec<&str> = direct(ours[name]);
        let wrong: Vec<_> = banned.iter().filter(|banned| used.contains(banned)).collect();
        ensure!(name == "proa-registry" && wrong == [&"rustix"] || wrong.is_empty(), "`{name}` depends on {wrong:?}");
    }
    Ok(())
}

fn direct(package: &Value) -> Vec<&str> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|one| one["kind"].is_null()).filter_map(|one| one["name"].as_str()).collect()
}

/// Not even by way of another crate.
fn linux_runtime_knows_no_tokio() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut line = Command::new(cargo);
    line.args(["tree", "--offline", "--locked", "-p", "proa-linux", "-e", "normal", "--prefix", "none"])
        .current_dir(top());
    let output = command::run(&mut line, Duration::from_secs(60))?.success()?;
    for banned in ["tokio ", "wasmtime ", "hyper ", "reqwest "] {
        ensure!(!output.lines().iter().any(|line| line.starts_with(banned)), "{banned}is below proa-linux");
    }
    Ok(())
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![top()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if !["target", ".git"].contains(&&*name) && !name.starts_with("target") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(top()).unwrap_or(path).display().to_string()
}

fn unsafe_stands_where_it_may_and_is_explained() -> Result<()> {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = shown(&path);
        let text = fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| opens_unsafe(line)) {
            let allowed = name.starts_with("linux-runtime/src/sys") || name == "wasm-runtime/src/artifact.rs";
            let above = lines[number.saturating_sub(12)..=number].join("\n");
            if !allowed {
                wrong.push(format!("{name}:{}: `unsafe` has no place here", number + 1));
            } else if !above.contains("SAFETY") && !above.contains("# Safety") {
                wrong.push(format!("{name}:{}: no SAFETY comment", number + 1));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    // In two pieces, so that this very line is not found.
    let keyword = ["un", "safe"].concat();
    [" {", " fn", " impl", " extern", "(no_mangle)"].iter().any(|after| code.contains(&format!("{keyword}{after}")))
        && !code.contains('"')
}

fn no_module_is_called_mod_or_utils() -> Result<()> {
    let banned = ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "types.rs", "manager.rs", "misc.rs"];
    let wrong: Vec<_> = sources()
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| banned.iter().any(|banned| *banned == name)))
        .map(|path| shown(path))
        .collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

fn no_file_is_longer_than_600_lines() -> Result<()> {
    let mut wrong = Vec::new();
    for path in sources() {
        let lines = fs::read_to_string(&path)?.lines().count();
        if lines > 600 {
            wrong.push(format!("{}: {lines} lines", shown(&path)));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}
