//! Where a container's paths are looked up: one root for a native container, with all that is mounted in it; for a Wasm
//! container the image's own files, where it has any, and each directory it was given.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat, StatVfsMountFlags, fstat, fstatvfs, readlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::beneath;
use crate::files::path::Asked;

/// Links that are followed for a path that is only told.
const LINKS_MAX: usize = 40;
/// Who owns what belongs to nobody inside (Linux, /proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65_534;

/// How owners inside are told outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    first: u32,
    count: u32,
}

impl Ids {
    /// The same inside and outside.
    pub const SAME: Ids = Ids { first: 0, count: u32::MAX };

    /// Inside begins at 0, outside at `first`; there are `count`.
    pub fn new(first: u32, count: u32) -> Ids {
        Ids { first, count }
    }

    /// Who owns inside what belongs to `id` outside.
    pub fn inside(self, id: u32) -> u32 {
        id.checked_sub(self.first).filter(|inside| *inside < self.count).unwrap_or(NOBODY)
    }

    /// Whom outside what belongs to `id` inside belongs to.
    pub fn outside(self, id: u32) -> Option<u32> {
        (id < self.count).then(|| self.first.checked_add(id)).flatten()
    }
}

/// One directory and what lies beneath it.
#[derive(Debug)]
pub struct Place {
    /// Where it stands inside: absolute, clean.
    pub at: PathBuf,
    pub handle: OwnedFd,
    pub read_only: bool,
    /// Whom everything in it belongs to, outside; a Wasm guest knows no owners.
    pub owner: Option<(u32, u32)>,
}

/// Where a container's paths are looked up.
#[derive(Debug)]
pub struct View {
    /// As the user named it, for sentences.
    pub container: String,
    pub places: Vec<Place>,
    pub ids: Ids,
    /// Whether its own root is read-only, for the sentence.
    pub read_only_root: bool,
    /// Whether it is a Wasm container's.
    pub wasm: bool,
}

/// What `HEAD archive` tells of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    pub name: OsString,
    pub size: i64,
    /// Go's `fs.FileMode`.
    pub mode: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// For a link: where it leads in the end, absolute; else empty.
    pub link_target: PathBuf,
}

/// A path that was found.
#[derive(Debug)]
pub struct Found<'a> {
    pub place: &'a Place,
    /// Relative to the place.
    pub path: PathBuf,
    /// Opened with O_PATH.
    pub handle: OwnedFd,
    pub stat: Stat,
}

impl View {
    /// Finds what was asked for; its last part is followed only where a folder was asked for.
    ///
    /// # Errors
    /// `FindFile` when it is not there.
    pub fn find(&self, asked: &Asked) -> Result<Found<'_>> {
        let follow = if asked.folder { OFlags::DIRECTORY } else { OFlags::NOFOLLOW };
        self.open(&asked.path, OFlags::PATH | follow)
    }

    /// Finds the folder to copy into, links followed.
    pub fn folder(&self, asked: &Asked) -> Result<Found<'_>> {
        let found = self.open(&asked.path, OFlags::PATH);
        // Of its own it has at most what the image brought, which all of the image's containers share.
        let shared = |place: &Place| place.at == Path::new("/") && place.read_only;
        if self.wasm && self.place(&asked.path).is_none_or(shared) {
            return Err(Error::Invalid(format!(
                "container {} is Wasm: files are copied only into directories that are mounted into it",
                self.container
            )));
        }
        let found = found?;
        if beneath::kind(&found.stat) != FileType::Directory {
            return Err(Error::Invalid("extraction point is not a directory".to_owned()));
        }
        if found.place.read_only || is_read_only(found.handle.as_fd()) {
            return Err(self.read_only(found.handle.as_fd()));
        }
        Ok(found)
    }

    /// The folder at the root of the container.
    ///
    /// # Errors
    /// `Invalid` where there is none.
    pub fn root(&self) -> Result<&Place> {
        let root = self.places.iter().find(|place| place.at == Path::new("/"));
        root.ok_or_else(|| Error::Invalid(format!("container {} has no files of its own: it is Wasm", self.container)))
    }

    /// What dockerd tells of a path.
    pub fn stat(&self, asked: &Asked, found: &Found<'_>) -> PathStat {
        let link = beneath::kind(&found.stat) == FileType::Symlink;
        PathStat {
            name: asked.base.clone(),
            size: found.stat.st_size,
            mode: go_mode(found.stat.st_mode),
            mtime: (found.stat.st_mtime, u32::try_from(found.stat.st_mtime_nsec).unwrap_or(0)),
            link_target: if link { found.place.at.join(evaluate(found)) } else { PathBuf::new() },
        }
    }

    /// The sentence for a path that cannot be written.
    pub fn read_only(&self, handle: BorrowedFd<'_>) -> Error {
        let device = |handle| fstat(handle).ok().map(|stat| stat.st_dev);
        let of_root = self.places.first().is_some_and(|place| device(place.handle.as_fd()) == device(handle));
        Error::Forbidden(match of_root && self.read_only_root {
            true => "container rootfs is marked read-only".to_owned(),
            false => "mounted volume is marked read-only".to_owned(),
        })
    }

    /// The innermost place that `path` lies in by its words.
    fn place(&self, path: &Path) -> Option<&Place> {
        let inside = self.places.iter().filter(|place| path.starts_with(&place.at));
        inside.max_by_key(|place| place.at.components().count())
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<Found<'_>> {
        let missing = || Error::FindFile { path: path.to_owned(), container: self.container.clone() };
        let place = self.place(path).ok_or_else(missing)?;
        let relative = path.strip_prefix(&place.at).unwrap_or(path).to_owned();
        let opened = beneath::open(place.handle.as_fd(), &relative, flags)
            .and_then(|handle| fstat(&handle).map(|stat| (handle, stat)));
        match opened {
            Ok((handle, stat)) => Ok(Found { place, path: relative, handle, stat }),
            Err(Errno::NOENT) => Err(missing()),
            Err(errno @ (Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ILSEQ)) => {
                let reason = std::io::Error::from(errno);
                let reason = crate::error::chain(&reason);
                Err(Error::Invalid(format!("`{}` in container {}: {reason}", path.display(), self.container)))
            }
            Err(errno) => Err(Error::File { attempt: "find", path: path.to_owned(), source: errno.into() }),
        }
    }
}

fn is_read_only(handle: BorrowedFd<'_>) -> bool {
    fstatvfs(handle).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Where a link leads within its place, every link on the way followed. Only told to the client, who asks again with it;
/// nothing is opened by it.
fn evaluate(found: &Found<'_>) -> PathBuf {
    let root = found.place.handle.as_fd();
    let mut done = PathBuf::new();
    let mut left: Vec<OsString> = parts(&found.path);
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        let target = beneath::open(root, &next, OFlags::PATH | OFlags::NOFOLLOW)
            .ok()
            .and_then(|handle| readlinkat(handle, "", Vec::new()).ok());
        let target = target.and_then(|target| target.into_string().ok()).filter(|_| links < LINKS_MAX);
        match target {
            Some(target) => {
                links += 1;
                if target.starts_with('/') {
                    done = PathBuf::new();
                }
                left.extend(parts(Path::new(&target)));
            }
            None => done = next,
        }
    }
    done
}

/// The parts of a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let kept = |part| match part {
        std::path::Component::Normal(name) => Some(name.to_owned()),
        std::path::Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(kept).collect()
}

/// A mode as Go's `fs.FileMode` has it, which is what clients of Docker read.
fn go_mode(mode: u32) -> u32 {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const FIFO: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const CHARACTER: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => DIRECTORY,
        FileType::Symlink => SYMLINK,
        FileType::BlockDevice => DEVICE,
        FileType::CharacterDevice => DEVICE | CHARACTER,
        FileType::Fifo => FIFO,
        FileType::Socket => SOCKET,
        _ => 0,
    };
    let bits = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
    bits.iter().filter(|(bit, _)| mode & bit != 0).fold(kind | mode & 0o777, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn view(folder: &Path) -> View {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = rustix::fs::open(folder, flags, rustix::fs::Mode::empty()).unwrap();
        let place = Place { at: "/".into(), handle, read_only: false, owner: None };
        View { container: "ship".to_owned(), places: vec![place], ids: Ids::SAME, read_only_root: false, wasm: false }
    }

    #[test]
    fn modes_are_go_s() {
        for (mode, expected) in [
            (0o100_644, 0o644),
            (0o40_755, 2_147_484_141),
            (0o120_777, 134_218_239),
            (0o41_777, 2_148_532_735),
            (0o104_755, 8_389_101),
            (0o20_620, 69_206_416),
        ] {
            assert_eq!(go_mode(mode), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_link_is_itself_or_what_it_leads_to_and_never_leaves() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/file"), "x").unwrap();
        symlink("/a", folder.path().join("first")).unwrap();
        symlink("../../../../first/b/../b", folder.path().join("second")).unwrap();
        symlink("second/missing", folder.path().join("dangling")).unwrap();
        let view = view(folder.path());
        let find = |text: &str| view.find(&Asked::new(text)).map(|found| view.stat(&Asked::new(text), &found));
        assert_eq!(find("/second").unwrap().link_target, Path::new("/a/b"));
        assert_eq!(find("/dangling").unwrap().link_target, Path::new("/a/b/missing"));
        assert_eq!(find("/second/").unwrap().mode & (1 << 31), 1 << 31);
        assert_eq!(find("/second/file").unwrap().size, 1);
        for missing in ["/nowhere", "/dangling/", "/a/b/file/x/y"] {
            assert!(find(missing).is_err(), "{missing}");
        }
        let refused = find("/a/b/file/").unwrap_err().sentence();
        assert!(refused.contains("not a directory"), "{refused}");
    }

    #[test]
    fn owners_outside_the_range_are_nobody_s_inside() {
        let ids = Ids::new(100_000, 65_536);
        assert_eq!((ids.inside(100_000), ids.inside(101_000), ids.inside(0)), (0, 1000, NOBODY));
        assert_eq!((ids.outside(1000), ids.outside(65_536)), (Some(101_000), None));
        assert_eq!((Ids::SAME.inside(7), Ids::SAME.outside(7)), (7, Some(7)));
    }
}
