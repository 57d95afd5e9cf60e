//! What somebody wants run, before a model has been planned for it: plain data, no handles.

use std::path::PathBuf;

use oci_spec::runtime::Spec;

use crate::isolation::Isolation;
use crate::runtime::Artifact;

/// What somebody wants run: an OCI runtime specification, the model that confines it, and its content.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The container's id: 1 to 128 of `[a-zA-Z0-9_.-]`, unique on the node. The Docker API's 64 hex digits fit.
    pub id: String,
    /// Whose workloads may share a worker.
    pub tenant: String,
    /// The model chosen by the scheduler within what policy allows.
    pub isolation: Isolation,
    /// Process, mounts, hostname, namespaces and limits (runtime-spec 1.2). For Wasm: `process.args`, `process.env`,
    /// bind mounts (preopened directories) and `linux.resources` count, the rest has no meaning there.
    pub spec: Spec,
    /// The files or the compiled module.
    pub content: Content,
    /// Whether the guest's standard input stays open for writers (`-i`); otherwise it is empty.
    pub stdin: bool,
    /// Whether a first process of ours reaps and passes signals on to a native guest's program (`--init`).
    pub init: bool,
}

/// What a workload runs.
#[derive(Debug, Clone)]
pub enum Content {
    /// A native root file system: unpacked layers (read-only, lowest first) and the container's own folder, in which
    /// the runtime makes `upper` and `work`. What the guest wrote stays there from start to start; its owner removes it.
    Layers { lower: Vec<PathBuf>, scratch: PathBuf },
    /// A compiled Wasm module or component, and the image's own files where it has any besides the module
    /// (preopened read-only at `/`).
    Module { artifact: Artifact, files: Option<PathBuf> },
}
