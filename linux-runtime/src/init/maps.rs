//! Namespaces of others, and the maps of a user namespace.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces};

use super::Context;
use super::text::Text;
use crate::step::{IdMap, Slot};

/// Writes the maps of the user namespace of `pid`, once.
pub(crate) fn write_maps(pid: Pid, uids: &[IdMap], gids: &[IdMap], deny_setgroups: bool) -> Result<()> {
    if deny_setgroups {
        // Without privilege the kernel wants this before a group map (user_namespaces(7), Linux 3.19).
        write(pid, b"setgroups", b"deny")?;
    }
    write(pid, b"uid_map", lines(uids)?.bytes())?;
    write(pid, b"gid_map", lines(gids)?.bytes())
}

/// The kernel takes less than a page (user_namespaces(7)).
fn lines(maps: &[IdMap]) -> Result<Text<4096>> {
    let mut text = Text::new();
    for map in maps {
        text.number(map.inside)?.push(b" ")?.number(map.outside)?.push(b" ")?.number(map.count)?.push(b"\n")?;
    }
    Ok(text)
}

fn write(pid: Pid, file: &[u8], content: &[u8]) -> Result<()> {
    let mut path = Text::<64>::new();
    path.push(b"/proc/")?.number(pid.as_raw_nonzero().get() as u32)?.push(b"/")?.push(file)?;
    let file = openat(CWD, path.as_c_str()?, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, content).map(drop)
}

/// Waits until somebody has written the maps.
pub(super) fn wait(context: &mut Context<'_>) -> Result<()> {
    let (read, write) = context.maps.take().ok_or(Errno::BADF)?;
    drop(write);
    let mut byte = [0; 1];
    match retry_on_intr(|| rustix::io::read(&read, &mut byte))? {
        // Whoever should have written is gone and has told why.
        0 => crate::sys::exit_now(127),
        _ => Ok(()),
    }
}

/// Enters one namespace of kind `kind`; the kernel refuses a descriptor of any other.
pub(super) fn enter(namespace: BorrowedFd<'_>, kind: u64) -> Result<()> {
    let known = [
        LinkNameSpaceType::ProcessID,
        LinkNameSpaceType::InterProcessCommunication,
        LinkNameSpaceType::Network,
        LinkNameSpaceType::HostNameAndNISDomainName,
        LinkNameSpaceType::ControlGroup,
        LinkNameSpaceType::Time,
        LinkNameSpaceType::Mount,
        LinkNameSpaceType::User,
    ];
    let kind = known.into_iter().find(|one| *one as u64 == kind).ok_or(Errno::INVAL)?;
    move_into_link_name_space(namespace, Some(kind))
}

/// Enters a user namespace and others. Those that belong to it can be entered only from within, those of the runtime's
/// only before: each is tried on both sides.
pub(super) fn enter_with_user(context: &Context<'_>, user: Slot, others: &[(Slot, u64)]) -> Result<()> {
    let mut entered = 0;
    for (namespace, kind) in others {
        match enter(context.slot(*namespace)?, *kind) {
            Ok(()) => entered |= kind,
            Err(Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    enter(context.slot(user)?, libc::CLONE_NEWUSER as u64)?;
    let left = others.iter().filter(|(_, kind)| entered & kind == 0);
    left.into_iter().try_for_each(|(namespace, kind)| enter(context.slot(*namespace)?, *kind))
}

/// A time namespace for the next child. The offsets are taken only as long as nobody has entered it
/// (time_namespaces(7)); here /proc is the runtime's own.
pub(super) fn own_time(offsets: &CStr) -> Result<()> {
    crate::sys::unshare(libc::CLONE_NEWTIME as u64)?;
    let file = openat(CWD, c"/proc/self/timens_offsets", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, offsets.to_bytes()).map(drop)
}

/// Enters the namespaces of the process behind a pidfd (Linux 5.8); the kernel takes the user namespace first.
pub(super) fn join(process: BorrowedFd<'_>, namespaces: u64) -> Result<()> {
    let kinds = u32::try_from(namespaces).map_err(|_| Errno::INVAL)?;
    move_into_thread_name_spaces(process, ThreadNameSpaceType::from_bits_retain(kinds))
}
