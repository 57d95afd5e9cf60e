//! What a list of images is narrowed by. Knows no host.

use std::collections::HashMap;
use std::time::SystemTime;

use proa_registry::Reference;

use crate::api::filters::Filters;
use crate::api::images::Row;
use crate::api::reply::Failure;
use crate::timestamp::{parse_duration, parse_moment, unix_nanos};

/// The filters of a list, and those of a prune.
pub(crate) const LIST: [&str; 7] = ["before", "dangling", "label", "label!", "reference", "since", "until"];
pub(crate) const PRUNE: [&str; 4] = ["dangling", "label", "label!", "until"];

/// What of an image is looked at.
pub(crate) struct Candidate<'a> {
    /// As people type them, with their tags.
    pub names: &'a [String],
    pub labels: &'a HashMap<String, String>,
}

impl Filters {
    /// Whether `image` passes all but the bounds in time.
    pub(crate) fn fits_image(&self, image: &Candidate<'_>) -> bool {
        let dangling = image.names.is_empty();
        self.any("dangling", |wanted| is_true(wanted) == dangling)
            && self.any("reference", |pattern| image.names.iter().any(|name| matches_pattern(pattern, name)))
            && self.labels(Some(image.labels))
            && self.no_labels(Some(image.labels))
    }
}

/// Whether a name is one of those asked for.
pub(crate) fn is_meant(filters: &Filters, name: &str) -> bool {
    filters.any("reference", |pattern| matches_pattern(pattern, name))
}

/// Whether `NAME@DIGEST` is one of those asked for: where names are, only with one of the tags that are left.
pub(crate) fn is_digest_meant(filters: &Filters, name: &str, tags: &[String]) -> bool {
    let bare = name.split('@').next().unwrap_or(name);
    !filters.has("reference") || tags.iter().any(|tag| tag.rsplit_once(':').is_some_and(|(name, _)| name == bare))
}

/// `1`, `t`, `true` and so on, as Go's `ParseBool` has them.
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

/// Nanoseconds since 1970 between which an image was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    after: Option<u64>,
    before: Option<u64>,
}

impl Bounds {
    /// Reads `before` and `since`, which name images, and `until`.
    pub(crate) fn read(filters: &Filters, rows: &[Row]) -> Result<Bounds, Failure> {
        let made = |name: &String| {
            let row = rows.iter().find(|row| is_called(row, name));
            row.map(|row| row.created).ok_or_else(|| Failure::from(crate::Error::FindImage(name.clone())))
        };
        let mut bounds = Bounds::until(filters)?;
        for name in filters.values("before") {
            bounds.narrow_before(made(name)?);
        }
        for name in filters.values("since") {
            let at = made(name)?;
            bounds.after = Some(bounds.after.map_or(at, |known| known.max(at)));
        }
        Ok(bounds)
    }

    /// Reads `until` alone: a moment, or a duration before now.
    pub(crate) fn until(filters: &Filters) -> Result<Bounds, Failure> {
        let mut bounds = Bounds::default();
        for text in filters.values("until") {
            let now = unix_nanos(SystemTime::now());
            let nanos = parse_duration(text).map(|age| now.saturating_sub(age)).or_else(|| parse_moment(text));
            let invalid =
                || Failure::bad_request(format!("invalid filter 'until': `{text}` is no time and no duration"));
            bounds.narrow_before(nanos.ok_or_else(invalid)?);
        }
        Ok(bounds)
    }

    fn narrow_before(&mut self, at: u64) {
        self.before = Some(self.before.map_or(at, |known| known.min(at)));
    }

    /// Whether an image made then is within them.
    pub(crate) fn hold(&self, created: u64) -> bool {
        self.after.is_none_or(|after| created > after) && self.before.is_none_or(|before| created < before)
    }
}

fn is_called(row: &Row, name: &str) -> bool {
    let wanted = Reference::parse(name).ok();
    let hex = row.found.named.descriptor.digest.hex();
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    wanted.is_some_and(|wanted| row.found.named.names.contains(&wanted)) || prefix.len() >= 4 && hex.starts_with(prefix)
}

/// Docker's `reference` filter: a name with or without a tag, `*` for any run of characters but `/`.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let bare = name.rsplit_once(':').map_or(name, |(bare, _)| bare);
    glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), bare.as_bytes())
}

/// Linear in the pattern times the text, whatever a stranger writes: one place to come back to is enough.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
                continue;
            }
            Some(b'?') if text[seen] != b'/' => {}
            Some(wanted) if *wanted == text[seen] && *wanted != b'?' => {}
            _ => match star {
                Some((position, from)) if text[from] != b'/' => {
                    star = Some((position, from + 1));
                    (at, seen) = (position + 1, from + 1);
                    continue;
                }
                _ => return false,
            },
        }
        (at, seen) = (at + 1, seen + 1);
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::call::Query;

    #[test]
    fn the_reference_filter_matches_as_docker_s() {
        for (pattern, name, expected) in [
            ("busybox", "busybox:latest", true),
            ("busy*", "busybox:1", true),
            ("busybox:1", "busybox:latest", false),
            ("*box:*", "busybox:latest", true),
            ("b?sybox", "busybox:latest", true),
            ("a/*", "a/b:1", true),
            ("*/*", "a/b:1", true),
            ("*", "a/b:1", false),
            ("a*b/c", "axxb/c:1", true),
            ("a*b/c", "ax/xb/c:1", false),
            ("a?b", "a/b:1", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
        let slow = format!("{}b", "a*".repeat(2000));
        assert!(!glob(slow.as_bytes(), "a".repeat(2000).as_bytes()));
    }

    #[test]
    fn times_are_moments_or_ages() {
        let until = |text: &str| {
            let filters = Filters::read(&Query::parse(&format!("filters={{\"until\":[\"{text}\"]}}")), &LIST).unwrap();
            Bounds::until(&filters)
        };
        let at = 100_000_000_000;
        assert!(until("1970-01-02T00:00:00Z").unwrap().hold(at) && !until("50").unwrap().hold(at));
        let hour = until("1h").unwrap();
        assert!(hour.hold(0) && !hour.hold(u64::MAX));
        assert!(until("soon").is_err());
    }
}
