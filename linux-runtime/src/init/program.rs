//! The last steps of a guest that is a program: its directory, the barrier, execve.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, fstat, openat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{SocketFlags, accept_with};
use rustix::process::fchdir;

use super::report::{self, Report};
use super::{Context, beneath};
use crate::step::{Beneath, Slot};
use crate::sys;

/// Changes to the working directory, which must lie inside the root: an image's /proc/self/fd/N would be a descriptor
/// of the host's tree (CVE-2024-21626). RESOLVE_NO_MAGICLINKS refuses such a name; the kernel's own answer is asked
/// afterwards all the same.
pub(super) fn working_directory(path: &Beneath) -> Result<()> {
    let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let whole = path.prefixes.last().map_or(c".", |whole| whole.as_c_str());
    let directory = beneath::open(root.as_fd(), whole, OFlags::PATH | OFlags::DIRECTORY, false)?;
    fchdir(&directory)?;
    if sys::cwd_is_reachable()? { Ok(()) } else { Err(Errno::XDEV) }
}

/// Tells the maker that all is ready, and waits.
pub(super) fn await_start(context: &mut Context<'_>) -> Result<()> {
    report::send(context.talk.as_fd(), &Report::Ready, None)?;
    await_byte(context)
}

fn await_byte(context: &Context<'_>) -> Result<()> {
    let mut byte = [0; 1];
    match retry_on_intr(|| rustix::io::read(&context.talk, &mut byte))? {
        // Its maker is gone: nobody will ever start this.
        0 => sys::exit_now(127),
        _ => Ok(()),
    }
}

/// Tells the maker that its hooks may run, and waits until they have.
pub(super) fn await_hooks(context: &mut Context<'_>) -> Result<()> {
    report::send(context.talk.as_fd(), &Report::Hooks, None)?;
    await_byte(context)
}

/// Tells the maker that all is ready, and waits for whoever connects; that connection is whom later failures are told.
pub(super) fn await_connection(context: &mut Context<'_>, listener: Slot) -> Result<()> {
    report::send(context.talk.as_fd(), &Report::Ready, None)?;
    let connection = retry_on_intr(|| accept_with(context.slot(listener)?, SocketFlags::CLOEXEC))?;
    context.talk = connection;
    Ok(())
}

/// The outcome that [`execute`] would have, as far as it can be told without executing.
pub(super) fn find(candidates: &[CString]) -> Result<()> {
    let look = |candidate: &CString| {
        let file = openat(CWD, candidate.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        accessat(CWD, candidate.as_c_str(), Access::EXEC_OK, AtFlags::EACCESS)
    };
    first_outcome(candidates.iter().map(look))
}

/// Executes the first candidate that can be; comes back only with an error, as execvp(3) chooses it: a permission
/// denied on the way counts more than a missing file.
pub(super) fn execute(context: &Context<'_>, candidates: &[CString]) -> Errno {
    sys::default_and_unblock_all();
    let attempt = |candidate: &CString| Err(sys::execve(candidate, context.arguments, context.environment));
    first_outcome(candidates.iter().map(attempt)).err().unwrap_or(Errno::NOENT)
}

/// The first outcome that is neither a missing file nor a denied one; else the denial counts more.
fn first_outcome(attempts: impl Iterator<Item = Result<()>>) -> Result<()> {
    let mut denied = None;
    let mut last = Errno::NOENT;
    for attempt in attempts {
        match attempt {
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => last = errno,
            Err(Errno::ACCESS) => denied = Some(Errno::ACCESS),
            outcome => return outcome,
        }
    }
    Err(denied.unwrap_or(last))
}
