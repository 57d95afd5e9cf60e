//! Dockerfile instructions as `commit` and `import` take them: each changes one thing of an image's configuration. Knows
//! no builder and runs nothing.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The most instructions of one request.
const CHANGES_MAX: usize = 1000;

/// Applies `changes` to `config` (an image configuration's `config`), in order.
///
/// # Errors
/// [`Error::Invalid`]: an instruction that is none, or that does not belong here.
pub fn apply(config: &mut Value, changes: &[String]) -> Result<()> {
    if !config.is_object() {
        *config = json!({});
    }
    let Value::Object(config) = config else { return Ok(()) };
    let lines: Vec<&str> = changes.iter().flat_map(|change| change.lines()).map(str::trim).collect();
    if lines.len() > CHANGES_MAX {
        return Err(Error::Invalid(format!("there are more than {CHANGES_MAX} changes")));
    }
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        change(config, &word.to_ascii_uppercase(), rest.trim())?;
    }
    Ok(())
}

fn change(config: &mut Map<String, Value>, word: &str, rest: &str) -> Result<()> {
    let invalid = |reason: &str| Error::Invalid(format!("the change `{word} {rest}` {reason}"));
    if rest.is_empty() && matches!(word, "ENV" | "EXPOSE" | "LABEL" | "USER" | "VOLUME" | "WORKDIR" | "STOPSIGNAL") {
        return Err(Error::Invalid(format!("{word} requires exactly one argument")));
    }
    match word {
        "CMD" => put(config, "Cmd", command(rest)),
        "ENTRYPOINT" => put(config, "Entrypoint", command(rest)),
        "USER" => put(config, "User", json!(rest)),
        "STOPSIGNAL" => put(config, "StopSignal", json!(rest)),
        "WORKDIR" => {
            let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/").to_owned();
            let path = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("{}/{rest}", before.trim_end_matches('/'))
            };
            put(config, "WorkingDir", json!(path));
        }
        "ENV" => {
            for (name, value) in pairs(rest).ok_or_else(|| invalid("is not of the form `NAME=VALUE`"))? {
                let list = list(config, "Env");
                let beginning = format!("{name}=");
                list.retain(|known| !known.as_str().is_some_and(|known| known.starts_with(&beginning)));
                list.push(json!(format!("{name}={value}")));
            }
        }
        "LABEL" => {
            for (name, value) in pairs(rest).ok_or_else(|| invalid("is not of the form `NAME=VALUE`"))? {
                map(config, "Labels").insert(name, json!(value));
            }
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                if number.parse::<u16>().is_err() || !matches!(protocol, "tcp" | "udp" | "sctp") {
                    return Err(invalid("names no port"));
                }
                map(config, "ExposedPorts").insert(format!("{number}/{protocol}"), json!({}));
            }
        }
        "VOLUME" => {
            let paths = words(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            for path in paths {
                map(config, "Volumes").insert(path, json!({}));
            }
        }
        "ONBUILD" => {
            let first = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if rest.is_empty() || matches!(first.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(invalid("is not allowed as a trigger"));
            }
            list(config, "OnBuild").push(json!(rest));
        }
        "HEALTHCHECK" => put(config, "Healthcheck", health(rest).ok_or_else(|| invalid("is no health check"))?),
        _ => return Err(Error::Invalid(format!("{word} is not a valid change command"))),
    }
    Ok(())
}

fn put(config: &mut Map<String, Value>, name: &str, value: Value) {
    config.insert(name.to_owned(), value);
}

fn list<'a>(config: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let entry = config.entry(name.to_owned()).or_insert_with(|| json!([]));
    if !entry.is_array() {
        *entry = json!([]);
    }
    match entry {
        Value::Array(list) => list,
        _ => unreachable!("it was made a list above"),
    }
}

fn map<'a>(config: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let entry = config.entry(name.to_owned()).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Value::Object(map) => map,
        _ => unreachable!("it was made a map above"),
    }
}

/// `["a","b"]`.
fn words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// The exec form as it stands, the shell form through the shell.
fn command(text: &str) -> Value {
    match words(text) {
        Some(words) => json!(words),
        None if text.is_empty() => Value::Null,
        None => json!(["/bin/sh", "-c", text]),
    }
}

/// `A=1 B="two words" C=three\ words`, or the old `NAME VALUE`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = split(text);
    if !parts.first()?.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    parts
        .iter()
        .map(|part| part.split_once('=').filter(|(name, _)| !name.is_empty()))
        .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

/// Words parted by blanks, quotes and backslashes taken off.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', None | Some('"')) => part.extend(chars.next()),
            (char, Some(open)) if char == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(char);
                begun = true;
            }
            (char, None) if char.is_whitespace() => {
                if begun || !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                }
                begun = false;
            }
            (char, _) => part.push(char),
        }
    }
    if begun || !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// `NONE`, or `[--interval=D] [--timeout=D] [--start-period=D] [--retries=N] CMD ...`.
fn health(text: &str) -> Option<Value> {
    if text.eq_ignore_ascii_case("none") {
        return Some(json!({ "Test": ["NONE"] }));
    }
    let mut check = json!({});
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace)?;
        let (name, value) = flag.split_once('=')?;
        let nanos = || crate::timestamp::parse_duration(value).map(|nanos| json!(nanos));
        let (field, value) = match name {
            "interval" => ("Interval", nanos()?),
            "timeout" => ("Timeout", nanos()?),
            "start-period" => ("StartPeriod", nanos()?),
            "start-interval" => ("StartInterval", nanos()?),
            "retries" => ("Retries", json!(value.parse::<u32>().ok()?)),
            _ => return None,
        };
        check[field] = value;
        rest = after.trim_start();
    }
    let (word, command) = rest.split_once(char::is_whitespace)?;
    if !word.eq_ignore_ascii_case("cmd") {
        return None;
    }
    check["Test"] = match words(command.trim()) {
        Some(words) => json!(["CMD"].into_iter().map(str::to_owned).chain(words).collect::<Vec<_>>()),
        None => json!(["CMD-SHELL", command.trim()]),
    };
    Some(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<Value> {
        let mut config = json!({ "Env": ["PATH=/bin"], "WorkingDir": "/srv" });
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply(&mut config, &changes).map(|()| config)
    }

    #[test]
    fn instructions_change_the_configuration_as_a_dockerfile_would() {
        let config = applied(&[
            "CMD [\"sh\", \"-c\", \"true\"]",
            "entrypoint echo hi",
            "ENV A=1 B=\"two words\" PATH=/usr/bin",
            "ENV OLD with blanks",
            "LABEL l=1",
            "EXPOSE 80 53/udp",
            "VOLUME /data",
            "USER 1000:1000",
            "WORKDIR app",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN true",
            "HEALTHCHECK --interval=5s --retries=2 CMD curl -f /",
        ])
        .unwrap();
        assert_eq!(config["Cmd"], json!(["sh", "-c", "true"]));
        assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c", "echo hi"]));
        assert_eq!(config["Env"], json!(["A=1", "B=two words", "PATH=/usr/bin", "OLD=with blanks"]));
        assert_eq!(config["Labels"], json!({ "l": "1" }));
        assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {}, "53/udp": {} }));
        assert_eq!(config["Volumes"], json!({ "/data": {} }));
        assert_eq!((config["User"].as_str(), config["WorkingDir"].as_str()), (Some("1000:1000"), Some("/srv/app")));
        assert_eq!(config["Healthcheck"]["Interval"], json!(5_000_000_000_u64));
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "curl -f /"]));
    }

    #[test]
    fn what_is_no_change_is_refused_in_one_sentence() {
        for (change, part) in [
            ("RUN true", "RUN is not a valid change command"),
            ("ENV", "ENV requires exactly one argument"),
            ("ENV a=1 b", "NAME=VALUE"),
            ("EXPOSE http", "names no port"),
            ("ONBUILD FROM x", "not allowed"),
            ("HEALTHCHECK --often=1 CMD x", "no health check"),
        ] {
            let text = applied(&[change]).unwrap_err().sentence();
            assert!(text.contains(part) && !text.contains('\n'), "{text}");
        }
    }
}
