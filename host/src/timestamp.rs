//! Times as Docker's clients write and read them (RFC 3339 with nanoseconds, in UTC). Knows no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What Docker shows for a time that has not come yet: Go's zero time.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Nanoseconds since 1970; 0 for anything earlier.
pub fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The time that many nanoseconds after the start of 1970.
pub fn from_unix_nanos(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// `2026-11-20T18:43:26.123456789Z`.
pub fn rfc3339(time: SystemTime) -> String {
    rfc3339_nanos(unix_nanos(time))
}

/// The same from nanoseconds since 1970.
pub fn rfc3339_nanos(nanos: u64) -> String {
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (year, month, day) = civil(i64::try_from(seconds / 86_400).unwrap_or(0));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Seconds since 1970 of an RFC 3339 text, as image configurations carry it; `None` when it is none.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone_seconds(zone)?)
}

/// Nanoseconds since 1970 of what Docker's client sends for `since` and `until`: `SECONDS[.NANOS]`.
pub fn parse_unix(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Nanoseconds since 1970 of a moment as any client writes it: [`parse_unix`], or RFC 3339 with a fraction.
pub fn parse_moment(text: &str) -> Option<u64> {
    parse_unix(text).or_else(|| {
        let seconds = u64::try_from(parse_rfc3339(text)?).ok()?;
        let fraction = text.get(19..)?.strip_prefix('.').map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).take(9).collect();
            format!("{digits:0<9}").parse::<u64>().unwrap_or(0)
        });
        seconds.checked_mul(1_000_000_000)?.checked_add(fraction.unwrap_or(0))
    })
}

/// The moment that a prune's `until` names, seen from `now`: as [`parse_moment`], a date, a local time without a zone
/// (taken as UTC), or a length of time before now, such as `1h30m`.
pub fn parse_until(text: &str, now: u64) -> Option<u64> {
    let dated = || match text.len() {
        10 => parse_moment(&format!("{text}T00:00:00Z")),
        16 => parse_moment(&format!("{text}:00Z")),
        19 => parse_moment(&format!("{text}Z")),
        _ => None,
    };
    parse_moment(text).or_else(dated).or_else(|| now.checked_sub(parse_length(text)?))
}

/// Nanoseconds of a length of time as Go writes it: `1h30m`, `1.5s`, `300ms`.
fn parse_length(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |at| end + at);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == &rest[end..unit_end])?;
        total += number * scale;
        rest = &rest[unit_end..];
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and bounded before")]
    (!text.is_empty() && total < 1e18).then_some(total as u64)
}

/// Nanoseconds of a duration as Go writes it: `1h30m`, `1.5s`, `300ms`.
pub fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let units: [(&str, f64); 8] =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
        let (unit, nanos) = units.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        let part = number * nanos;
        if !part.is_finite() || part >= u64::MAX as f64 {
            return None;
        }
        total = total.checked_add(part as u64)?;
        rest = &rest[end + unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Year, month and day of the proleptic Gregorian calendar; years begin in March here, so that a leap day comes last.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written_as_docker_writes_them() {
        assert_eq!(rfc3339_nanos(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339_nanos(1_709_210_096_000_000_007), "2024-02-29T12:34:56.000000007Z");
    }

    #[test]
    fn written_times_read_back() {
        for seconds in [0_u64, 951_782_399, 951_782_400, 1_709_210_096, 4_102_444_800] {
            let text = rfc3339_nanos(seconds * 1_000_000_000);
            assert_eq!(parse_rfc3339(&text), i64::try_from(seconds).ok(), "{text}");
        }
        assert_eq!(parse_rfc3339("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_client_s_since_is_seconds_and_nanoseconds() {
        assert_eq!(parse_unix("12"), Some(12_000_000_000));
        assert_eq!(parse_unix("12.5"), Some(12_500_000_000));
        assert_eq!(parse_unix("x"), None);
        assert_eq!(parse_moment("1970-01-01T00:00:02.5Z"), Some(2_500_000_000));
        assert_eq!(parse_moment("1970-01-01T01:00:02+01:00"), Some(2_000_000_000));
        assert_eq!(parse_moment("12.5"), parse_unix("12.5"));
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("1.5s"), Some(1_500_000_000));
        assert_eq!(parse_duration("300ms"), Some(300_000_000));
        for bad in ["", "5", "h", "1x", "99999999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn until_is_a_moment_a_date_or_a_length_of_time() {
        let now = 100_000_000_000_000;
        for (text, nanos) in [
            ("12", Some(12_000_000_000)),
            ("1970-01-02", Some(86_400_000_000_000)),
            ("1970-01-01T00:00", Some(0)),
            ("1970-01-01T00:00:05", Some(5_000_000_000)),
            ("1h30m", Some(now - 5400 * 1_000_000_000)),
            ("1.5s", Some(now - 1_500_000_000)),
            ("0s", Some(now)),
            ("", None),
            ("h", None),
            ("5", Some(5_000_000_000)),
            ("5x", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_until(text, now), nanos, "{text}");
        }
    }
}
