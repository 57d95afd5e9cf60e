//! The crate's one error.

use std::io;

/// What was attempted, on what; the cause is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The specification asks for what cannot be lowered to steps.
    #[error("{0}")]
    Plan(String),
    /// A string of the specification holds a NUL byte.
    #[error("{what} contains a NUL byte")]
    Nul { what: &'static str },
    /// This machine or user lacks something the plan needs.
    #[error("{0}")]
    Lacks(String),
    /// A host-side step failed.
    #[error("step {number} of {of}: {what}")]
    Prepare { number: usize, of: usize, what: String, source: io::Error },
    /// The wire between host and zygote.
    #[error("talk to the zygote: {what}")]
    Wire { what: &'static str, source: io::Error },
    /// A message of the wire that could not be read.
    #[error("decode a message of the zygote's wire")]
    Decode(#[source] postcard::Error),
    /// The zygote could not be started.
    #[error("start the zygote: {what}")]
    Zygote { what: &'static str, source: io::Error },
    /// The zygote's own sentence.
    #[error("{}", .0.text)]
    Refused(crate::zygote::protocol::Failure),
    /// A cgroup could not be read or removed.
    #[error("{verb} cgroup `{path}`")]
    Cgroup { verb: &'static str, path: String, source: io::Error },
    /// systemd refused what was asked of it.
    #[error("{verb} `{unit}`")]
    Systemd { verb: &'static str, unit: String, source: io::Error },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
