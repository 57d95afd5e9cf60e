//! Amounts with units, by Docker's rules: binary multiples for bytes, decimal fractions for CPUs.

use anyhow::{Context, bail};

/// `64m`, `1.5g`, `1024`, `2GiB`: bytes.
pub(crate) fn bytes(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => bail!("`{text}` is no amount of memory\nhint: write a number and b, k, m or g, such as 64m"),
    };
    let number: f64 = digits.trim().parse().with_context(|| format!("`{text}` is no amount of memory"))?;
    let bytes = number * 1024_f64.powi(power);
    if !(0.0..9.2e18).contains(&bytes) {
        bail!("`{text}` is no amount of memory");
    }
    Ok(bytes as u64)
}

/// `1.5`: billionths of a CPU.
pub(crate) fn nano_cpus(text: &str) -> anyhow::Result<u64> {
    let cpus: f64 = text.parse().with_context(|| format!("`{text}` is no number of CPUs"))?;
    if !(0.0..9.2e9).contains(&cpus) {
        bail!("`{text}` is no number of CPUs");
    }
    Ok((cpus * 1e9).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_have_binary_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("64m", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("2GiB", Some(2 << 30)),
            ("10kb", Some(10 << 10)),
            ("7b", Some(7)),
            ("x", None),
            ("-1m", None),
            ("1z", None),
            ("", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }
}
