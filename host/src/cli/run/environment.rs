//! `-e` and `--env-file`, by Docker's rules.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// Files first, then what was typed, in order. A name without a value takes the caller's. Where the caller has none, one
/// of a file is left out, and one that was typed is sent bare, which takes the image's away.
pub(crate) fn collect(files: &[PathBuf], typed: &[String]) -> anyhow::Result<Vec<String>> {
    let caller = |name: &str| std::env::var(name).ok();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        all.extend(parse_file(&text, caller).with_context(|| format!("understand `{}`", path.display()))?);
    }
    for variable in typed {
        if variable.is_empty() || variable.starts_with('=') {
            bail!("the environment variable `{variable}` has no name");
        }
        all.push(resolve(variable, caller).unwrap_or_else(|| variable.clone()));
    }
    Ok(last_of_each(all))
}

/// Of several values of one name the last, where the first was.
fn last_of_each(all: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(all.len());
    let name_of = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in all {
        match kept.iter().position(|known| name_of(known) == name_of(&variable)) {
            Some(at) => kept[at] = variable,
            None => kept.push(variable),
        }
    }
    kept
}

fn parse_file(text: &str, caller: impl Fn(&str) -> Option<String>) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    // Windows editors begin a file with a byte order mark.
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            bail!("line {} has no name before its `=`", number + 1);
        }
        if name.contains(char::is_whitespace) {
            bail!("line {} has a blank in the name `{name}`", number + 1);
        }
        all.extend(resolve(line, &caller));
    }
    Ok(all)
}

fn resolve(variable: &str, caller: impl Fn(&str) -> Option<String>) -> Option<String> {
    if variable.contains('=') {
        return Some(variable.to_owned());
    }
    caller(variable).map(|value| format!("{variable}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], &str>) {
        let caller = |name: &str| (name == "HOME").then(|| "/home/sailor".to_owned());
        match (parse_file(text, caller), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text:?}"),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected, "{text:?}"),
            (found, _) => panic!("{text:?} gave {found:?}"),
        }
    }

    #[test]
    fn the_last_value_of_a_name_wins() {
        let all = ["A=1", "B=2", "A=3", "B"].map(str::to_owned).to_vec();
        assert_eq!(last_of_each(all), ["A=3", "B"]);
    }

    #[test]
    fn env_files_follow_dockers_rules() {
        check("A=1\nB=\n", Ok(&["A=1", "B="]));
        check("# comment\n\n  A = 1", Err("line 3 has a blank in the name `A `"));
        check("  A=1 # kept\r\n", Ok(&["A=1 # kept"]));
        check("\u{feff}A=1", Ok(&["A=1"]));
        check("HOME\nNOWHERE\n", Ok(&["HOME=/home/sailor"]));
        check("A=\"quoted\"=x", Ok(&["A=\"quoted\"=x"]));
        check("A=1\n=2", Err("line 2 has no name before its `=`"));
    }
}
