//! Ulimits, and weights and rates of block devices.

use anyhow::{Context, bail};
use bollard_stubs::models::{ResourcesBlkioWeightDevice, ResourcesUlimits, ThrottleDevice};

use super::quantity;

/// The names that setrlimit(2) knows, as Docker writes them.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `NAME=SOFT[:HARD]`; the last of one name wins.
pub(crate) fn ulimits(typed: &[String]) -> anyhow::Result<Vec<ResourcesUlimits>> {
    let mut all: Vec<ResourcesUlimits> = Vec::new();
    for limit in typed {
        let limit = ulimit(limit)?;
        all.retain(|other| other.name != limit.name);
        all.push(limit);
    }
    Ok(all)
}

fn ulimit(typed: &str) -> anyhow::Result<ResourcesUlimits> {
    let Some((name, values)) = typed.split_once('=') else { bail!("invalid ulimit argument: {typed}") };
    if !ULIMITS.contains(&name) {
        bail!("invalid ulimit type: {name}");
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| text.parse::<i64>().with_context(|| format!("`{text}` is no limit for `{name}`"));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        bail!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}");
    }
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) })
}

/// `/dev/PATH:WEIGHT`.
pub(crate) fn weights(typed: &[String]) -> anyhow::Result<Vec<ResourcesBlkioWeightDevice>> {
    let one = |typed: &String| {
        let (path, weight) = device(typed)?;
        match weight.parse::<usize>() {
            Ok(weight) if weight == 0 || (10..=1000).contains(&weight) => {
                Ok(ResourcesBlkioWeightDevice { path: Some(path), weight: Some(weight) })
            }
            _ => bail!("invalid weight for device: {typed}"),
        }
    };
    typed.iter().map(one).collect()
}

/// `/dev/PATH:BYTES`.
pub(crate) fn byte_rates(typed: &[String]) -> anyhow::Result<Vec<ThrottleDevice>> {
    rates(typed, |rate| quantity::bytes(rate).ok().and_then(|rate| i64::try_from(rate).ok()))
}

/// `/dev/PATH:NUMBER`.
pub(crate) fn operation_rates(typed: &[String]) -> anyhow::Result<Vec<ThrottleDevice>> {
    rates(typed, |rate| rate.parse::<u32>().ok().map(i64::from))
}

fn rates(typed: &[String], read: impl Fn(&str) -> Option<i64>) -> anyhow::Result<Vec<ThrottleDevice>> {
    let one = |typed: &String| {
        let (path, rate) = device(typed)?;
        match read(rate) {
            Some(rate) => Ok(ThrottleDevice { path: Some(path), rate: Some(rate) }),
            None => bail!("invalid rate for device: {typed}"),
        }
    };
    typed.iter().map(one).collect()
}

fn device(typed: &str) -> anyhow::Result<(String, &str)> {
    match typed.split_once(':') {
        Some((path, value)) if path.starts_with("/dev/") && !value.is_empty() => Ok((path.to_owned(), value)),
        Some((path, value)) if !path.is_empty() && !value.is_empty() => {
            bail!("bad format for device path: {typed}\nhint: a device's path begins with /dev/")
        }
        _ => bail!("bad format: {typed}"),
    }
}
