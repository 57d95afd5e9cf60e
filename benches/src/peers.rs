//! One file per peer: how it is asked to do the job, and why it may be missing.

pub mod crun;
pub mod docker;
pub mod floor;
pub mod oci_bundle;
pub mod podman;
pub mod proa;
pub mod runtime;
pub mod wasmtime;

use std::path::PathBuf;

/// The program `name` on the PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
