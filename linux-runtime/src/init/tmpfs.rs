//! A tmpfs over a directory: with that directory's mode, and with its content where that is asked (`tmpcopyup`).

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fstat, mkdirat,
    mknodat, openat, readlinkat_raw, sendfile, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, Result};
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen};

use super::mounts;
use super::text::Text;
use crate::step::Target;

/// Deeper trees are no content to begin with: each level costs two descriptors and some stack.
const DEPTH: usize = 128;

/// Mounts it beneath `base`.
pub(super) fn mount(
    options: &[(CString, Option<CString>)],
    attributes: u64,
    copy_up: bool,
    base: BorrowedFd<'_>,
    target: &Target,
) -> Result<()> {
    let point = mounts::directory(base, target)?;
    let covered = fstat(&point)?;
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let mut mode = Text::<16>::new();
    mode.octal(covered.st_mode & 0o7777)?;
    fsconfig_set_string(fs.as_fd(), c"mode", mode.as_c_str()?)?;
    // An explicit mode comes later and counts.
    mounts::configure(fs.as_fd(), options)?;
    fsconfig_create(fs.as_fd())?;
    // Read-only at last: it is filled first.
    let writable = attributes & !crate::sys::RDONLY;
    let mount = mounts::finish(fs.as_fd(), if copy_up { writable } else { attributes })?;
    if copy_up {
        // Handles by O_PATH alone read nothing.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = openat(&point, c".", flags, Mode::empty())?;
        let to = openat(&mount, c".", flags, Mode::empty())?;
        content(from.as_fd(), to.as_fd(), 0)?;
        own(&to, &covered)?;
        if attributes != writable {
            mounts::restrict(mount.as_fd(), attributes)?;
        }
    }
    mounts::attach_to(mount.as_fd(), point.as_fd())
}

/// Copies what is in one directory into another. Names are taken one by one and never followed.
fn content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth == DEPTH {
        return Err(Errno::LOOP);
    }
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            one(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let private = Mode::from_raw_mode(0o700);
    match kind {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = openat(from, name, flags, Mode::empty())?;
            mkdirat(to, name, private)?;
            let made = openat(to, name, flags, Mode::empty())?;
            content(source.as_fd(), made.as_fd(), depth + 1)?;
            own(&made, &stat)?;
        }
        FileType::RegularFile => {
            let source = openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(to, name, flags, private)?;
            while sendfile(&made, &source, None, 1 << 30)? > 0 {}
            own(&made, &stat)?;
        }
        FileType::Symlink => {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let (says, _) = readlinkat_raw(from, name, &mut buffer)?;
            symlinkat(Text::<4096>::of(says)?.as_c_str()?, to, name)?;
            given(chownat(to, name, uid(&stat), gid(&stat), AtFlags::SYMLINK_NOFOLLOW))?;
        }
        // Whoever listens at a socket listens at the old one.
        FileType::Socket => return Ok(()),
        _ => {
            mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
            given(chownat(to, name, uid(&stat), gid(&stat), AtFlags::SYMLINK_NOFOLLOW))?;
        }
    }
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
        last_modification: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner first: a change of it takes set-user-ID away.
fn own(made: &OwnedFd, stat: &Stat) -> Result<()> {
    given(rustix::fs::fchown(made, uid(stat), gid(stat)))?;
    fchmod(made, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

/// Whoever the user namespace does not know stays its root.
fn given(owner: Result<()>) -> Result<()> {
    match owner {
        Err(Errno::INVAL | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn uid(stat: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.st_uid))
}

fn gid(stat: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.st_gid))
}
