//! The waist's one error: what was attempted, on what, and why not.

use std::fmt;

/// What a caller can do about an [`Error`]; the doors map it to status and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The program or module named by the workload does not exist (exit code 127).
    NotFound,
    /// It exists and cannot be executed (exit code 126).
    NotExecutable,
    /// The request is wrong or asks for what this model does not have.
    Invalid,
    /// This machine or user lacks a privilege or a kernel feature; the message names it.
    Unavailable,
    /// The guest is not in a state that allows the verb.
    Conflict,
    /// Anything else that failed.
    Failed,
}

/// One sentence: what was attempted, on what, why it failed; with a hint for a known misuse.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The waist's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose text says what was attempted and why it failed.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), hint: None, source: None }
    }

    /// The same with its cause; the text must not repeat it.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// The same with a hint for a known misuse.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A hint for a known misuse, without its `hint:` prefix.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
