//! What this crate can fail at, named for the attempt.

/// What failed; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine could not be built, mostly for want of address space.
    #[error("build the Wasm engine")]
    Engine(#[source] wasmtime::Error),
    /// Host functions could not be defined.
    #[error("define the imports of a guest")]
    Link(#[source] wasmtime::Error),
    /// The module was refused; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// Compiled code could not be mapped.
    #[error("load compiled code")]
    Load(#[source] wasmtime::Error),
    /// A folder handle could not be entered.
    #[error("enter a folder handle")]
    Enter(#[source] std::io::Error),
    /// A preopened directory could not be granted.
    #[error("preopen `{guest}`")]
    Preopen {
        guest: String,
        #[source]
        source: wasmtime::Error,
    },
    /// A handle the plan names was not handed over.
    #[error("the plan needs {needed} handles and {given} were given")]
    Handles { needed: usize, given: usize },
    /// A standard stream could not be watched.
    #[error("watch a standard stream")]
    Stream(#[source] std::io::Error),
    /// A listening socket could not be watched.
    #[error("watch a listening socket")]
    Listener(#[source] std::io::Error),
    /// The specification asks for what a Wasm guest cannot have.
    #[error("{0}")]
    Specification(String),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with its causes as one sentence, for where only text can go.
pub(crate) fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
