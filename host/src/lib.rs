//! proa: one node's host. The command line is the binary's and lives beside it, in `cli`.
//!
//! Must not know wasmtime, namespaces or registry wire formats: those live behind `proa-sandbox` and `proa-registry`.
#![forbid(unsafe_code)]

pub mod api;
pub mod checks;
pub mod detach;
pub mod error;
pub mod events;
pub mod files;
pub mod healing;
pub mod host;
pub mod images;
pub mod instructions;
pub mod logging;
pub mod network;
pub mod permit;
pub mod policy;
pub mod ports;
pub mod processes;
pub mod request;
pub mod scheduler;
pub mod serve;
pub mod spec;
pub mod state;
pub mod supervisor;
pub mod timestamp;
pub mod volumes;

pub use error::{Error, Result};
pub use host::Host;

/// 64 hex digits from the kernel's random source: an id in Docker's form.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    // Without flags the call waits for the kernel's pool at boot and cannot fail after it.
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled.ok(), Some(bytes.len()), "the kernel's random source answers 32 bytes at once");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
