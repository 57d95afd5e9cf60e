//! The four isolation models by the names users type.

use std::fmt;

/// One isolation model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    Wasm,
    WasmProcess,
    Linux,
    LinuxUserns,
}

impl Isolation {
    /// Every model, densest first.
    pub const ALL: [Isolation; 4] = [Isolation::Wasm, Isolation::WasmProcess, Isolation::Linux, Isolation::LinuxUserns];

    /// What `--isolation` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Wasm => "wasm",
            Isolation::WasmProcess => "wasm-process",
            Isolation::Linux => "linux",
            Isolation::LinuxUserns => "linux-userns",
        }
    }

    /// Whether its guests are Wasm.
    pub fn is_wasm(self) -> bool {
        matches!(self, Isolation::Wasm | Isolation::WasmProcess)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
