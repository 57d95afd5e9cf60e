//! Moments as Docker's `--since` and `--until` take them: RFC 3339 in parts, seconds since 1970, or a duration back
//! from now; and Go's durations (`1h30m`, `500ms`).

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;

/// The moment as the API wants it: seconds since 1970, with a fraction where one was typed.
pub(crate) fn parse(typed: &str) -> anyhow::Result<String> {
    if is_number(typed) {
        return Ok(typed.to_owned());
    }
    if let Ok(nanos) = duration(typed) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        return Ok(seconds(i128::try_from(now)? - i128::from(nanos)));
    }
    match date(typed) {
        Some(nanos) => Ok(seconds(nanos)),
        None => bail!(
            "`{typed}` is no moment\nhint: write 2026-01-02T15:04:05, seconds since 1970, or how long ago, such as 10m"
        ),
    }
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole.trim_start_matches('-')) && digits(fraction)
}

fn seconds(nanos: i128) -> String {
    let (whole, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    if fraction == 0 { whole.to_string() } else { format!("{whole}.{fraction:09}") }
}

/// A duration by Go's rules, in nanoseconds: numbers with units from `ns` to `h`, one after the other.
pub(crate) fn duration(typed: &str) -> anyhow::Result<i64> {
    let refuse = || anyhow::anyhow!("`{typed}` is no duration\nhint: write it as 30s, 1m30s or 2h");
    let (sign, mut rest) = match typed.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, typed.strip_prefix('+').unwrap_or(typed)),
    };
    if rest == "0" {
        return Ok(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let units = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
        let (unit, scale) = units.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(refuse)?;
        rest = &rest[unit.len()..];
        total += number * scale;
    }
    if typed.is_empty() || total >= 9.2e18 { Err(refuse()) } else { Ok((sign * total).round() as i64) }
}

/// A date with as much of its time as was typed; without a zone it is taken as UTC.
fn date(typed: &str) -> Option<i128> {
    let (day, time) = match typed.split_once(['T', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (typed, None),
    };
    let mut parts = day.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let nanos = match time {
        Some(time) => clock(time)?,
        None => 0,
    };
    Some(i128::from(days(year, month, day)) * 86_400_000_000_000 + nanos)
}

/// `15[:04[:05[.9]]][Z|+02:00]` in nanoseconds.
fn clock(time: &str) -> Option<i128> {
    let (time, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => (&time[..at], zone(&time[at..])?),
        None => (time, 0),
    };
    let mut parts = time.split(':');
    let hours: i128 = parts.next()?.parse().ok()?;
    let minutes: i128 = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |part| part.parse().ok())?;
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) || !(0.0..61.0).contains(&seconds) {
        return None;
    }
    Some((hours * 3600 + minutes * 60 - offset) * 1_000_000_000 + (seconds * 1e9).round() as i128)
}

fn zone(zone: &str) -> Option<i128> {
    if zone == "Z" {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = hours.parse::<i128>().ok()? * 3600 + minutes.parse::<i128>().ok()? * 60;
    Some(if zone.starts_with('-') { -offset } else { offset })
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. A year is counted from March, so that the leap day is its
/// last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_docker_reads_them() {
        for (typed, expected) in [
            ("0", "0"),
            ("1700000000.5", "1700000000.5"),
            ("1970-01-02", "86400"),
            ("2000-02-29T12:00:01", "951825601"),
            ("2013-01-02T13:23:37Z", "1357133017"),
            ("2013-01-02T13:23:37.25+01:00", "1357129417.250000000"),
            ("2026-11-20T21:44", "1795211040"),
        ] {
            assert_eq!(parse(typed).expect("a moment"), expected, "{typed}");
        }
        assert!(parse("10m").expect("ten minutes ago").parse::<f64>().expect("seconds") > 1.7e9);
        for wrong in ["", "soon", "2013-13-01", "2013-01-02T25:00", "10 minutes"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_go_s() {
        for (typed, expected) in [
            ("0", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("-2s", Some(-2_000_000_000)),
            ("3", None),
            ("3d", None),
            ("", None),
        ] {
            assert_eq!(duration(typed).ok(), expected, "{typed}");
        }
    }
}
