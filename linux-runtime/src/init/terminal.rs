//! A pseudo-terminal from the container's own devpts; the slave comes by ioctl from the master, never by path.

use std::os::fd::AsFd;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, fstatfs, openat};
use rustix::io::{Errno, Result};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::ioctl_tiocsctty;
use rustix::termios::{Winsize, tcsetwinsize};

use super::report::{self, Report};
use super::{Context, beneath};
use crate::sys;

const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Opens a terminal, makes it the session's and the standard streams, and keeps the master for the zygote.
pub(super) fn open(context: &mut Context<'_>, size: (u16, u16), owner: (u32, u32), console: bool) -> Result<()> {
    let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let master = beneath::open(root.as_fd(), c"dev/pts/ptmx", OFlags::RDWR | OFlags::NOCTTY, true)?;
    // What the image calls /dev/pts/ptmx must be devpts and the multiplexer (CVE-2025-52565).
    let stat = fstat(&master)?;
    let is_ptmx = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (5, 2)
        && fstatfs(&master)?.f_type as i64 == DEVPTS_MAGIC;
    if !is_ptmx {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    let slave = sys::ptsname_free_peer(master.as_fd())?;
    let (ws_row, ws_col) = size;
    tcsetwinsize(&slave, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })?;
    match fchown(&slave, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(5))) {
        // A user namespace may not map group 5 or the user: then the terminal stays root's.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    if console {
        let point = beneath::open(root.as_fd(), c"dev/console", OFlags::PATH | OFlags::NOFOLLOW, true)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&slave, c"", flags)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&copy, c"", &point, c"", flags)?;
    }
    ioctl_tiocsctty(&slave)?;
    rustix::stdio::dup2_stdin(&slave)?;
    rustix::stdio::dup2_stdout(&slave)?;
    rustix::stdio::dup2_stderr(&slave)?;
    report::send(context.talk.as_fd(), &Report::Terminal, Some(master.as_fd()))
}
