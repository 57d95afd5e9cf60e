//! podman: an engine without a daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};

use super::on_path;
use crate::round::{Contender, Found};

const LIMITS: [&str; 4] = ["--ulimit", "nofile=10000:10000", "--ulimit", "nproc=1000:1000"];
const IMAGE: &str = "localhost/proa-bench-hello:latest";

/// `podman run --rm --network none` of the native hello.
pub fn run() -> Result<Found> {
    let name = String::from("podman run --rm --network none");
    let Some(program) = on_path("podman") else {
        return Ok(Found::Missing { name, reason: "no `podman` on the PATH".into() });
    };
    import()?;
    // Without CAP_SYS_RESOURCE podman cannot raise limits as it does by default, and podman 4.3 does so even with
    // `--ulimit host`; low ones can be had everywhere.
    let command = move |_| {
        let mut command = Command::new(&program);
        command.args(["run", "--rm", "--network", "none"]).args(LIMITS).args([IMAGE, "/hello"]);
        command
    };
    let trial = command(0).output()?;
    if !trial.status.success() {
        let reason = String::from_utf8_lossy(&trial.stderr).trim().to_owned();
        return Ok(Found::Missing { name, reason });
    }
    Ok(Found::Ready(Contender { name, ours: false, command: Box::new(command), keep: Box::new(Imported) }))
}

fn import() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hello = folder.path().join("hello");
    fs::write(&hello, proa_samples::HELLO_LINUX)?;
    fs::set_permissions(&hello, fs::Permissions::from_mode(0o755))?;
    let archive = folder.path().join("hello.tar");
    let packed = Command::new("tar").arg("-C").arg(folder.path()).arg("-cf").arg(&archive).arg("hello").status()?;
    ensure!(packed.success(), "tar could not pack the sample");
    let imported = Command::new("podman").arg("import").arg(&archive).arg(IMAGE).output()?;
    ensure!(imported.status.success(), "podman import: {}", String::from_utf8_lossy(&imported.stderr).trim());
    Ok(())
}

/// Removes the image when the bench is over.
struct Imported;

impl Drop for Imported {
    fn drop(&mut self) {
        let _ = Command::new("podman").args(["rmi", "--force", IMAGE]).output();
    }
}
