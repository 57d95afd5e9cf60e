//! proa-linux: runs native processes in sandboxes made of the kernel's parts, by plans that can be read beforehand.
//!
//! A [`Plan`] is a specification lowered to steps: plain data. [`Prepared`] executes the host's steps, the
//! [`zygote`] its own, and the cloned child the rest, up to execve. This crate knows the OCI runtime specification and
//! the kernel; it must not know images, registries, Wasm, HTTP, tokio or policy.
#![deny(unsafe_code)]

pub mod agent;
pub mod cgroup;
mod document;
mod error;
mod facts;
mod failure;
mod features;
mod init;
mod plan;
mod prepare;
mod sandbox;
mod seccomp;
mod step;
mod sys;
pub mod zygote;

pub use document::{is_bind, read_container, read_process};
pub use error::{Error, Result};
pub use facts::Facts;
pub use features::features;
pub use plan::{Confinement, Direct, Files, Join, Plan, Request, SUBORDINATE, Streams, WORKER_ID};
pub use prepare::Prepared;
pub use sandbox::{Sandbox, Told, listener, start_at};
pub use step::{
    Action, Actor, Beneath, Change, HookKind, IdMap, Lower, Node, Scheduling, SecurityModule, Slot, Step, Target,
};
pub use sys::{Instruction, Signals, exit_code, send_signal};
pub use zygote::Entry;
