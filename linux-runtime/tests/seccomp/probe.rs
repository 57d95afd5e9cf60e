//! The program that asks for what a guest must not have, and what it told.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;

/// Error numbers by the name of what was asked.
pub(crate) type Answers = BTreeMap<String, i32>;

/// Builds the program there: static, and not position-independent.
pub(crate) fn build(at: &Path) -> Result<(), Failed> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/probe.c");
    let status = Command::new("cc").args(["-O1", "-static", "-no-pie", "-o"]).arg(at).arg(source).status()?;
    if status.success() { Ok(()) } else { Err(format!("cc ended with {status}").into()) }
}

pub(crate) fn answers(output: &str) -> Result<Answers, Failed> {
    let line = |line: &str| {
        let (name, number) = line.split_once(' ').ok_or("a line without a number")?;
        Ok((name.to_owned(), number.parse()?))
    };
    output.lines().map(line).collect()
}

/// Everything was refused with EPERM, or is said not to be there; an ordinary socket alone is given.
pub(crate) fn refused(answers: &Answers) -> Result<(), Failed> {
    let given: Vec<_> = answers.iter().filter(|(_, number)| ![libc::EPERM, libc::ENOSYS].contains(number)).collect();
    let expected = given.len() == 1 && answers.get("af_inet") == Some(&0) && answers.len() > 15;
    if expected { Ok(()) } else { Err(format!("{answers:?}").into()) }
}
