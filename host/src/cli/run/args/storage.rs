//! Flags about a container's files.

use clap::Args;

/// What it sees of the node's files, and its own.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// Mount a directory, file or volume
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]")]
    pub(crate) volume: Vec<String>,
    /// Mount as Docker describes mounts: type=bind|volume|tmpfs,source=...,target=...
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub(crate) mount: Vec<String>,
    /// Mount a file system in memory
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Mount what another container mounts
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(crate) volumes_from: Vec<String>,
    /// Who keeps its volumes
    #[arg(long, value_name = "DRIVER")]
    pub(crate) volume_driver: Option<String>,
    /// Give a Wasm guest a directory, as wasmtime does; without GUEST under the same name
    #[arg(long, value_name = "HOST[::GUEST]")]
    pub(crate) dir: Vec<String>,
    /// Make its root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,
    /// Set an option of the storage driver
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) storage_opt: Vec<String>,
}
