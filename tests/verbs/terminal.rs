//! A terminal with a program on it, for cases that type.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use proa_tests::{command, wait};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The terminal's own end, and what has appeared on it.
pub(crate) struct Terminal {
    keyboard: File,
    child: Mutex<Child>,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts `line` with all three of its streams on a new terminal.
    pub(crate) fn open(line: &mut Command, rows: u16, columns: u16) -> Result<Terminal> {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&keyboard)?;
        unlockpt(&keyboard)?;
        let name = ptsname(&keyboard, Vec::new())?;
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let other: OwnedFd = rustix::fs::open(name, flags, rustix::fs::Mode::empty())?;
        tcsetwinsize(&keyboard, size(rows, columns))?;
        let stream = || -> Result<Stdio> { Ok(other.try_clone()?.into()) };
        let child = line.stdin(stream()?).stdout(stream()?).stderr(stream()?).spawn().context("start a program")?;
        // The command holds descriptors of the terminal until it goes.
        line.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let keyboard = File::from(keyboard);
        let screen = Arc::<Mutex<String>>::default();
        let (mut from, to) = (keyboard.try_clone()?, Arc::clone(&screen));
        // Ends with an error of the read when the last program has left the terminal.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Terminal { keyboard, child: Mutex::new(child), screen })
    }

    /// All that has appeared so far.
    pub(crate) fn seen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn shows(&self, what: &str, text: &str) -> Result<()> {
        wait::until(what, || Ok(self.seen().contains(text)))
            .with_context(|| format!("on the screen: {:?}", self.seen()))
    }

    pub(crate) fn types(&self, keys: &str) -> Result<()> {
        Ok((&self.keyboard).write_all(keys.as_bytes())?)
    }

    /// Another size, told to the program as a terminal's own kernel would.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        tcsetwinsize(&self.keyboard, size(rows, columns))?;
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kill_process(Pid::from_child(&child), Signal::WINCH)?)
    }

    /// Waits for the program's end, which must be with `code`.
    pub(crate) fn ends(self, code: i32) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = command::ends_by(&child, Instant::now() + wait::PATIENCE)?;
        if !ended {
            child.kill()?;
        }
        let status = child.wait()?;
        drop(child);
        ensure!(ended && status.code() == Some(code), "it ended with {status}: {:?}", self.seen());
        Ok(())
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
