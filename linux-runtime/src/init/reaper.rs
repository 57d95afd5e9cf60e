//! The first process of a container that asked for an init: a program that is process 1 itself ignores the signals it
//! does not handle and collects whoever loses its parent without knowing (ARCHITECTURE.md, section 10). Like everything
//! between clone and execve it allocates nothing; it stands under the same identity and filter as the program, so that
//! whoever takes it over has gained nothing.

use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, setpgid, wait};
use rustix::termios::tcsetpgrp;

use crate::sys;

/// Returns in the copy that becomes the program; the original never comes back.
pub(super) fn stay() -> Result<()> {
    sys::block_all();
    // Without a process namespace of its own it is not the first, and orphans would go past it.
    set_child_subreaper(Some(getpid()))?;
    match sys::fork()? {
        None => become_leader(),
        Some(program) => serve(program),
    }
}

/// A process group of its own, in the foreground where there is a terminal: signals that a terminal sends reach the
/// program once, not twice.
fn become_leader() -> Result<()> {
    setpgid(None, None)?;
    match tcsetpgrp(rustix::stdio::stdin(), getpid()) {
        Ok(()) | Err(Errno::NOTTY | Errno::BADF | Errno::PERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Passes signals on and reaps, until the program ends; its end is ours.
fn serve(program: Pid) -> ! {
    let _ = rustix::thread::set_name(c"init");
    // The streams too: their far ends must see the program close them. Nothing here opens or writes anything.
    let _ = sys::seal_or_close(0, 0);
    loop {
        let number = sys::next_signal();
        if number == libc::SIGCHLD {
            if let Some(status) = reap(program) {
                sys::exit_now(status);
            }
        } else {
            sys::kill_number(program, number);
        }
    }
}

/// Collects everybody who has ended; the exit status for the container once the program is among them.
fn reap(program: Pid) -> Option<i32> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = retry_on_intr(|| wait(WaitOptions::NOHANG)) {
        if pid == program {
            ended = exit_status(status);
        }
    }
    ended
}

fn exit_status(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
