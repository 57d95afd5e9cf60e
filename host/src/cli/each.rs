//! Verbs that take several names: each is tried, each failure told, and any failure fails the command.

use std::fmt::Display;
use std::io::Write;

use super::failure::report;

/// Calls `verb` for each name and prints what it returns, a line each.
pub(crate) fn each<T: Display>(
    names: &[String],
    mut verb: impl FnMut(&str) -> anyhow::Result<T>,
) -> anyhow::Result<u8> {
    each_found(names, |name| verb(name).map(Some))
}

/// The same for a verb that may have nothing to say of a name.
pub(crate) fn each_found<T: Display>(
    names: &[String],
    mut verb: impl FnMut(&str) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<u8> {
    let mut code = 0;
    for name in names {
        match verb(name) {
            Ok(Some(said)) => writeln!(std::io::stdout(), "{said}")?,
            Ok(None) => {}
            Err(error) => {
                report(&error);
                code = 1;
            }
        }
    }
    Ok(code)
}
