//! `--log-driver` and `--log-opt`: which of Docker's drivers there are, and what they mean for the one log there is.
//! Must not know files: those are `state/log.rs`.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerConfig, HostConfig};

use crate::error::{Error, Result};
use crate::state::log::Limits;

/// The drivers there are; all write the same log, with bounds of their own.
pub const DRIVERS: [&str; 3] = ["json-file", "local", "none"];

/// What every driver that keeps logs understands; `tag` is json-file's alone.
const OPTIONS: [&str; 9] =
    ["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "mode", "max-buffer-size"];

/// The driver's name; json-file where none was named.
pub fn driver(host: &HostConfig) -> &str {
    let named = host.log_config.as_ref().and_then(|config| config.typ.as_deref());
    named.filter(|name| !name.is_empty()).unwrap_or(DRIVERS[0])
}

/// What of the output is kept.
///
/// json-file without `max-size` is unbounded in Docker; here it keeps what `local` keeps, 5 files of 20 MiB, for a node
/// whose disk is full serves nobody.
///
/// # Errors
/// `Invalid`, in Docker's words, for a driver or an option that does not exist and for numbers that are none.
pub fn limits(host: &HostConfig) -> Result<Limits> {
    let driver = driver(host);
    let empty = HashMap::new();
    let options = host.log_config.as_ref().and_then(|config| config.config.as_ref()).unwrap_or(&empty);
    let mut limits = Limits::default();
    if !DRIVERS.contains(&driver) {
        return Err(invalid(format!("logger: no log driver named '{driver}' is registered")));
    }
    if driver == "none" {
        // The log is still how an attached client sees its container: a little of it, and only while it runs.
        return Ok(Limits { size: 1 << 20, files: 2, keep: false });
    }
    if let Some(option) = options
        .keys()
        .find(|option| !(OPTIONS.contains(&option.as_str()) || driver == "json-file" && option.as_str() == "tag"))
    {
        return Err(invalid(format!("unknown log opt '{option}' for {driver} log driver")));
    }
    if let Some(text) = options.get("max-size").filter(|text| text.as_str() != "-1") {
        let thousand = if driver == "local" { 1024 } else { 1000 };
        let size = size(text, thousand).ok_or_else(|| invalid(format!("invalid size: '{text}'")))?;
        if size == 0 {
            return Err(invalid("max-size must be a positive number".to_owned()));
        }
        limits.size = size;
        if driver == "json-file" {
            limits.files = 1;
        }
    }
    if let Some(text) = options.get("max-file") {
        let files = text.parse().map_err(|_| invalid(format!("invalid value for max-file: {text}")))?;
        if files < 1 {
            return Err(invalid("max-file cannot be less than 1".to_owned()));
        }
        limits.files = files;
    }
    check_compress(options, limits.files)?;
    Ok(limits)
}

/// What `logs --details` shows before each line: the labels and variables that `labels` and `env` name, sorted.
pub fn details(host: &HostConfig, config: &ContainerConfig) -> String {
    let options = host.log_config.as_ref().and_then(|config| config.config.as_ref());
    let names = |option: &str| {
        let text = options.and_then(|options| options.get(option)).map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    let labels = config.labels.clone().unwrap_or_default();
    pairs.extend(names("labels").into_iter().filter_map(|name| labels.get(&name).map(|value| (name, value.clone()))));
    for entry in config.env.iter().flatten() {
        if let Some((name, value)) = entry.split_once('=')
            && names("env").iter().any(|wanted| wanted == name)
        {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join(",")
}

/// Refuses what Docker refuses; files are never compressed here, which nobody can see but by their size.
fn check_compress(options: &HashMap<String, String>, files: usize) -> Result<()> {
    let Some(text) = options.get("compress") else { return Ok(()) };
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => {}
        "0" | "f" | "false" => return Ok(()),
        _ => return Err(invalid(format!("invalid value for compress: {text}"))),
    }
    if files < 2 || !options.contains_key("max-size") {
        let sentence = "compress cannot be true when max-file is less than 2 or max-size is not set";
        return Err(invalid(sentence.to_owned()));
    }
    Ok(())
}

/// Bytes of `10m`, `1.5kb`, `7`; units are powers of `thousand`.
fn size(text: &str, thousand: u64) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let (number, power) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1),
        'm' => (&text[..text.len() - 1], 2),
        'g' => (&text[..text.len() - 1], 3),
        't' => (&text[..text.len() - 1], 4),
        _ => (text, 0),
    };
    let number: f64 = number.trim().parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
    let bytes = number * thousand.pow(power) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within bounds")]
    (bytes.is_finite() && (0.0..1e15).contains(&bytes)).then_some(bytes as u64)
}

/// As Go's `url.QueryEscape`, which dockerd uses here.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn invalid(sentence: String) -> Error {
    Error::Invalid(sentence)
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::HostConfigLogConfig;

    use super::*;

    fn host(driver: &str, options: &[(&str, &str)]) -> HostConfig {
        let pairs = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let log_config = HostConfigLogConfig { typ: Some(driver.to_owned()), config: Some(pairs.collect()) };
        HostConfig { log_config: Some(log_config), ..HostConfig::default() }
    }

    #[test]
    fn options_mean_what_they_mean_in_docker() {
        let of = |driver: &str, options: &[(&str, &str)]| limits(&host(driver, options)).ok();
        let bounds = |size, files| Some(Limits { size, files, keep: true });
        assert_eq!(of("", &[]), bounds(20 << 20, 5));
        assert_eq!(of("json-file", &[("max-size", "10m")]), bounds(10_000_000, 1));
        assert_eq!(of("json-file", &[("max-size", "10m"), ("max-file", "3")]), bounds(10_000_000, 3));
        assert_eq!(of("local", &[("max-size", "1.5k")]), bounds(1536, 5));
        assert!(of("none", &[]).is_some_and(|limits| !limits.keep));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for (driver, options) in [
            ("syslog", &[][..]),
            ("json-file", &[("max-siz", "1m")]),
            ("json-file", &[("max-size", "x")]),
            ("json-file", &[("max-size", "0")]),
            ("json-file", &[("max-size", "-5m")]),
            ("json-file", &[("max-file", "0")]),
            ("json-file", &[("max-file", "many")]),
            ("json-file", &[("compress", "true")]),
            ("local", &[("tag", "x")]),
        ] {
            assert!(matches!(limits(&host(driver, options)), Err(Error::Invalid(_))), "{driver} {options:?}");
        }
    }

    #[test]
    fn details_are_the_labels_and_variables_asked_for() {
        let labels = HashMap::from([("tier".to_owned(), "web one".to_owned()), ("other".to_owned(), "x".to_owned())]);
        let env = vec!["B=2".to_owned(), "A=1,5".to_owned()];
        let config = ContainerConfig { labels: Some(labels), env: Some(env), ..Default::default() };
        let host = host("json-file", &[("labels", "tier,none"), ("env", "A")]);
        assert_eq!(details(&host, &config), "A=1%2C5,tier=web+one");
    }
}
