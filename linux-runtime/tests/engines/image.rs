//! The one image of the suite, made here: a root of busybox, as a plain archive and as an OCI layout.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

/// Applets the cases use, found in /bin.
const APPLETS: [&str; 30] = [
    "cat", "chmod", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ls", "mkdir", "mknod", "mount",
    "nproc", "printf", "ps", "pwd", "readlink", "sed", "sh", "sleep", "stat", "stty", "tail", "touch", "true", "tty",
    "umount", "wc",
];

/// Makes the root in `folder` and packs it: the archive's path.
pub(crate) fn archive(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("image");
    for name in ["bin", "proc", "dev", "sys", "tmp", "etc", "root", "var", "run"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(command::found("busybox").context("`busybox` is not installed")?, root.join("bin/busybox"))?;
    for name in APPLETS {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nsailor:x:1000:1000::/tmp:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nsailor:x:1000:\ndeck:x:2000:sailor\n")?;
    fs::write(root.join("etc/plain"), "not a program\n")?;
    let archive = folder.join("image.tar");
    tar(&root, &archive)?;
    Ok(archive)
}

/// An OCI layout of the same, packed for `ctr images import`, which names it `name`.
pub(crate) fn layout(folder: &Path, name: &str) -> Result<PathBuf> {
    let layer = archive(folder)?;
    let layout = folder.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let layer = blob(&layout, "application/vnd.oci.image.layer.v1.tar", &fs::read(layer)?)?;
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = blob(&layout, "application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config)?)?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let mut manifest = blob(&layout, kind, &serde_json::to_vec(&manifest)?)?;
    manifest["annotations"] = serde_json::json!({ "io.containerd.image.name": name });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    let archive = folder.join("layout.tar");
    tar(&layout, &archive)?;
    Ok(archive)
}

fn blob(layout: &Path, kind: &str, content: &[u8]) -> Result<serde_json::Value> {
    let fresh = layout.join("blob");
    fs::write(&fresh, content)?;
    let mut sum = Command::new("sha256sum");
    let digest = command::run(sum.arg(&fresh))?.text()?;
    let digest = digest.split_whitespace().next().context("sha256sum prints a digest")?;
    fs::rename(&fresh, layout.join("blobs/sha256").join(digest))?;
    Ok(serde_json::json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": content.len() }))
}

fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let packed = Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(archive).arg(".").status()?;
    ensure!(packed.success(), "tar could not pack `{}`", folder.display());
    Ok(())
}
