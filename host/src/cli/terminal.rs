//! The caller's terminal: raw while a guest has it, and as it was afterwards, however the command ends.

use std::io;
use std::sync::Mutex;

use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// How the terminal was before it went raw; here and not in [`Raw`], so that a signal's thread can put it back too.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal in raw mode; dropping it restores what was.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Puts standard input into raw mode.
    pub(crate) fn enter() -> io::Result<Raw> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(before);
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(()))
    }
}

/// A terminal that does not show what is typed; dropping it restores what was.
#[derive(Debug)]
pub(crate) struct Silent(());

impl Silent {
    /// Takes standard input's echo away, but for the end of a line.
    pub(crate) fn enter() -> io::Result<Silent> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        *BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(before);
        tcsetattr(stdin(), OptionalActions::Now, &silent)?;
        Ok(Silent(()))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        restore();
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was, once.
pub(crate) fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
        // A terminal that has hung up needs no restoring.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

/// Whether standard input is a terminal.
pub(crate) fn is_input() -> bool {
    isatty(stdin())
}

/// Height and width of the caller's terminal in characters.
pub(crate) fn size() -> Option<[u16; 2]> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some([size.ws_row, size.ws_col])
}
