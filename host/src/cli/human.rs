//! Numbers for people, in Docker's words: ages, sizes, short ids.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

/// `About a minute`, `3 hours`: how long so many seconds are.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, (seconds + 1800) / 3600, seconds / 86_400);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{days} days"),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", days / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

/// How long ago a moment was, given in seconds since 1970.
pub(crate) fn ago(then: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match u64::try_from(then) {
        Ok(then) => format!("{} ago", duration(now.saturating_sub(then))),
        // Before 1970 is Go's zero time, which stands for none.
        Err(_) => "N/A".to_owned(),
    }
}

/// `2026-11-20 18:43:26 +0000 UTC`.
pub(crate) fn moment(then: i64) -> String {
    let nanos = u64::try_from(then).unwrap_or_default().saturating_mul(1_000_000_000);
    let text = proa::timestamp::rfc3339_nanos(nanos);
    format!("{} {} +0000 UTC", &text[..10], &text[11..19])
}

/// `2026-11-20T18:43:26Z`.
pub(crate) fn rfc3339(then: i64) -> String {
    let nanos = u64::try_from(then).unwrap_or_default().saturating_mul(1_000_000_000);
    let text = proa::timestamp::rfc3339_nanos(nanos);
    format!("{}Z", &text[..19])
}

/// Three significant digits in decimal units, without zeros at their end, as `docker images` has them: `1.23MB`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes as f64, 3, 1000.0, &DECIMAL)
}

/// The same with four digits, as Docker has it where it does not round to three: `1.234MB`.
pub(crate) fn precise_size(bytes: u64) -> String {
    scaled(bytes as f64, 4, 1000.0, &DECIMAL)
}

/// Four digits in binary units: `1.5MiB`.
pub(crate) fn memory(bytes: u64) -> String {
    scaled(bytes as f64, 4, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

const DECIMAL: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

fn scaled(mut number: f64, significant: usize, base: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= base && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    let digits = match number {
        _ if unit == 0 => 0,
        n if n >= 1000.0 => significant.saturating_sub(4),
        n if n >= 100.0 => significant.saturating_sub(3),
        n if n >= 10.0 => significant.saturating_sub(2),
        _ => significant.saturating_sub(1),
    };
    let number = format!("{number:.digits$}");
    let number = if digits == 0 { &number } else { number.trim_end_matches('0').trim_end_matches('.') };
    format!("{number}{}", units[unit])
}

/// A text of a stranger's as it may stand on a terminal: without the control characters that could steer it.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { Cow::Owned(text.replace(steers, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A text in double quotes as Go quotes it (strconv.Quote), as far as texts of people go.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\0'..' ' | '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An id or digest as people read it: twelve digits.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// At most `most` characters, the last an ellipsis where something was cut.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_in_docker() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (90, "About a minute"),
            (600, "10 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 20, "2 weeks"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (77_214, "77.2kB"),
            (95_000, "95kB"),
            (1_234_567, "1.23MB"),
            (123_456_789, "123MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!((precise_size(1_234_567), memory(1536)), ("1.235MB".to_owned(), "1.5KiB".to_owned()));
        assert_eq!(quoted("a\"\\\n\x1b[2Jä"), r#""a\"\\\n\x1b[2Jä""#);
        assert_eq!(harmless("a\x1b[2J"), "a\u{fffd}[2J");
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
