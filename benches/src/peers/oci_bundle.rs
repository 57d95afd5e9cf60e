//! An OCI bundle of the native hello, for peers that are OCI runtimes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::on_path;

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

/// A bundle of busybox `true`, whose specification is runc's default one without a terminal, changed by `change`.
///
/// # Errors
/// When there is no runc or no static busybox.
pub fn busybox_true(change: impl FnOnce(&mut Value)) -> Result<TempDir> {
    let runc = on_path("runc").or_else(|| Some(PathBuf::from("/usr/sbin/runc")).filter(|path| path.is_file()));
    let runc = runc.context("no `runc`, whose default specification is run (apt install runc)")?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.context("no static busybox (apt install busybox-static)")?;
    let bundle = tempfile::tempdir()?;
    let root = bundle.path().join("rootfs");
    for name in ["bin", "proc", "dev", "sys"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    for name in ["true", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
    }
    let made = Command::new(runc).arg("spec").current_dir(bundle.path()).output()?;
    ensure!(made.status.success(), "`runc spec`: {}", String::from_utf8_lossy(&made.stderr).trim());
    let config = bundle.path().join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config)?).context("runc's own config.json")?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/true"]);
    change(&mut spec);
    fs::write(&config, serde_json::to_vec(&spec)?)?;
    Ok(bundle)
}

/// The bundle's root as a tar archive, which engines import.
///
/// # Errors
/// When tar cannot pack it.
pub fn pack(bundle: &TempDir, archive: &Path) -> Result<()> {
    let root = bundle.path().join("rootfs");
    let packed = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(archive).arg(".").status()?;
    ensure!(packed.success(), "tar could not pack the root");
    Ok(())
}
