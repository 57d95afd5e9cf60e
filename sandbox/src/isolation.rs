//! The four isolation models, from densest to strongest. What confines a guest, and what it shares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One isolation model (ARCHITECTURE.md, "Isolation, from densest to strongest").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// wasmtime's sandbox, in a worker shared with the same tenant's guests.
    Wasm,
    /// wasmtime's sandbox, in a worker of its own.
    WasmProcess,
    /// Namespaces, cgroup, capabilities, seccomp and masked paths.
    Linux,
    /// The same in a user namespace: root inside is nobody outside.
    LinuxUserns,
}

impl Isolation {
    /// Every model, densest first.
    pub const ALL: [Isolation; 4] = [Isolation::Wasm, Isolation::WasmProcess, Isolation::Linux, Isolation::LinuxUserns];

    /// The name users type: `wasm`, `wasm-process`, `linux` or `linux-userns`.
    pub fn as_str(self) -> &'static str {
        match self {
            Isolation::Wasm => "wasm",
            Isolation::WasmProcess => "wasm-process",
            Isolation::Linux => "linux",
            Isolation::LinuxUserns => "linux-userns",
        }
    }

    /// Whether the guest is a Wasm module or component; otherwise it is a native process.
    pub fn is_wasm(self) -> bool {
        matches!(self, Isolation::Wasm | Isolation::WasmProcess)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of the four models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown isolation `{0}`: the models are `wasm`, `wasm-process`, `linux` and `linux-userns`")]
pub struct UnknownIsolation(pub String);

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(name: &str) -> Result<Self, UnknownIsolation> {
        Isolation::ALL.into_iter().find(|model| model.as_str() == name).ok_or_else(|| UnknownIsolation(name.to_owned()))
    }
}
