//! Removes trees that strangers made: layers, and what guests wrote. Follows no link, and needs the same few frames and
//! descriptors for a folder a million levels deep, which a guest makes in a second (mkdir and chdir, again and again),
//! as for a flat one. Knows nothing of what the tree was for.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fstat, openat, statat, unlinkat};
use rustix::io::{Errno, Result};

/// Removes `path` and all beneath it; absent is fine. The last component is not followed. May take long: not for an
/// event loop's thread.
///
/// # Errors
/// The first name that cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    match openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(parent) => remove_tree_in(parent, name),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// [`remove_tree`] of one name in a folder.
pub fn remove_tree_in(parent: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let name = CString::new(name.as_ref().as_bytes())?;
    let parent = parent.as_fd();
    if removed(parent, &name)? {
        return Ok(());
    }
    empty(open(parent, &name)?)?;
    match unlinkat(parent, &name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Walks down and, by `..`, up again; that `..` is the folder one came from is verified.
fn empty(mut folder: OwnedFd) -> Result<()> {
    let mut above: Vec<(CString, (u64, u64))> = Vec::new();
    loop {
        if let Some(name) = first_full(folder.as_fd())? {
            let below = open(folder.as_fd(), &name)?;
            above.push((name, identity(folder.as_fd())?));
            folder = below;
            continue;
        }
        let Some((name, expected)) = above.pop() else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let up = openat(&folder, c"..", flags, Mode::empty())?;
        if identity(up.as_fd())? != expected {
            return Err(Errno::STALE);
        }
        match unlinkat(&up, &name, AtFlags::REMOVEDIR) {
            // A listing may pass over a name while others are removed: then it is found and entered once more.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => folder = up,
            Err(errno) => return Err(errno),
        }
    }
}

/// Removes what can be removed at once; gives the first folder that holds something.
fn first_full(folder: BorrowedFd<'_>) -> Result<Option<CString>> {
    for name in names(folder)? {
        let name = name?;
        if !removed(folder, &name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn identity(folder: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Removes a file or an empty folder; `false` for a folder that holds something.
fn removed(parent: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // POSIX says EPERM of a folder, Linux EISDIR; but EPERM and EACCES also mean what they say.
        Err(Errno::ISDIR | Errno::PERM | Errno::ACCESS) if is_folder(parent, name)? => {}
        Err(errno) => return Err(errno),
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn is_folder(parent: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

/// Opens a folder. An ordinary user may first have to open up what it owns.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode & 0o700 != 0o700 && is_folder(parent, name)? {
        // Not ours: then whoever may everything goes on all the same, and others fail below.
        let _ = chmodat(parent, name, Mode::RWXU, AtFlags::empty());
    }
    openat(parent, name, flags, Mode::empty())
}

fn names(folder: BorrowedFd<'_>) -> Result<impl Iterator<Item = Result<CString>>> {
    let entries = Dir::read_from(folder)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    Ok(names.filter(|name| !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// `depth` folders, each in the one before.
    fn dig(parent: &Path, name: &str, depth: usize) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = openat(CWD, parent, flags, Mode::empty()).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            at = openat(&at, name, flags, Mode::empty()).unwrap();
        }
        rustix::fs::symlinkat("/", &at, "root").unwrap();
    }

    #[test]
    fn a_tree_deeper_than_any_stack_is_removed_with_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        dig(&tree, "a", 5_000);
        dig(&tree, "b", 300);
        let small = std::thread::Builder::new().stack_size(64 << 10);
        small.spawn(move || remove_tree(&tree)).unwrap().join().unwrap().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed_and_closed_folders_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("closed/deep/deeper")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        fs::write(tree.join("closed/deep/deeper/file"), "").unwrap();
        symlink(&kept, tree.join("closed/link")).unwrap();
        fs::set_permissions(tree.join("closed/deep"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && kept.join("file").exists());
        let link = dir.path().join("link");
        symlink(&kept, &link).unwrap();
        remove_tree(&link).unwrap();
        remove_tree(&link).unwrap();
        remove_tree(&link.join("nothing/here")).unwrap();
        assert!(link.symlink_metadata().is_err() && kept.join("file").exists());
    }
}
