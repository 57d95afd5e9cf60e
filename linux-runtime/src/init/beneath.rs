//! Paths inside the root, resolved by the kernel beneath a handle: openat2 with RESOLVE_IN_ROOT and
//! RESOLVE_NO_MAGICLINKS. What is mounted on or written to is the descriptor that came out, so that nobody can exchange
//! a path between check and use (CVE-2021-30465, CVE-2019-16884).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::{Errno, Result};

use crate::step::Beneath;

/// openat2 answers EAGAIN when somebody renames on the way; so often is no accident.
const ATTEMPTS: usize = 128;

/// Opens what `path` means beneath `root`.
pub(super) fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, no_symlinks: bool) -> Result<OwnedFd> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_SYMLINKS, no_symlinks);
    for _ in 1..ATTEMPTS {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// A handle on the directory `path`, made with its parents where missing.
pub(super) fn directory(root: BorrowedFd<'_>, path: &Beneath, no_symlinks: bool) -> Result<OwnedFd> {
    let Some(whole) = path.prefixes.last() else {
        return open(root, c".", OFlags::PATH | OFlags::DIRECTORY, true);
    };
    match open(root, whole, OFlags::PATH | OFlags::DIRECTORY, no_symlinks) {
        Err(Errno::NOENT) => make(root, path, path.names.len(), no_symlinks),
        other => other,
    }
}

/// A handle on the file `path`, made empty with its parents where missing.
pub(super) fn file(root: BorrowedFd<'_>, path: &Beneath, no_symlinks: bool) -> Result<OwnedFd> {
    let (whole, name) = path.prefixes.last().zip(path.names.last()).ok_or(Errno::ISDIR)?;
    match open(root, whole, OFlags::PATH, no_symlinks) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let parent = make(root, path, path.names.len() - 1, no_symlinks)?;
    // EXCL and NOFOLLOW: a dangling link is not followed to make a file elsewhere (CVE-2024-45310).
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    drop(openat(&parent, name.as_c_str(), flags, Mode::from_raw_mode(0o644))?);
    openat(&parent, name.as_c_str(), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The first `count` components as directories.
fn make(root: BorrowedFd<'_>, path: &Beneath, count: usize, no_symlinks: bool) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut parent = open(root, c".", flags, true)?;
    for (prefix, name) in path.prefixes.iter().zip(&path.names).take(count) {
        parent = match open(root, prefix, flags, no_symlinks) {
            Err(Errno::NOENT) => {
                match mkdirat(parent.as_fd(), name.as_c_str(), Mode::from_raw_mode(0o755)) {
                    Err(Errno::EXIST) | Ok(()) => {}
                    Err(errno) => return Err(errno),
                }
                open(root, prefix, flags, no_symlinks)?
            }
            other => other?,
        };
    }
    Ok(parent)
}
