//! The host's one error: what was attempted, on what, and why not. Doors map it to status and exit codes.

use std::path::PathBuf;

use proa_sandbox::Kind;

/// The host's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    FindContainer(String),
    #[error("No such image: {0}")]
    FindImage(String),
    /// A registry does not have it, or does not show it; Docker's words.
    #[error("{0}")]
    FindInRegistry(String),
    /// A registry refuses the login; Docker's words.
    #[error("{0}")]
    Denied(String),
    #[error("No such exec instance: {0}")]
    FindExec(String),
    #[error("network {0} not found")]
    FindNetwork(String),
    /// Docker's words: what was attempted, then why not.
    #[error("{0}")]
    FindVolume(String),
    #[error("Could not find the file {} in container {container}", path.display())]
    FindFile { path: PathBuf, container: String },
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousPrefix(String),
    /// Docker's words, because clients look for them.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    ReserveName { name: String, holder: String },
    /// The request is wrong; one sentence.
    #[error("{0}")]
    Invalid(String),
    /// The container is not in a state that allows the verb; one sentence.
    #[error("{0}")]
    Conflict(String),
    /// Docker's words.
    #[error("Container {0} is not paused")]
    NotPaused(String),
    /// It already is as asked.
    #[error("the container already is as asked")]
    NotModified,
    /// Not there yet; one sentence.
    #[error("{0}")]
    Unsupported(String),
    /// The machine or its user cannot; the reason is one sentence.
    #[error("isolation `{isolation}` cannot be had here: {reason}")]
    Lacks { isolation: proa_sandbox::Isolation, reason: String },
    /// Policy forbids it; one sentence.
    #[error("{0}")]
    Forbidden(String),
    /// The node has no room; one sentence with the numbers.
    #[error("{0}")]
    Admit(String),
    /// The guest's program is missing or cannot be executed; the text is made for Docker's clients, which look into it.
    #[error("{message}")]
    StartProgram { code: u8, message: String },
    #[error("{attempt} `{container}`")]
    Sandbox { attempt: &'static str, container: String, source: proa_sandbox::Error },
    #[error("compile `{reference}`")]
    Compile { reference: String, source: proa_sandbox::Error },
    #[error("open the runtimes below `{root}`")]
    OpenRuntimes { root: PathBuf, source: proa_sandbox::Error },
    #[error("stop the runtimes")]
    StopRuntimes { source: proa_sandbox::Error },
    #[error("{attempt} `{reference}`")]
    Image { attempt: &'static str, reference: String, source: Box<proa_registry::Error> },
    #[error("open the image store `{path}`")]
    OpenStore { path: PathBuf, source: Box<proa_registry::Error> },
    #[error("{attempt} `{path}`")]
    File { attempt: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{attempt} container `{container}`")]
    Files { attempt: &'static str, container: String, source: std::io::Error },
    #[error("read the record `{path}`")]
    ReadRecord { path: PathBuf, source: serde_json::Error },
    #[error("the record `{0}` is damaged: its bytes are not those that were written")]
    DamagedRecord(PathBuf),
    #[error("read the policy `{path}`")]
    ReadPolicy { path: PathBuf, source: Box<toml::de::Error> },
    #[error("another host holds the root `{0}`")]
    LockRoot(PathBuf),
    #[error("something already listens on `{0}`")]
    SocketInUse(PathBuf),
    #[error("publish port {port} at `{address}`")]
    Publish { port: u16, address: String, source: std::io::Error },
    /// The host is on its way out.
    #[error("the host is stopping")]
    Stopping,
}

impl Error {
    /// Makes a closure that says which file was touched and why.
    pub(crate) fn file(attempt: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { attempt, path, source }
    }

    /// What the waist says a caller can do about it, where the waist said it.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Error::Sandbox { source, .. } | Error::Compile { source, .. } | Error::StopRuntimes { source } => {
                Some(source.kind())
            }
            _ => None,
        }
    }

    /// One sentence with its causes, and the hint for a known misuse on a line of its own.
    pub fn sentence(&self) -> String {
        let text = chain(self);
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let hint = error.downcast_ref::<proa_sandbox::Error>().and_then(proa_sandbox::Error::hint_text);
            if let Some(hint) = hint {
                return format!("{text}\nhint: {hint}");
            }
            cause = error.source();
        }
        text
    }
}

/// An error and its causes as one sentence.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = words(error);
        // Some libraries repeat their cause's text in their own.
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

/// One error's own words; the kernel's as it would say them in the middle of a sentence. Names of images, users and files are
/// a stranger's, and the sentence goes to a terminal: what would steer it is written out.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let text = plain(&error.to_string());
    let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    match number.and_then(|number| text.strip_suffix(&format!(" (os error {number})"))) {
        Some(bare) if !bare.is_empty() => bare[..1].to_lowercase() + &bare[1..],
        _ => text,
    }
}

/// The longest words of one error that are told whole, in characters.
const WORDS_MAX: usize = 1000;

/// Text without control characters, a line's end being a blank and others as Rust writes them, and not without end: it may
/// hold what somebody typed.
pub(crate) fn plain(text: &str) -> String {
    if text.len() <= WORDS_MAX && !text.contains(char::is_control) {
        return text.to_owned();
    }
    let length = text.chars().count();
    let cut = (length > WORDS_MAX).then(|| WORDS_MAX / 2..length - WORDS_MAX / 2);
    let mut plain = String::with_capacity(text.len().min(4 * WORDS_MAX) + 16);
    for (at, char) in text.chars().enumerate() {
        if let Some(cut) = cut.as_ref().filter(|cut| cut.contains(&at)) {
            if at == cut.start {
                plain.push_str(" … ");
            }
            continue;
        }
        match char {
            '\n' => plain.push(' '),
            char if char.is_control() => plain.extend(char.escape_default()),
            char => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_s_name_steers_no_terminal() {
        let error = Error::FindImage("a\u{1b}[2J\r\nb\u{9b}".to_owned());
        assert_eq!(error.sentence(), "No such image: a\\u{1b}[2J\\r b\\u{9b}");
        assert!(Error::FindImage("a".repeat(60_000)).sentence().len() < 1100);
    }
}
