//! Docker's way with a command line on top of clap's: booleans take a value after `=`, the last of repeated flags wins,
//! a flag's value may begin with a hyphen, and what is wrong is told in one sentence with Docker's exit code.
//!
//! Help, man pages and completions come from the tree as it was declared; only parsing uses the adapted one.

use std::ffi::OsString;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command, CommandFactory, FromArgMatches};

/// Parses a command line.
///
/// # Errors
/// The exit code, after the sentence or the help has been printed.
pub(crate) fn parse<T: CommandFactory + FromArgMatches>(words: impl Iterator<Item = OsString>) -> Result<T, u8> {
    let words: Vec<OsString> = words.collect();
    let matches = adapt(T::command()).try_get_matches_from(&words);
    match matches.and_then(|mut matches| T::from_arg_matches_mut(&mut matches)) {
        Ok(parsed) => Ok(parsed),
        Err(error) if !error.use_stderr() => Err(help::<T>(&words, error)),
        // A group of commands without a command is a question, as with Docker.
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader who went away wants no more of it.
            let _ = write!(std::io::stdout(), "{}", error.render());
            Err(0)
        }
        Err(error) => Err(refuse(&error)),
    }
}

/// Prints help from the tree as declared, whose flags have no `[=BOOL]`.
fn help<T: CommandFactory>(words: &[OsString], error: clap::Error) -> u8 {
    let error = match T::command().try_get_matches_from(words) {
        Err(plain) if !plain.use_stderr() => plain,
        _ => error,
    };
    // A reader who went away wants no more of it.
    let _ = error.print();
    0
}

/// The same commands, read by Docker's rules.
pub(crate) fn adapt(command: Command) -> Command {
    command
        .args_override_self(true)
        .mut_args(|arg| {
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                arg.action(ArgAction::Set)
                    .num_args(0..=1)
                    .require_equals(true)
                    .value_parser(boolean)
                    .default_value("false")
                    .default_missing_value("true")
            } else if !arg.is_positional() && arg.get_action().takes_values() && !arg.is_require_equals_set() {
                arg.allow_hyphen_values(true)
            } else {
                arg
            }
        })
        .mut_subcommands(adapt)
}

/// A boolean as Go's strconv.ParseBool reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// Tells what is wrong with a command line; Docker's exit code for it: 1 where words are missing or too many, 125 where
/// a flag is wrong.
fn refuse(error: &clap::Error) -> u8 {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" ")),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg);
    let (sentence, code) = match (error.kind(), argument) {
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with('-') => (format!("unknown flag: {flag}"), 125),
        (ErrorKind::UnknownArgument, Some(word)) => (format!("`{word}` is one argument too many"), 1),
        (ErrorKind::MissingRequiredArgument, Some(missing)) => (format!("{missing} is missing"), 1),
        (ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues, Some(missing)) => {
            (format!("{missing} is incomplete"), 1)
        }
        (ErrorKind::InvalidSubcommand, _) => {
            (format!("unknown command: {}", text(ContextKind::InvalidSubcommand).unwrap_or_default()), 1)
        }
        (ErrorKind::MissingSubcommand, _) => ("a command is missing".to_owned(), 1),
        _ => (first_paragraph(&error.to_string()), 125),
    };
    let mut said = format!("proa: {sentence}\n");
    if let Some(command) = usage(error) {
        said.push_str(&format!("hint: see `{command} --help`\n"));
    }
    let _ = std::io::stderr().write_all(said.as_bytes());
    code
}

/// clap's sentence without its label, usage and tips.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

/// The command whose usage clap would have shown: its name as typed.
fn usage(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let name: Vec<&str> = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    Some(name.join(" ")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "proa boat")]
    struct Boat {
        #[arg(short, long)]
        interactive: bool,
        #[arg(short, long)]
        tty: bool,
        #[arg(short, long)]
        name: Option<String>,
        #[arg(short, long)]
        env: Vec<String>,
        #[arg(required = true)]
        words: Vec<String>,
    }

    fn read(line: &str) -> Result<Boat, u8> {
        parse(["boat"].into_iter().chain(line.split(' ')).map(OsString::from))
    }

    #[test]
    fn flags_are_read_as_docker_reads_them() {
        let boat = read("-it --name=a --name b -e -x -e y word").expect("a line");
        assert!(boat.interactive && boat.tty);
        assert_eq!((boat.name.as_deref(), boat.env), (Some("b"), vec!["-x".to_owned(), "y".to_owned()]));
        let boat = read("-t=false --interactive=1 --tty=true --tty=0 word").expect("a line");
        assert!(boat.interactive && !boat.tty);
        assert_eq!(boat.words, ["word"]);
    }

    #[test]
    fn a_wrong_flag_ends_with_125_and_missing_words_with_1() {
        assert_eq!(read("--bogus word").expect_err("refused"), 125);
        assert_eq!(read("--tty=maybe word").expect_err("refused"), 125);
        assert_eq!(read("-t").expect_err("refused"), 1);
    }
}
