//! Signals by name.

use anyhow::{Result, bail};

/// By number, from 1 (signal(7), x86 and ARM).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Where real-time signals begin and end for programs of glibc.
const REAL_TIME: (i32, i32) = (34, 64);

/// The number of `TERM`, `SIGTERM`, `sigterm` or `15`; real-time ones as `RTMIN+3` and `RTMAX-3`.
pub(super) fn number(name: &str) -> Result<i32> {
    if let Ok(number @ 1..=64) = name.parse() {
        return Ok(number);
    }
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == plain) {
        return Ok(at as i32 + 1);
    }
    let (first, last) = REAL_TIME;
    let distance = |text: &str| if text.is_empty() { Some(0) } else { text.get(1..)?.parse::<i32>().ok() };
    let real_time = match (plain.strip_prefix("RTMIN"), plain.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => distance(rest).map(|more| first + more),
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => distance(rest).map(|less| last - less),
        _ => None,
    };
    match real_time.filter(|number| (first..=last).contains(number)) {
        Some(number) => Ok(number),
        None => bail!("unknown signal `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        let check = |name: &str, wanted: Option<i32>| assert_eq!(number(name).ok(), wanted, "{name}");
        check("SIGTERM", Some(libc::SIGTERM));
        check("kill", Some(libc::SIGKILL));
        check("WINCH", Some(libc::SIGWINCH));
        check("SYS", Some(libc::SIGSYS));
        check("9", Some(9));
        check("RTMIN", Some(34));
        check("SIGRTMIN+3", Some(37));
        check("RTMAX-1", Some(63));
        check("RTMIN+31", None);
        check("0", None);
        check("65", None);
        check("TERMINATE", None);
        check("RTMIN-1", None);
    }
}
