//! What a module turned out to be: found by the compiler, read by `plan`.

use serde::{Deserialize, Serialize};

/// How a module is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleKind {
    /// A core module with `_start` (WASI 0.1).
    Module,
    /// A component exporting `wasi:cli/run` (WASI 0.2).
    Command,
    /// A component exporting `wasi:http/incoming-handler` (WASI 0.2).
    Http,
}

impl ModuleKind {
    /// The world it is run in, as its authors write it.
    pub fn world(self) -> &'static str {
        match self {
            ModuleKind::Module => "wasi_snapshot_preview1",
            ModuleKind::Command => "wasi:cli/command@0.2",
            ModuleKind::Http => "wasi:http/proxy@0.2",
        }
    }
}

/// What a module is and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub kind: ModuleKind,
    /// Names of its imports, sorted, each once: `wasi_snapshot_preview1`, or `wasi:cli/environment@0.2.3`.
    pub imports: Vec<String>,
}
