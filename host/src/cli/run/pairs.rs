//! Flags of the form `NAME=VALUE`: labels and their files, kernel parameters, options of drivers.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, bail};

/// Each name with its value; one without `=` has the empty value. `what` names the thing in a refusal.
pub(crate) fn parse(typed: &[String], what: &str) -> anyhow::Result<HashMap<String, String>> {
    typed
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.is_empty() {
                bail!("the {what} `{pair}` has no name");
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The same, where a value is a must.
pub(crate) fn parse_full(typed: &[String], what: &str) -> anyhow::Result<HashMap<String, String>> {
    match typed.iter().find(|pair| !pair.contains('=')) {
        Some(pair) => bail!("the {what} `{pair}` has no value\nhint: write it as NAME=VALUE"),
        None => parse(typed, what),
    }
}

/// Labels: those of files first, then what was typed.
pub(crate) fn labels(files: &[PathBuf], typed: &[String]) -> anyhow::Result<HashMap<String, String>> {
    let mut all = HashMap::new();
    for path in files {
        let text = std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
        let lines: Vec<String> =
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
        all.extend(parse(&lines, "label").with_context(|| format!("understand `{}`", path.display()))?);
    }
    all.extend(parse(typed, "label")?);
    Ok(all)
}
