//! What can go wrong with images: one error for the crate, each variant named for the attempt that failed.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An attempt that failed. `Display` is one sentence; the cause, where there is one, is in `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("invalid reference `{text}`: {reason}")]
    Reference { text: String, reason: &'static str },
    #[error("invalid digest `{text}`: {reason}")]
    Digest { text: String, reason: &'static str },
    #[error("invalid platform `{text}`: {reason}")]
    Platform { text: String, reason: &'static str },
    #[error("no such image: `{name}`")]
    NoImage { name: String },
    #[error("`{name}` is the beginning of more than one image id")]
    Ambiguous { name: String },
    #[error("`{image}` has no variant for {wanted}, it offers {offered}")]
    NoVariant { image: String, wanted: String, offered: String },
    #[error("image `{image}` cannot be run: {reason}")]
    Unrunnable { image: String, reason: String },
    #[error("the store at `{root}` is in use by another process")]
    InUse { root: PathBuf },
    #[error("`{path}` is not an OCI image layout: {reason}")]
    NotLayout { path: PathBuf, reason: String },
    #[error("{action} `{path}`")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("blob `{digest}` is not in the store")]
    NoBlob { digest: Digest },
    #[error("content of `{digest}` is corrupt: {reason}")]
    Corrupt { digest: Digest, reason: String },
    #[error("{what} `{name}` is malformed: {reason}")]
    Document { what: &'static str, name: String, reason: String },
    #[error("{what} `{name}` is {size} bytes long, the limit is {limit}")]
    TooLarge { what: &'static str, name: String, size: u64, limit: u64 },
    /// How long it is nobody knows: reading stopped there.
    #[error("{what} `{name}` is longer than {bound} {limit} bytes")]
    TooLong { what: &'static str, name: String, bound: &'static str, limit: u64 },
    #[error("unpack layer `{layer}`: entry `{entry}` {reason}")]
    Entry { layer: String, entry: String, reason: String },
    #[error("unpack layer `{layer}`: entry `{entry}` cannot be written")]
    WriteEntry { layer: String, entry: String, source: io::Error },
    #[error("unpack layer `{layer}`: {reason}")]
    Layer { layer: String, reason: String },
    #[error("read layer `{layer}`")]
    ReadLayer { layer: String, source: io::Error },
    #[error("load archive: {reason}")]
    Archive { reason: String },
    #[error("read the archive: {reason}")]
    Stream { reason: String },
    #[error("{action} archive")]
    ArchiveIo { action: &'static str, source: io::Error },
    #[error("package `{what}`: {reason}")]
    Package { what: &'static str, reason: String },
    #[error("ask `{url}`")]
    Request { url: String, source: reqwest::Error },
    #[error("registry `{registry}` answered {status}{detail}")]
    Answer { registry: String, status: u16, detail: String },
    #[error("registry `{registry}` {reason}")]
    Protocol { registry: String, reason: String },
    #[error("credentials for `{registry}`: {reason}")]
    Credentials { registry: String, reason: String },
    #[error("certificates in `{path}`: {reason}")]
    Certificates { path: PathBuf, reason: String },
    #[error("set up TLS")]
    Tls { source: rustls::Error },
    #[error("build the HTTP client")]
    HttpClient { source: reqwest::Error },
    #[error("serve a registry connection")]
    Serve { source: io::Error },
    #[error("a worker thread ended unexpectedly while it {doing}")]
    Thread { doing: &'static str },
}

/// The coarse class of an [`Error`], for status and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's input is malformed.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// The state forbids it (in use, ambiguous).
    Conflict,
    /// The registry refused the credentials, or there are none.
    Denied,
    /// The network or the registry does not work.
    Unavailable,
    /// Content that does not match its digest or its specification.
    Corrupt,
    /// This machine's disk or the program.
    Internal,
}

impl Error {
    /// The coarse class, see [`ErrorKind`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Reference { .. } | Error::Digest { .. } | Error::Platform { .. } => ErrorKind::Invalid,
            Error::NotLayout { .. } | Error::Package { .. } | Error::Archive { .. } | Error::Stream { .. } => {
                ErrorKind::Invalid
            }
            Error::Unrunnable { .. } | Error::Certificates { .. } => ErrorKind::Invalid,
            Error::NoImage { .. } | Error::NoVariant { .. } => ErrorKind::NotFound,
            Error::Answer { status: 404, .. } => ErrorKind::NotFound,
            Error::Answer { status: 401 | 403, .. } | Error::Credentials { .. } => ErrorKind::Denied,
            Error::Ambiguous { .. } | Error::InUse { .. } => ErrorKind::Conflict,
            Error::Request { .. } | Error::Answer { .. } | Error::Protocol { .. } => ErrorKind::Unavailable,
            Error::Corrupt { .. } | Error::Document { .. } | Error::TooLarge { .. } | Error::TooLong { .. } => {
                ErrorKind::Corrupt
            }
            Error::NoBlob { .. } => ErrorKind::Corrupt,
            Error::Entry { .. } | Error::Layer { .. } | Error::ReadLayer { .. } => ErrorKind::Corrupt,
            Error::File { .. } | Error::WriteEntry { .. } | Error::ArchiveIo { .. } | Error::Tls { .. } => {
                ErrorKind::Internal
            }
            Error::HttpClient { .. } | Error::Serve { .. } | Error::Thread { .. } => ErrorKind::Internal,
        }
    }

    /// For `map_err` on file operations: `action` is a verb phrase such as `create folder`.
    pub(crate) fn file(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| match Error::from_io(source) {
            Ok(inner) => inner,
            Err(source) => Error::File { action, path, source },
        }
    }

    /// Carries this error through a `std::io::Read`; [`Error::from_io`] takes it out again.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    /// The error of ours that travelled inside an `io::Error`, if that is what it is.
    pub(crate) fn from_io(source: io::Error) -> Result<Error, io::Error> {
        source.downcast::<Error>()
    }
}
