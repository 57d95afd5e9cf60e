//! How a guest ended.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// How a guest ended, in the numbers Docker's users know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; a guest ended by signal `n` has 128 + `n`, a Wasm trap 134 (as SIGABRT). `None` is *unknown*: the
    /// only witness (the zygote or worker) is gone.
    pub code: Option<u8>,
    /// Whether the kernel's or the engine's memory limit ended it.
    pub oom_killed: bool,
    /// One sentence where there is more to say than a number: the trap, the limit, the lost witness.
    pub reason: Option<String>,
    /// When it ended.
    pub at: SystemTime,
}
