//! Builds the guests with a target folder of their own, so that this works inside any build of the workspace, and
//! copies them to OUT_DIR under the names that `lib.rs` embeds.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is built: target, packages, and the end of the embedded files' names.
const BUILDS: [(&str, &[&str], &str); 3] = [
    ("wasm32-wasip2", &["hello", "http", "keep", "probe"], "component.wasm"),
    ("wasm32-wasip1", &["hello", "probe"], "module.wasm"),
    ("x86_64-unknown-linux-musl", &["hello", "probe"], "linux"),
];

const WATCHED: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "hello/src", "http/src", "http/Cargo.toml", "keep/src", "probe/src"];

fn main() -> Result<(), Box<dyn Error>> {
    let guests = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("guests");
    let out = PathBuf::from(variable("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    for path in WATCHED {
        println!("cargo::rerun-if-changed={}", guests.join(path).display());
    }
    if let Some(missing) = missing_targets()? {
        println!("cargo::error=the guests need targets that are not installed: rustup target add {missing}");
        return Ok(());
    }
    for (target, packages, ending) in BUILDS {
        if !build(&guests, &out.join("guests"), target, packages)? {
            println!("cargo::error=the guests do not build for `{target}`; cargo says why above");
            return Ok(());
        }
        for package in packages {
            let built = out.join("guests").join(target).join("release").join(file_name(package, target));
            fs::copy(&built, out.join(format!("{package}-{ending}")))?;
        }
    }
    Ok(())
}

fn variable(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("cargo sets `{name}` for build scripts").into())
}

fn file_name(package: &str, target: &str) -> String {
    if target.starts_with("wasm32") { format!("{package}.wasm") } else { package.to_owned() }
}

/// The targets whose standard library is absent, as arguments of `rustup target add`.
fn missing_targets() -> Result<Option<String>, Box<dyn Error>> {
    let mut missing = Vec::new();
    for (target, ..) in BUILDS {
        let folder =
            Command::new(variable("RUSTC")?).args(["--print", "target-libdir", "--target", target]).output()?.stdout;
        if !Path::new(String::from_utf8(folder)?.trim()).is_dir() {
            missing.push(target);
        }
    }
    Ok((!missing.is_empty()).then(|| missing.join(" ")))
}

fn build(guests: &Path, target_folder: &Path, target: &str, packages: &[&str]) -> Result<bool, Box<dyn Error>> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(guests).args(["build", "--release", "--locked", "--target", target]);
    cargo.arg("--target-dir").arg(target_folder);
    for package in packages {
        cargo.args(["--package", package]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(steers_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    Ok(cargo.status()?.success())
}

/// Whether a variable is meant for the build around this one. Left in place, clippy's wrapper would check the guests
/// instead of building them, and flags for the host's linker would reach wasm-ld.
fn steers_the_outer_build(name: &str) -> bool {
    const EXACT: [&str; 8] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
        "CARGO_INCREMENTAL",
        "CLIPPY_ARGS",
        "TARGET",
    ];
    const BEGINNINGS: [&str; 6] =
        ["CARGO_BUILD_", "CARGO_CFG_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_FEATURE_", "CARGO_PKG_"];
    EXACT.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}
