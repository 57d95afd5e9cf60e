//! The last steps of a guest that is a program: its directory, the barrier, execve.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::fchdir;

use super::report::{self, Report};
use super::{Context, beneath};
use crate::step::Beneath;
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

/// Tells the zygote that all is ready, and waits.
pub(super) fn await_start(context: &mut Context<'_>) -> Result<()> {
    report::send(context.talk.as_fd(), &Report::Ready, None)?;
    let mut byte = [0; 1];
    match retry_on_intr(|| rustix::io::read(&context.talk, &mut byte))? {
        // The zygote is gone: nobody will ever start this.
        0 => sys::exit_now(127),
        _ => Ok(()),
    }
}

/// Executes the first candidate that can be; comes back only with an error, as execvp(3) chooses it: a permission
/// denied on the way counts more than a missing file.
pub(super) fn execute(context: &Context<'_>, candidates: &[CString]) -> Errno {
    sys::default_and_unblock_all();
    let mut denied = None;
    let mut last = Errno::NOENT;
    for candidate in candidates {
        last = sys::execve(candidate, context.arguments, context.environment);
        match last {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => denied = Some(last),
            errno => return errno,
        }
    }
    denied.unwrap_or(last)
}
