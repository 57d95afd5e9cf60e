//! Runs WebAssembly under wasmtime: WASI 0.1 modules, WASI 0.2 commands and `wasi:http` components.
//!
//! A *worker* holds one engine and many guests; a *compiler* turns untrusted Wasm into native code. Both are entered
//! inside a sandbox somebody else has made: this crate must not know namespaces, cgroups, images, registries or host
//! paths. It is given handles and bytes.
//!
//! Reading order: [`plan`](Plan) says what a guest may touch, [`compiler`] and [`Artifact`] bring its code in,
//! `guest` runs it, [`worker`] keeps many of them and speaks to the host.
#![deny(unsafe_code)]

mod artifact;
pub mod compiler;
mod descriptor;
mod engine;
mod error;
mod facts;
mod grant;
mod guest;
mod limits;
mod plan;
mod preopens;
mod wasi;
pub mod worker;

pub use artifact::{Artifact, CODE};
pub use descriptor::watch;
pub use engine::{Engine, fingerprint};
pub use error::{Error, Result};
pub use facts::{Facts, ModuleKind};
pub use grant::Grant;
pub use plan::{DEFAULT_MEMORY, Plan, Setting};
