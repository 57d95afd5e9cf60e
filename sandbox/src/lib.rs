//! The waist of proa: one confined workload, whatever confines it.
//!
//! Doors (the host, later the containerd shim) speak to [`Runtimes`] and [`Sandbox`]; below stand the two runtimes,
//! strangers to each other. This crate must not know images, the Docker API, scheduling or containerd.
#![forbid(unsafe_code)]

mod error;
mod exit;
mod isolation;
mod linux;
mod output;
mod runtime;
mod wasm;
mod workload;

pub use error::{Error, Kind, Result};
pub use exit::Exit;
pub use isolation::{Isolation, UnknownIsolation};
pub use output::{Chunk, Output, Stdin, Stream};
pub use proa_linux::cgroup::Offers;
pub use runtime::{
    Adopted, Artifact, Availability, Block, Config, ModuleKind, Runtimes, Sandbox, State, Throttling, Usage,
    zygote_main,
};
pub use workload::{Content, Workload};
