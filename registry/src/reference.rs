//! References: how people name images, by Docker's rules for short names (distribution's reference grammar). Knows
//! nothing of what a reference points at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::error::{Error, Result};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// The longest name, registry included (the reference grammar's NameTotalLengthMax).
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// The name of an image: a registry, a repository in it, and a tag or a digest (or both; then the digest decides).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses what a person types: `busybox` is `docker.io/library/busybox:latest`. The part before the first slash is
    /// a registry when it holds a dot, a colon or an upper-case letter, or is `localhost`.
    pub fn parse(text: &str) -> Result<Reference> {
        let refuse = |reason| Error::Reference { text: text.chars().take(320).collect(), reason };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse("64 hex digits are an image id, not a name"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(name);
        let (registry, rest) = split_registry(name);
        let repository = if registry == DEFAULT_REGISTRY && !rest.contains('/') {
            format!("library/{rest}")
        } else {
            rest.to_owned()
        };
        check_registry(registry).map_err(refuse)?;
        check_repository(&repository).map_err(refuse)?;
        if registry.len() + 1 + repository.len() > NAME_MAX {
            return Err(refuse("the name is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(check_tag(tag).map_err(refuse)?.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
    }

    /// The registry's host, with its port where one was given; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry, `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where a digest was given without one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// As a person would type it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// The name as a person would type it, without tag and digest: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            // What would be taken for a registry when read back keeps its own: `docker.io/evil.example/x` is on Docker Hub.
            _ if self.repository.split('/').next().is_some_and(looks_like_registry) => self.name(),
            _ => self.repository.clone(),
        }
    }

    /// The same name with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference> {
        let refuse = |reason| Error::Reference { text: format!("{}:{tag}", self.name()), reason };
        let tag = Some(check_tag(tag).map_err(refuse)?.to_owned());
        Ok(Reference { tag, digest: None, ..self.clone() })
    }

    /// The same name by digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

/// Takes a tag off the end: after the last colon, unless that colon belongs to a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') && !tag.ends_with(']') => (rest, Some(tag)),
        _ => (name, None),
    }
}

fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if looks_like_registry(first) => {
            let registry = if first == "index.docker.io" { DEFAULT_REGISTRY } else { first };
            (registry, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn looks_like_registry(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    const REASON: &str = "the registry is not a host name with an optional port";
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(REASON)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| REASON)?;
            ("", if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(REASON)?) })
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    if !registry.starts_with('[') && !host.split('.').all(is_host_label) {
        return Err(REASON);
    }
    match port {
        Some(port) if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() => Err(REASON),
        _ => Ok(()),
    }
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Checks a repository: components of lower-case letters and digits, joined by `.`, `_`, `__` or dashes, between slashes.
/// Such a name can be used in a path: no component is empty, `.` or `..`.
pub(crate) fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.is_empty() {
        return Err("the repository is missing");
    }
    if repository.len() > NAME_MAX {
        return Err("the name is longer than 255 characters");
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository must be lower case");
    }
    if repository.split('/').all(is_path_component) { Ok(()) } else { Err("the repository's name is malformed") }
}

fn is_path_component(component: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_in_words = bytes.first().is_some_and(|b| is_word(*b)) && bytes.last().is_some_and(|b| is_word(*b));
    ends_in_words
        && bytes
            .split(|b| is_word(*b))
            .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

/// Checks a tag: a word character, then at most 127 word characters, dots and dashes.
pub(crate) fn check_tag(tag: &str) -> Result<&str, &'static str> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match tag.as_bytes() {
        [] => Err("the tag is empty"),
        bytes if bytes.len() > TAG_MAX => Err("the tag is longer than 128 characters"),
        [first, rest @ ..] if is_word(*first) && rest.iter().all(|b| is_word(*b) || matches!(b, b'.' | b'-')) => {
            Ok(tag)
        }
        _ => Err("the tag is malformed"),
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        Reference::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reference, D::Error> {
        let text = String::deserialize(deserializer)?;
        Reference::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_expand_as_docker_expands_them() {
        let check = |text: &str, full: &str, familiar: &str| {
            let reference = Reference::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar), "{text}");
        };
        check("busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36");
        check("a/b", "docker.io/a/b:latest", "a/b:latest");
        check("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("localhost/x", "localhost/x:latest", "localhost/x:latest");
        check("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest");
        check("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t");
        check("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1");
        check("ghcr.io/o/n_a.b--c", "ghcr.io/o/n_a.b--c:latest", "ghcr.io/o/n_a.b--c:latest");
        check("Host/x", "Host/x:latest", "Host/x:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("x@{digest}"), &format!("docker.io/library/x@{digest}"), &format!("x@{digest}"));
        check(&format!("x:t@{digest}"), &format!("docker.io/library/x:t@{digest}"), &format!("x:t@{digest}"));
    }

    #[test]
    fn a_repository_that_is_called_like_a_registry_stays_where_it_is() {
        for text in ["docker.io/evil.example/x:latest", "docker.io/localhost/x:latest"] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.registry(), reference.familiar().as_str()), ("docker.io", text));
        }
    }

    #[test]
    fn malformed_references_are_refused_with_a_reason() {
        let check = |text: &str, reason: &str| {
            let message = Reference::parse(text).expect_err(text).to_string();
            assert!(message.contains(reason), "{text}: {message}");
        };
        check("", "empty");
        check("Busybox", "lower case");
        check("a//b", "malformed");
        check("../../etc/passwd", "host name");
        check("host.io/../x", "malformed");
        check("a/./b", "malformed");
        check("a___b", "malformed");
        check("a..b", "malformed");
        check("-a", "malformed");
        check("x:", "tag is empty");
        check(&format!("x:{}", "t".repeat(129)), "longer than 128");
        check("x:-t", "tag is malformed");
        check(&"a".repeat(300), "longer than 255");
        check(&"a".repeat(64), "image id");
        check("x@sha256:abc", "number of hex digits");
        check("host:99999/x", "host name");
        check("-host.io/x", "host name");
        check("[::1/x", "host name");
        check("a b", "malformed");
        check("x\0", "malformed");
    }

    proptest! {
        #[test]
        fn what_parses_reads_back_the_same_in_both_forms(text in "[a-zA-Z0-9:/@._-]{1,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }

        #[test]
        fn no_input_panics(text in ".{0,300}") {
            let _ = Reference::parse(&text);
        }

        #[test]
        fn valid_names_always_parse(name in "[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}", tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}") {
            let reference = Reference::parse(&format!("example.org/{name}:{tag}")).unwrap();
            prop_assert_eq!(reference.repository(), name);
            prop_assert_eq!(reference.tag(), Some(tag.as_str()));
        }
    }
}
