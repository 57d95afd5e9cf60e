//! Paths inside the root, resolved by the kernel beneath a handle: openat2 with RESOLVE_IN_ROOT and
//! RESOLVE_NO_MAGICLINKS. What is mounted on or written to is the descriptor that came out, so that nobody can exchange
//! a path between check and use (CVE-2021-30465, CVE-2019-16884).

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat, openat2, readlinkat_raw};
use rustix::io::{Errno, Result};

use super::text::Text;
use crate::step::Beneath;

/// openat2 answers EAGAIN when somebody renames on the way; so often is no accident.
const ATTEMPTS: usize = 128;

/// As many links as the kernel itself follows in one path.
const LINKS: usize = 40;

/// As long as a path may be.
type Path = Text<4096>;

/// What is made at the end of a path if nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Directory,
    File,
}

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
        Err(Errno::NOENT) => make(root, whole, Last::Directory, no_symlinks),
        other => other,
    }
}

/// A handle on the file `path`, made empty with its parents where missing.
pub(super) fn file(root: BorrowedFd<'_>, path: &Beneath, no_symlinks: bool) -> Result<OwnedFd> {
    let whole = path.prefixes.last().ok_or(Errno::ISDIR)?;
    match open(root, whole, OFlags::PATH, no_symlinks) {
        Err(Errno::NOENT) => make(root, whole, Last::File, no_symlinks),
        other => other,
    }
}

/// Makes what is missing of a path. A link that leads nowhere is read here and followed inside the root, as the kernel
/// would have: never by a call that makes a file and follows links itself (CVE-2024-45310).
fn make(root: BorrowedFd<'_>, path: &CStr, last: Last, no_symlinks: bool) -> Result<OwnedFd> {
    let mut text = Path::new();
    text.push(path.to_bytes())?;
    for _ in 0..LINKS {
        let mut read = Path::new();
        match walk(root, &text, last, (!no_symlinks).then_some(&mut read))? {
            Some(handle) => return Ok(handle),
            None => text = read,
        }
    }
    Err(Errno::LOOP)
}

/// Goes the way and makes what is missing; nothing comes back when a link was met that leads nowhere: then `read` has the path
/// with that link replaced by what it says.
fn walk(root: BorrowedFd<'_>, path: &Path, last: Last, read: Option<&mut Path>) -> Result<Option<OwnedFd>> {
    let no_symlinks = read.is_none();
    let mut parent = open(root, c".", OFlags::PATH | OFlags::DIRECTORY, true)?;
    let text = path.bytes();
    let mut begin = 0;
    while begin < text.len() {
        let end = text[begin..].iter().position(|byte| *byte == b'/').map_or(text.len(), |length| begin + length);
        let whole = end == text.len();
        let flags = if whole && last == Last::File { OFlags::PATH } else { OFlags::PATH | OFlags::DIRECTORY };
        // An empty component is a slash too many, which openat2 passes over as well.
        if end > begin {
            parent = match open(root, Path::of(&text[..end])?.as_c_str()?, flags, no_symlinks) {
                Err(Errno::NOENT) => {
                    let name = Path::of(&text[begin..end])?;
                    match make_one(parent.as_fd(), name.as_c_str()?, flags)? {
                        Some(made) => made,
                        None => {
                            *read.ok_or(Errno::LOOP)? = replace(parent.as_fd(), &name, (&text[..begin], &text[end..]))?;
                            return Ok(None);
                        }
                    }
                }
                other => other?,
            };
        }
        begin = end + 1;
    }
    Ok(Some(parent))
}

/// Makes one component and opens what was made; nothing if something is there already.
fn make_one(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<Option<OwnedFd>> {
    let made = if flags.contains(OFlags::DIRECTORY) {
        mkdirat(parent, name, Mode::from_raw_mode(0o755))
    } else {
        mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
    };
    match made {
        Ok(()) => openat(parent, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map(Some),
        Err(Errno::EXIST) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The path `before`/link/`after` with the link read.
fn replace(parent: BorrowedFd<'_>, name: &Path, (before, after): (&[u8], &[u8])) -> Result<Path> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut text = Path::new();
    match readlinkat_raw(parent, name.as_c_str()?, &mut buffer) {
        Ok((says, _)) => {
            if says.first() != Some(&b'/') {
                text.push(before)?;
            }
            text.push(says)?;
        }
        // No link: it appeared between two looks, and will be found at the next.
        Err(Errno::INVAL) => drop(text.push(before)?.push(name.bytes())?),
        Err(errno) => return Err(errno),
    }
    text.push(after)?;
    Ok(text)
}
