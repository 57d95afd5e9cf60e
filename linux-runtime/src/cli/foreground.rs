//! Waiting for a process that is this program's to serve: signals are passed on to it, bytes are carried between its
//! terminal and the caller's, and its end is ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use proa_linux::{Signals, send_signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// The signals of this process, to be passed on from its making on.
#[derive(Debug)]
pub(super) struct Foreground {
    signals: Signals,
}

/// The caller's terminal while it passes every key on; restored when this goes.
struct Raw(Termios);

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Foreground {
    /// Takes all signals; the caller must be single-threaded.
    pub(super) fn new() -> Result<Foreground> {
        Ok(Foreground { signals: Signals::take().context("take signals")? })
    }

    /// Serves the process until it has ended; gives its exit status as a shell would.
    pub(super) fn wait(&self, pid: Pid, process: BorrowedFd<'_>, terminal: Option<&OwnedFd>) -> Result<u8> {
        let _raw = terminal.map(enter_raw_mode).transpose()?.flatten();
        terminal.inspect(|master| resize(master));
        let mut ended = None;
        let mut relay = Relay { terminal: terminal.map(AsFd::as_fd), input: terminal.is_some() };
        loop {
            let mut polled = vec![PollFd::new(&process, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            polled.extend(relay.terminal.map(|master| PollFd::from_borrowed_fd(master, PollFlags::IN)));
            polled.extend(relay.input.then(|| PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)));
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("wait for the container"),
            }
            let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
            if ready[1] {
                ended = ended.or(self.pass_on(pid, process, terminal));
            }
            if relay.terminal.is_some() {
                relay.carry(ready[2], ready.get(3).copied().unwrap_or(false));
            }
            if ready[0] {
                ended = ended.or_else(|| reap(pid));
                relay.drain();
                return Ok(ended.map_or(255, code));
            }
        }
    }

    fn pass_on(&self, pid: Pid, process: BorrowedFd<'_>, terminal: Option<&OwnedFd>) -> Option<WaitStatus> {
        let mut ended = None;
        while let Some(number) = self.signals.next() {
            match number {
                libc::SIGCHLD => ended = ended.or_else(|| reap(pid)),
                libc::SIGWINCH => drop(terminal.inspect(|master| resize(master))),
                // The Go runtime's; ours to bear, not the container's.
                libc::SIGURG | libc::SIGPIPE => {}
                number => drop(send_signal(process, number)),
            }
        }
        ended
    }
}

/// Bytes between two terminals.
struct Relay<'fd> {
    terminal: Option<BorrowedFd<'fd>>,
    /// Whether the caller's input goes on.
    input: bool,
}

impl Relay<'_> {
    fn carry(&mut self, output: bool, input: bool) {
        let Some(master) = self.terminal else { return };
        if output && !copy(master, rustix::stdio::stdout()) {
            // EIO: every process has closed the terminal.
            (self.terminal, self.input) = (None, false);
        } else if input && !copy(rustix::stdio::stdin(), master) {
            self.input = false;
        }
    }

    /// What the process wrote last.
    fn drain(&mut self) {
        while let Some(master) = self.terminal {
            let mut polled = [PollFd::from_borrowed_fd(master, PollFlags::IN)];
            let none = rustix::event::Timespec::default();
            if !matches!(poll(&mut polled, Some(&none)), Ok(1)) || !copy(master, rustix::stdio::stdout()) {
                self.terminal = None;
            }
        }
    }
}

/// Whether anything came.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 8192];
    let Ok(count @ 1..) = retry_on_intr(|| read(from, &mut buffer)) else { return false };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match retry_on_intr(|| write(to, rest)) {
            Ok(count) => rest = &rest[count..],
            Err(_) => return false,
        }
    }
    true
}

fn enter_raw_mode(_: &OwnedFd) -> Result<Option<Raw>> {
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        return Ok(None);
    }
    let before = tcgetattr(stdin).context("look at the caller's terminal")?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(stdin, OptionalActions::Now, &raw).context("take the caller's terminal")?;
    Ok(Some(Raw(before)))
}

fn resize(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        // A terminal that has just gone has no size to keep.
        let _ = tcsetwinsize(master, size);
    }
}

/// Collects who has ended: orphans that came here, and the process itself, whose end it gives.
fn reap(pid: Pid) -> Option<WaitStatus> {
    let mut own = None;
    while let Ok(Some((ended, status))) = retry_on_intr(|| wait(WaitOptions::NOHANG)) {
        if ended == pid {
            own = Some(status);
        }
    }
    own
}

/// The exit status as a shell tells it: 128 and the signal where one ended it.
fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
