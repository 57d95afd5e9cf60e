//! What `ps` was asked for: which columns. Whom to show is not for the asker to say, it is the container's processes.

use crate::error::{Error, Result};
use crate::processes::columns::{Column, named};

/// Docker's own arguments where a client gives none.
const DEFAULT: &str = "-ef";

const FULL: &[&str] = &["uid=UID:user", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
const EXTRA_FULL: &[&str] = &["uid=UID:user", "pid", "ppid", "c", "sz", "rss", "psr", "stime", "tty", "time", "cmd"];
const SHORT: &[&str] = &["pid", "tty", "time", "comm=CMD"];
const JOBS: &[&str] = &["pid", "pgid", "sid", "tty", "time", "comm=CMD"];
const USERS: &[&str] = &[
    "user",
    "pid",
    "%cpu",
    "%mem",
    "vsz",
    "rss",
    "tty=TTY",
    "stat",
    "start",
    "time=TIME:bsdtime",
    "command=COMMAND:cmd",
];
const BSD: &[&str] = &["pid", "tty=TTY", "stat", "time=TIME:bsdtime", "command=COMMAND:cmd"];

/// The columns that were asked for.
#[derive(Debug)]
pub struct Request {
    columns: Vec<Column>,
}

impl Request {
    /// Reads arguments of `ps`: `-ef`, `aux`, `-o LIST`, `-eo LIST` and their like.
    ///
    /// # Errors
    /// `Invalid` with one sentence for what is not known here.
    pub fn parse(arguments: &str) -> Result<Request> {
        let arguments = if arguments.trim().is_empty() { DEFAULT } else { arguments };
        let mut words = arguments.split_whitespace();
        let (mut format, mut own): (Option<&[&str]>, Vec<Column>) = (None, Vec::new());
        while let Some(word) = words.next() {
            if let Some(list) = word.strip_prefix("--format") {
                let list = list.strip_prefix('=').or_else(|| words.next()).unwrap_or_default();
                own.extend(columns(list)?);
                continue;
            }
            let (dashed, letters) = word.strip_prefix('-').map_or((false, word), |letters| (true, letters));
            for (at, letter) in letters.char_indices() {
                match (letter, dashed) {
                    // Who is shown is settled; how wide a line is, its reader decides.
                    ('e' | 'A' | 'w', _) => {}
                    ('a' | 'x', true) => {}
                    ('a' | 'x', false) => format = format.or(Some(BSD)),
                    ('f', true) => format = Some(FULL),
                    ('f', false) => format = format.or(Some(BSD)),
                    ('F', true) => format = Some(EXTRA_FULL),
                    ('j', _) => format = Some(JOBS),
                    ('u', _) => format = Some(USERS),
                    ('o', _) => {
                        let rest = &letters[at + 1..];
                        own.extend(columns(if rest.is_empty() { words.next().unwrap_or_default() } else { rest })?);
                        break;
                    }
                    _ => return Err(unknown(word)),
                }
            }
        }
        if own.is_empty() {
            own = format.unwrap_or(SHORT).iter().map(|text| preset(text)).collect::<Result<_>>()?;
        }
        Ok(Request { columns: own })
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }
}

fn unknown(word: &str) -> Error {
    Error::Invalid(format!(
        "ps argument {word:?} is not known here: use -ef, -F, aux, or -o with names such as pid,user,args"
    ))
}

/// `pid,user=WHO args`: names, each with a title of its own if it likes.
fn columns(list: &str) -> Result<Vec<Column>> {
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Error::Invalid("ps argument -o names no column".to_owned()));
    }
    let column = |text: &&str| {
        let (name, title) = text.split_once('=').map_or((*text, None), |(name, title)| (name, Some(title)));
        let found = named(name).ok_or_else(|| Error::Invalid(format!("ps knows no column {name:?}")))?;
        Ok(Column { title: title.map_or(found.title, str::to_owned), show: found.show })
    };
    names.iter().map(column).collect()
}

/// `name`, `name=TITLE` or `name=TITLE:shown as this one`.
fn preset(text: &str) -> Result<Column> {
    let (name, title) = text.split_once('=').map_or((text, None), |(name, title)| (name, Some(title)));
    let (title, shown) = match title.and_then(|title| title.split_once(':')) {
        Some((title, shown)) => (Some(title), shown),
        None => (title, name),
    };
    let found = named(shown).ok_or_else(|| Error::Invalid(format!("ps knows no column {shown:?}")))?;
    Ok(Column { title: title.map_or(found.title, str::to_owned), show: found.show })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &str) -> String {
        let request = Request::parse(arguments).unwrap();
        request.columns.iter().map(|column| column.title.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_usual_arguments_give_the_usual_columns() {
        let table = [
            ("", "UID PID PPID C STIME TTY TIME CMD"),
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("-e -f ww", "UID PID PPID C STIME TTY TIME CMD"),
            ("-e", "PID TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-eopid,user", "PID USER"),
            ("-o pid,comm -o args=WHAT", "PID COMMAND WHAT"),
            ("-eo pid,ppid,cmd", "PID PPID CMD"),
            ("--format=pid,etime", "PID ELAPSED"),
        ];
        for (arguments, expected) in table {
            assert_eq!(titles(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_in_one_sentence() {
        for arguments in ["-p 1", "--sort=pid", "-o", "-o nonsense", "-ef; id", "-T", "\u{7f}"] {
            let error = Request::parse(arguments).unwrap_err().to_string();
            assert!(error.starts_with("ps ") && !error.contains('\n'), "{arguments}: {error}");
        }
    }
}
