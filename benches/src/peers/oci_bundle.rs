//! An OCI bundle of the native hello, for peers that are OCI runtimes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle whose specification is `runtime`'s own default (`runtime spec`), without a terminal, running `/hello`.
pub fn hello(runtime: &Path) -> Result<TempDir> {
    let bundle = tempfile::tempdir()?;
    let root = bundle.path().join("rootfs");
    fs::create_dir(&root)?;
    let program = root.join("hello");
    fs::write(&program, proa_samples::HELLO_LINUX)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let made = Command::new(runtime).arg("spec").current_dir(bundle.path()).output()?;
    ensure!(made.status.success(), "`{} spec`: {}", runtime.display(), String::from_utf8_lossy(&made.stderr).trim());
    let config = bundle.path().join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config)?).context("the runtime's own config.json")?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/hello"]);
    // The machine's own hard limit may be lower, and raising it needs CAP_SYS_RESOURCE.
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("rlimits");
    }
    fs::write(&config, serde_json::to_vec(&spec)?)?;
    Ok(bundle)
}
