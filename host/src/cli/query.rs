//! Paths with query parameters, percent-encoded (RFC 3986, section 2).

use std::fmt::Write;

/// A path and the parameters appended so far.
#[derive(Debug)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn new(path: impl Into<String>) -> Query {
        Query(path.into())
    }

    /// Appends a parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Query {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        let _ = write!(self.0, "{name}={}", encode(value));
        self
    }

    /// Appends a parameter that has a value.
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Query {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Appends `name=1` when `set`.
    pub(crate) fn flag(self, name: &str, set: bool) -> Query {
        self.maybe(name, set.then_some("1"))
    }

    pub(crate) fn into_path(self) -> String {
        self.0
    }
}

/// Every byte that is not unreserved as `%XX`.
pub(crate) fn encode(text: &str) -> String {
    encode_except(text, "")
}

/// An image's name as part of a path, in which the API lets slashes and colons stand.
pub(crate) fn encode_image(name: &str) -> String {
    encode_except(name, "/:@")
}

fn encode_except(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
