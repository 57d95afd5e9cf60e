//! How a command fails: one sentence on standard error, a hint where there is one, and Docker's exit code.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use super::client;
use super::human::harmless;

/// An error with the exit code it ends the program with.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// `error`, ending the program with `code`; one that has its code keeps it.
    pub(crate) fn wrap(code: u8, error: anyhow::Error) -> anyhow::Error {
        if error.is::<Failure>() { error } else { Failure { code, error }.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Tells a failure to the caller.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let (sentence, hints) = tell(error);
    let mut text = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[1;31mproa:\x1b[0m {sentence}\n")
    } else {
        format!("proa: {sentence}\n")
    };
    for hint in hints {
        text.push_str(&format!("hint: {hint}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Failure>() {
        Some(failure) => failure.code,
        None if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(client::Error::Connect { .. }))) => 125,
        None => 1,
    }
}

/// The chain of causes as one sentence, and the hints that stand on lines of their own within it.
fn tell(error: &anyhow::Error) -> (String, Vec<String>) {
    let (mut links, mut hints) = (Vec::<String>::new(), Vec::new());
    for cause in error.chain() {
        let text = cause.to_string();
        let mut parts = text.split("\nhint: ");
        let link = harmless(parts.next().unwrap_or_default().trim_end());
        hints.extend(parts.map(|hint| hint.trim_end().to_owned()));
        // Some libraries repeat their cause in their own text.
        if !links.last().is_some_and(|last| last.ends_with(link.as_ref())) {
            links.push(link.into_owned());
        }
    }
    (links.join(": "), hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_sentence_and_its_hints() {
        let error = anyhow::anyhow!("no such file\nhint: make it first").context("read `a`");
        assert_eq!(tell(&error), ("read `a`: no such file".to_owned(), vec!["make it first".to_owned()]));
    }

    #[test]
    fn a_failure_keeps_its_first_code_and_its_causes() {
        let error = Failure::wrap(125, Failure::wrap(127, anyhow::anyhow!("cause").context("attempt")));
        assert_eq!(code(&error), 127);
        assert_eq!(tell(&error).0, "attempt: cause");
    }
}
