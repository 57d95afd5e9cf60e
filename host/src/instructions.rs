//! The Dockerfile instructions that `docker commit --change` and `docker import --change` take, applied to a configuration.
//! Knows no build: nothing is run and no variable is replaced.

use bollard_stubs::models::{ContainerConfig, HealthConfig};

use crate::error::{Error, Result};
use crate::request::merge_entries;

/// What runs a command that is written as a line.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies every line of `text`, one instruction each; a line that ends in a backslash goes on in the next.
///
/// # Errors
/// `Invalid` with one sentence for what is no such instruction.
pub fn apply(config: &mut ContainerConfig, text: &str) -> Result<()> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        one(config, &name.to_ascii_uppercase(), rest.trim())?;
    }
    Ok(())
}

fn one(config: &mut ContainerConfig, name: &str, rest: &str) -> Result<()> {
    if rest.is_empty() && !matches!(name, "CMD" | "ENTRYPOINT") {
        return Err(Error::Invalid(format!("{name} requires at least one argument")));
    }
    match name {
        "CMD" => config.cmd = Some(command(rest, config)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest, config));
            // As in a build: what the old entrypoint was given means nothing to the new one.
            config.cmd = None;
        }
        "ENV" => {
            let entries: Vec<String> =
                pairs(name, rest)?.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
            config.env = Some(merge_entries(config.env.take().unwrap_or_default(), &entries));
        }
        "LABEL" => config.labels.get_or_insert_default().extend(pairs(name, rest)?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                add(&mut config.exposed_ports, expose(port)?);
            }
        }
        "VOLUME" => {
            let paths = json(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            paths.into_iter().for_each(|path| add(&mut config.volumes, path));
        }
        "USER" => config.user = Some(rest.to_owned()),
        "WORKDIR" => {
            let base = config.working_dir.clone().unwrap_or_default();
            config.working_dir = Some(crate::spec::clean(&base, rest).to_string_lossy().into_owned());
        }
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "ONBUILD" => {
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if matches!(trigger.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(Error::Invalid(format!("{trigger} isn't allowed as an ONBUILD trigger")));
            }
            config.on_build.get_or_insert_default().push(rest.to_owned());
        }
        "HEALTHCHECK" => config.healthcheck = Some(health(rest)?),
        "SHELL" => {
            let words = json(rest).filter(|words| !words.is_empty());
            config.shell = Some(
                words.ok_or_else(|| Error::Invalid("SHELL requires the arguments to be in JSON form".to_owned()))?,
            );
        }
        other => return Err(Error::Invalid(format!("{} is not a valid change command", other.to_ascii_lowercase()))),
    }
    Ok(())
}

fn command(rest: &str, config: &ContainerConfig) -> Vec<String> {
    if let Some(words) = json(rest) {
        return words;
    }
    if rest.is_empty() {
        return Vec::new();
    }
    let shell = config.shell.clone().filter(|shell| !shell.is_empty());
    let mut words = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
    words.push(rest.to_owned());
    words
}

fn json(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn add(list: &mut Option<Vec<String>>, entry: String) {
    let list = list.get_or_insert_default();
    if !list.contains(&entry) {
        list.push(entry);
    }
}

fn expose(port: &str) -> Result<String> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let known = matches!(protocol.as_str(), "tcp" | "udp" | "sctp");
    let bounds = number.split_once('-').unwrap_or((number, number));
    let range = bounds.0.parse::<u16>().ok().zip(bounds.1.parse::<u16>().ok()).filter(|(first, last)| first <= last);
    match range.filter(|_| known) {
        Some(_) => Ok(format!("{number}/{protocol}")),
        None => Err(Error::Invalid(format!("invalid containerPort: {port}"))),
    }
}

/// `a=b c="d e"`, or `name all the rest`.
fn pairs(name: &str, rest: &str) -> Result<Vec<(String, String)>> {
    let words = words(rest);
    if !words.first().is_some_and(|word| word.contains('=')) {
        return match rest.split_once(char::is_whitespace) {
            Some((key, value)) => Ok(vec![(key.to_owned(), value.trim().to_owned())]),
            None => Err(Error::Invalid(format!("{name} must have two arguments"))),
        };
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::Invalid(format!("Syntax error - can't find = in \"{word}\". Must be of the form: name=value"))),
    };
    words.iter().map(pair).collect()
}

/// Words as a shell splits them: quotes hold together, a backslash takes the next character as it is.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => (quote, begun) = (Some(letter), true),
            (None | Some('"'), '\\') => {
                word.extend(rest.next());
                begun = true;
            }
            (None, letter) if letter.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    all.push(std::mem::take(&mut word));
                }
            }
            (_, letter) => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        all.push(word);
    }
    all
}

/// `NONE`, or `[--interval=D] [--timeout=D] [--start-period=D] [--start-interval=D] [--retries=N] CMD command`.
fn health(rest: &str) -> Result<HealthConfig> {
    let mut check = HealthConfig::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let invalid = || Error::Invalid(format!("HEALTHCHECK: invalid flag `--{flag}`"));
        let time = || duration(value).ok_or_else(invalid).map(Some);
        match name {
            "interval" => check.interval = time()?,
            "timeout" => check.timeout = time()?,
            "start-period" => check.start_period = time()?,
            "start-interval" => check.start_interval = time()?,
            "retries" => check.retries = Some(value.parse().map_err(|_| invalid())?),
            _ => return Err(invalid()),
        }
        rest = after.trim_start();
    }
    let (kind, command_line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = Some(match kind.to_ascii_uppercase().as_str() {
        "NONE" => vec!["NONE".to_owned()],
        "CMD" if !command_line.trim().is_empty() => match json(command_line.trim()) {
            Some(words) => [vec!["CMD".to_owned()], words].concat(),
            None => vec!["CMD-SHELL".to_owned(), command_line.trim().to_owned()],
        },
        "CMD" => return Err(Error::Invalid("Missing command after HEALTHCHECK CMD".to_owned())),
        other => return Err(Error::Invalid(format!("Unknown type \"{other}\" in HEALTHCHECK (try CMD)"))),
    });
    Ok(check)
}

/// Go's durations as nanoseconds: `1m30s`, `500ms`.
fn duration(text: &str) -> Option<i64> {
    let mut total = 0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        total += number
            * match &after[..unit] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &after[unit..];
    }
    (!text.is_empty() && total < 9e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str) -> Result<ContainerConfig> {
        let mut config = ContainerConfig {
            env: Some(vec!["A=1".to_owned()]),
            cmd: Some(vec!["old".to_owned()]),
            working_dir: Some("/srv".to_owned()),
            ..ContainerConfig::default()
        };
        apply(&mut config, text).map(|()| config)
    }

    fn list(list: &Option<Vec<String>>) -> Vec<&str> {
        list.iter().flatten().map(String::as_str).collect()
    }

    #[test]
    fn every_instruction_changes_what_it_names() {
        let text = "ENV A=2 B=\"x y\"\nenv C rest of it\nLABEL one=1 'two words'=2\nEXPOSE 80 53/udp 8000-8010\n\
            VOLUME [\"/data\"]\nVOLUME /a /b\nUSER web\nWORKDIR www\nSTOPSIGNAL SIGINT\nONBUILD RUN make\n\
            HEALTHCHECK --interval=1m30s --retries=2 CMD curl localhost\nENTRYPOINT [\"run\"]\nCMD echo a \\\n  b";
        let config = applied(text).unwrap();
        assert_eq!(list(&config.env), ["A=2", "B=x y", "C=rest of it"]);
        assert_eq!(config.labels.unwrap()["two words"], "2");
        assert_eq!(list(&config.exposed_ports), ["80/tcp", "53/udp", "8000-8010/tcp"]);
        assert_eq!(list(&config.volumes), ["/data", "/a", "/b"]);
        assert_eq!((config.user.as_deref(), config.working_dir.as_deref()), (Some("web"), Some("/srv/www")));
        assert_eq!((list(&config.entrypoint), list(&config.cmd)), (vec!["run"], vec!["/bin/sh", "-c", "echo a    b"]));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (Some(90_000_000_000), Some(2)));
        assert_eq!(list(&check.test), ["CMD-SHELL", "curl localhost"]);
        assert_eq!((config.stop_signal.as_deref(), list(&config.on_build)), (Some("SIGINT"), vec!["RUN make"]));
    }

    #[test]
    fn what_is_no_instruction_is_refused_in_one_sentence() {
        for text in [
            "RUN make",
            "FROM x",
            "ENV",
            "ENV a",
            "EXPOSE http",
            "EXPOSE 9-8",
            "ONBUILD FROM x",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --interval=x CMD y",
            "SHELL sh",
            "LABEL a=1 b",
            "nonsense",
        ] {
            let sentence = applied(text).unwrap_err().sentence();
            assert!(!sentence.contains('\n'), "{text}: {sentence}");
        }
    }
}
