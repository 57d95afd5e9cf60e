//! A filter that asks somebody about some calls. The child cannot send the listener's descriptor, since sendmsg(2) may be
//! one of these calls: it tells the number by write(2), and whoever made it takes the descriptor (pidfd_getfd(2)).

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result, retry_on_intr};

use super::Context;
use super::report::{self, Report};
use crate::sys::{self, Instruction};

/// Loads the filter, and waits until its listener has been handed on.
pub(super) fn load(context: &Context<'_>, program: &[Instruction], flags: u64) -> Result<()> {
    let listener = sys::load_filter_with_listener(program, flags)?;
    report::send(context.talk.as_fd(), &Report::Listener { number: listener.as_raw_fd() }, None)?;
    // close(2) may be asked about, too; the descriptor closes at execve.
    sys::leak(listener);
    let mut byte = [0; 1];
    match retry_on_intr(|| rustix::io::read(&context.talk, &mut byte))? {
        // Nobody will ever answer for this.
        0 => Err(Errno::PIPE),
        _ => Ok(()),
    }
}
