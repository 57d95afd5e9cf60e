//! The sample guests as images: packed by the program's own verb, loaded by the API.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::image::{Image, Recipe};
use crate::node::Node;
use crate::tarball::Tarball;

static FOLDER: OnceLock<TempDir> = OnceLock::new();
static PACKED: Mutex<Option<HashMap<&'static str, PathBuf>>> = Mutex::new(None);

/// A folder that lives as long as the suite.
fn folder() -> Result<&'static Path> {
    if FOLDER.get().is_none() {
        let fresh = tempfile::Builder::new().prefix("proa-test-guests-").tempdir()?;
        let _ = FOLDER.set(fresh);
    }
    Ok(FOLDER.get().expect("it was just set").path())
}

/// The folder for what must be removed when the suite ends, since statics are never dropped.
pub(crate) fn clean_up() {
    if let Some(folder) = FOLDER.get() {
        let _ = fs::remove_dir_all(folder.path());
    }
}

/// The probe as one index for both platforms, an OCI layout.
///
/// # Errors
/// When `proa package` fails.
pub fn probe_layout(node: &Node) -> Result<&'static Path> {
    packed(node, "probe", proa_samples::PROBE_COMPONENT, Some(proa_samples::PROBE_LINUX))
}

/// The HTTP sample, an OCI layout.
///
/// # Errors
/// When `proa package` fails.
pub fn http_layout(node: &Node) -> Result<&'static Path> {
    packed(node, "http", proa_samples::HTTP_COMPONENT, None)
}

/// Packs `wasm` once a suite with `proa package`.
///
/// # Errors
/// When it fails.
pub fn packed(node: &Node, name: &'static str, wasm: &[u8], linux: Option<&[u8]>) -> Result<&'static Path> {
    let mut known = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_with(HashMap::new);
    if !known.contains_key(name) {
        known.insert(name, pack(node, name, wasm, linux)?);
    }
    // The folder is never removed before the suite ends, and a suite packs a handful of guests.
    Ok(Box::leak(known[name].clone().into_boxed_path()))
}

fn pack(node: &Node, name: &str, wasm: &[u8], linux: Option<&[u8]>) -> Result<PathBuf> {
    let module = folder()?.join(format!("{name}.wasm"));
    let binary = folder()?.join(name);
    let layout = folder()?.join(format!("{name}-image"));
    fs::write(&module, wasm)?;
    let mut line = vec!["package", path(&module)?];
    if let Some(linux) = linux {
        fs::write(&binary, linux)?;
        line.extend(["--with-linux", path(&binary)?]);
    }
    line.extend(["-t", name, "-o", path(&layout)?]);
    node.proa(&line)?.success()?;
    Ok(layout)
}

/// A static busybox from the machine as an image, `/bin/sh` and the usual names beside it.
///
/// # Errors
/// When the machine has none or the node refuses it.
pub fn busybox(node: &Node) -> Result<String> {
    let layout = folder()?.join("busybox-image");
    static MADE: Mutex<bool> = Mutex::new(false);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !*made {
        busybox_image()?.write_layout(&layout, "docker.io/library/busybox:latest")?;
        *made = true;
    }
    drop(made);
    node.load(&layout)
}

/// The image that [`busybox`] loads.
///
/// # Errors
/// When the machine has no busybox.
pub fn busybox_image() -> Result<Image> {
    let recipe = Recipe { command: &["/bin/sh"], env: &["PATH=/bin"], gzip: true, ..Recipe::default() };
    Ok(Image::native(&recipe, vec![busybox_layer()?]))
}

/// The one layer of [`busybox_image`].
///
/// # Errors
/// When the machine has no busybox.
pub fn busybox_layer() -> Result<Vec<u8>> {
    let program = fs::read("/bin/busybox").context("reading /bin/busybox (Debian: busybox-static)")?;
    let layer =
        ["etc/", "root/", "tmp/", "home/"].iter().fold(Tarball::new().folder("bin/"), |tar, name| tar.folder(name));
    let layer = layer.file("bin/busybox", 0o755, &program);
    let layer = APPLETS.iter().fold(layer, |tar, name| tar.symlink(&format!("bin/{name}"), "busybox"));
    let layer = layer
        .file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n")
        .file("etc/group", 0o644, b"root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n");
    Ok(layer.finish())
}

/// The native probe as `/probe` and `/second`, in an image that sets no environment and no working directory.
///
/// # Errors
/// When the node refuses it.
pub fn bare(node: &Node) -> Result<String> {
    let layout = folder()?.join("bare-image");
    static MADE: Mutex<bool> = Mutex::new(false);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !*made {
        let layer = Tarball::new().file("probe", 0o755, proa_samples::PROBE_LINUX);
        let layer = layer.file("second", 0o755, proa_samples::PROBE_LINUX).finish();
        let recipe = Recipe { entrypoint: &["/probe"], ..Recipe::default() };
        Image::native(&recipe, vec![layer]).write_layout(&layout, "docker.io/library/bare:latest")?;
        *made = true;
    }
    drop(made);
    node.load(&layout)
}

const APPLETS: &[&str] = &[
    "sh",
    "ls",
    "cat",
    "echo",
    "id",
    "mount",
    "umount",
    "ps",
    "sleep",
    "hostname",
    "env",
    "true",
    "false",
    "touch",
    "mkdir",
    "rm",
    "chmod",
    "chown",
    "stat",
    "dd",
    "head",
    "tail",
    "wc",
    "grep",
    "sed",
    "kill",
    "test",
    "pwd",
    "ip",
    "ifconfig",
    "mknod",
    "unshare",
    "tty",
    "stty",
    "httpd",
    "wget",
    "nc",
    "tar",
    "find",
    "seq",
    "sha256sum",
    "yes",
    "printf",
    "sync",
    "date",
    "uname",
    "dmesg",
    "cp",
    "mv",
    "ln",
    "readlink",
    "usleep",
    "trap",
    "ping",
    "chroot",
];

/// Every file below `folder` in one archive.
///
/// # Errors
/// When a file cannot be read.
pub fn tar_of(folder: &Path) -> Result<Vec<u8>> {
    let mut tar = Tarball::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let name = entry.path();
            let name = name.strip_prefix(folder)?.to_str().context("a name in UTF-8")?;
            tar = tar.file(name, 0o644, &fs::read(entry.path())?);
        }
    }
    Ok(tar.finish())
}

/// What the probe's `blob` prints: xorshift64 from the seed 1, eight bytes at a time in little endian.
pub fn blob(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A path as text.
///
/// # Errors
/// When it is not UTF-8.
pub fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))
}
