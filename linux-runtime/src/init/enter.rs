//! The last steps of a guest that is code of our own: its first half while /proc can still be reached, its second
//! half when nothing can. The one place between clone and guest where something allocates: the entry's own code.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::{Errno, Result, fcntl_dupfd_cloexec};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::Context;
use super::report::{self, Report};
use crate::step::Slot;
use crate::sys;

/// What a panic in an entry exits with, as Rust's own runtime does.
const PANICKED: i32 = 101;

/// Places the kept descriptors from 3 on, then the socket to the zygote, and closes everything else.
pub(super) fn keep(context: &mut Context<'_>, keep: &[Slot]) -> Result<()> {
    let first_free = 4 + keep.len() as i32;
    // All are moved out of the way first, so that none is overwritten by another's place.
    let mut moved = [-1_i32; 256];
    let count = keep.len();
    if count >= moved.len() {
        return Err(Errno::MFILE);
    }
    for (slot, place) in keep.iter().zip(&mut moved) {
        *place = sys::leak(fcntl_dupfd_cloexec(context.slot(*slot)?, first_free)?);
    }
    moved[count] = sys::leak(fcntl_dupfd_cloexec(context.talk.as_fd(), first_free)?);
    // Whatever the table holds goes before its numbers are given to others.
    context.table.iter_mut().for_each(|slot| drop(slot.take()));
    for (at, number) in moved[..=count].iter().enumerate() {
        sys::place(*number, 3 + at as i32)?;
    }
    let talk = sys::kept(3 + count as i32);
    let old = std::mem::replace(&mut context.talk, talk);
    // Its number may have been given to another just now; it closes with the rest or is one of the places.
    sys::leak(old);
    context.maps = None;
    context.kept = count;
    sys::seal_or_close(first_free, 0)
}

/// Calls the entry's first half.
pub(super) fn build(context: &mut Context<'_>, entry: &std::ffi::CStr) -> Result<()> {
    let entry = context.entries.iter().find(|known| known.name.as_bytes() == entry.to_bytes()).ok_or(Errno::NOENT)?;
    sys::default_and_unblock_all();
    // From here on it frees only what is its own.
    sys::wipe_what_is_freed(false);
    // A process that is not dumpable may not open its own /proc/self/pagemap, which the engine wants to.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let argument = &context.plan.argument;
    match catch_unwind(AssertUnwindSafe(|| (entry.build)(argument))) {
        Ok(built) => context.built = Some(built),
        Err(_) => sys::exit_now(PANICKED),
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Calls the entry's second half with the kept descriptors; never comes back with success.
pub(super) fn enter(context: &mut Context<'_>) -> Result<()> {
    let built = context.built.take().ok_or(Errno::NOENT)?;
    report::send(context.talk.as_fd(), &Report::Entered, None)?;
    let talk = context.talk.as_raw_fd();
    let descriptors: Vec<OwnedFd> = (3..3 + context.kept as i32).map(sys::kept).collect();
    sys::close_number(talk);
    match catch_unwind(AssertUnwindSafe(|| built(descriptors))) {
        Ok(status) => sys::exit_now(status),
        Err(_) => sys::exit_now(PANICKED),
    }
}
