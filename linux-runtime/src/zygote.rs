//! The small single-threaded process that clones Linux sandboxes and is their parent. It is warm beforehand, waits for
//! nothing but its poll, and outlives the host: what *is* (pids, streams, exits nobody has acknowledged) lives here.
//! Knows no images, policy or Wasm: code of our own is registered as entries by whoever starts it.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

mod client;
mod daemon;
mod groups;
mod launch;
mod nest;
pub mod protocol;
mod record;
mod serve;
mod spawn;
mod user_namespace;
pub mod wire;

pub use client::Client;
pub(crate) use launch::{Launched, Namespaces, launch};
pub(crate) use nest::LAYERS;
use spawn::LOG;
pub use spawn::{SOCKET, detached_program, spawn};
pub(crate) use user_namespace::user_namespace;

/// The second half of an entry: given the sandbox's descriptors, it returns the exit status.
pub type Second = Box<dyn FnOnce(Vec<OwnedFd>) -> i32>;

/// Code of our own that a confined sandbox can enter instead of executing a program.
pub struct Entry {
    /// Its name in plans.
    pub name: &'static str,
    /// The first half, called while /proc can still be reached; gives the second, called with the sandbox's
    /// descriptors when nothing can be reached any more. What that returns is the exit status.
    pub build: fn(&[u8]) -> Second,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The zygote's main function, to be called before anything else is touched: the working directory is the run
/// directory. Returns when the starter may go on; the zygote itself goes on in a process of its own.
pub fn main(entries: &'static [Entry]) -> ExitCode {
    daemon::main(entries)
}
