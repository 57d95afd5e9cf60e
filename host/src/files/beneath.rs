//! Names and paths beneath handles; the only place of `files` where anything is opened.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::{Errno, Result};

/// openat2 answers EAGAIN when somebody renames on the way; so often is a guest that wants it so.
const ATTEMPTS: usize = 1024;

/// What `path` means beneath `root`, links of the container followed within it.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// What `path` is beneath `root` where no part of it is a link.
pub fn plain(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    resolve(root, path, OFlags::PATH | OFlags::NOFOLLOW, how)
}

/// One name in a folder, whatever it is: looked at, not opened (a fifo would never open, a device acts when opened).
pub fn entry(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The same, unless something is mounted there: then EXDEV.
pub fn entry_of_this_mount(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    resolve(folder, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::BENEATH | ResolveFlags::NO_XDEV)
}

/// A folder that was looked at, for listing.
pub fn listing(handle: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(handle, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A regular file that was looked at, for reading; what else it may be is refused.
pub fn reading(handle: BorrowedFd<'_>) -> Result<File> {
    if kind(&fstat(handle)?) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    // By its own descriptor and not by its name, which may mean something else by now.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, own_name(handle), flags, Mode::empty()).map(File::from)
}

/// The path that names a descriptor of ours, for calls that take only paths.
pub fn own_name(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// What a file is.
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 1..ATTEMPTS {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = openat(CWD, folder.path(), flags, Mode::empty()).unwrap();
        (folder, handle)
    }

    #[test]
    fn links_of_the_container_stay_within_it() {
        let (folder, root) = folder();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "inside").unwrap();
        for (name, target) in [("absolute", "/etc/passwd"), ("climbing", "../../../../etc/passwd")] {
            symlink(target, folder.path().join(name)).unwrap();
            let found = open(root.as_fd(), Path::new(name), OFlags::PATH).unwrap();
            assert_eq!(fstat(found).unwrap().st_size, 6, "{name}");
        }
        symlink("/proc/self/root", folder.path().join("magic")).unwrap();
        assert!(open(root.as_fd(), Path::new("magic/etc/passwd"), OFlags::PATH).is_err());
        assert!(plain(root.as_fd(), Path::new("absolute")).is_ok() && plain(root.as_fd(), Path::new("../x")).is_err());
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let (folder, root) = folder();
        rustix::fs::mknodat(CWD, folder.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let look = |name: &str| entry(root.as_fd(), OsStr::new(name)).unwrap();
        assert_eq!(reading(look("fifo").as_fd()).unwrap_err(), Errno::INVAL);
        assert!(reading(look("file").as_fd()).is_ok());
    }
}
