//! Everything in a folder, entry by entry, with a digest of where it stands and one of what it is. Follows no link, and needs
//! the same few descriptors for a folder of any depth: links within a layer lead to places deeper than any of its paths.
//! Knows nothing of what the folder is for.
//!
//! What an entry is: its type, mode and owners, its extended attributes as far as layers bring or overlayfs reads them, its
//! content, target or device number, how many names it has, and its time; but for a folder's time, which is that of
//! the unpacking where the layer does not name the folder.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    Advice, AtFlags, Dir, FileType, Mode, OFlags, Stat, fadvise, fgetxattr, flistxattr, fstat, openat, readlinkat,
    statat,
};
use rustix::io::{Errno, Result as Answer};
use sha2::{Digest as _, Sha256};

use super::entry::is_kept_attribute;

/// The sum of something, SHA-256.
pub(super) type Sum = [u8; 32];

/// One entry of a folder, or the folder itself.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Names the place, as a path does.
    pub(super) place: Sum,
    /// Tells what stands there.
    pub(super) nature: Sum,
    trail: &'a [CString],
    name: Option<&'a CStr>,
}

/// An entry that cannot be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) entry: String,
    pub(super) source: io::Error,
}

/// Whether content is read from the disk itself where the kernel remembers it from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Memory,
    Disk,
}

/// The longest path that is told whole.
const SHOWN_MAX: usize = 256;
/// The longest extended attribute, and list of them, that the kernel has (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const ATTRIBUTE_MAX: usize = 64 << 10;

impl Entry<'_> {
    /// Its path, as part of a sentence.
    pub(super) fn path(&self) -> String {
        path(self.trail, self.name)
    }
}

/// Visits `root` and everything beneath it, in no particular order.
pub(super) fn walk(root: &cap_std::fs::Dir, from: From, visit: &mut dyn FnMut(&Entry<'_>)) -> Result<(), Unread> {
    let mut walk = Walk { from, visit, trail: Vec::new(), known: HashMap::new(), buffer: vec![0; 128 << 10] };
    walk.all(root.as_fd())
        .map_err(|(name, errno)| Unread { entry: path(&walk.trail, name.as_deref()), source: errno.into() })
}

struct Walk<'v> {
    from: From,
    visit: &'v mut dyn FnMut(&Entry<'_>),
    /// The names of the folders that lead to the one at hand.
    trail: Vec<CString>,
    /// The content of files of several names, by inode: a layer has room for two million names of one large file.
    known: HashMap<u64, Sum>,
    buffer: Vec<u8>,
}

/// A folder that is gone on with once those in it are done.
struct Above {
    identity: (u64, u64),
    place: Sum,
    open: Vec<CString>,
}

/// What the disk or the kernel refuses, and of which name in the folder at hand.
type Failed = (Option<CString>, Errno);

impl Walk<'_> {
    fn all(&mut self, root: BorrowedFd<'_>) -> Result<(), Failed> {
        let here = |errno| (None, errno);
        let mut folder = openat(root, c".", FOLDER, Mode::empty()).map_err(here)?;
        let mut place = Sum::default();
        let mut above: Vec<Above> = Vec::new();
        let mut open = self.folder(folder.as_fd(), place)?;
        loop {
            if let Some(name) = open.pop() {
                let Some(below) = enter(folder.as_fd(), &name).map_err(|errno| (Some(name.clone()), errno))? else {
                    self.tell_closed(folder.as_fd(), &name, place)?;
                    continue;
                };
                above.push(Above { identity: identity(folder.as_fd()).map_err(here)?, place, open });
                place = beneath(&place, &name);
                self.trail.push(name);
                folder = below;
                open = self.folder(folder.as_fd(), place)?;
                continue;
            }
            let Some(back) = above.pop() else { return Ok(()) };
            folder = openat(&folder, c"..", FOLDER, Mode::empty()).map_err(here)?;
            if identity(folder.as_fd()).map_err(here)? != back.identity {
                return Err((None, Errno::STALE));
            }
            self.trail.pop();
            (place, open) = (back.place, back.open);
        }
    }

    /// Tells of a folder and of all in it but the folders, whose names it gives back.
    fn folder(&mut self, folder: BorrowedFd<'_>, place: Sum) -> Result<Vec<CString>, Failed> {
        let here = |errno| (None, errno);
        let mut nature = owned(&fstat(folder).map_err(here)?);
        attributes(folder, &mut nature).map_err(here)?;
        let nature = nature.finalize().into();
        (self.visit)(&Entry { place, nature, trail: &self.trail, name: None });
        let mut folders = Vec::new();
        for found in Dir::read_from(folder).map_err(here)? {
            let name = found.map_err(here)?.file_name().to_owned();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let look = |walk: &mut Self| -> Answer<Option<Sum>> {
                let stat = statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Ok(None),
                    kind => walk.nature(folder, &name, &stat, kind).map(Some),
                }
            };
            match look(self).map_err(|errno| (Some(name.clone()), errno))? {
                None => folders.push(name),
                Some(nature) => {
                    let place = beneath(&place, &name);
                    (self.visit)(&Entry { place, nature, trail: &self.trail, name: Some(&name) });
                }
            }
        }
        Ok(folders)
    }

    /// What can be told of a folder that an ordinary user has closed to itself.
    fn tell_closed(&mut self, parent: BorrowedFd<'_>, name: &CStr, place: Sum) -> Result<(), Failed> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| (Some(name.to_owned()), errno))?;
        let (place, nature) = (beneath(&place, name), owned(&stat).finalize().into());
        (self.visit)(&Entry { place, nature, trail: &self.trail, name: Some(name) });
        Ok(())
    }

    fn nature(&mut self, parent: BorrowedFd<'_>, name: &CStr, stat: &Stat, kind: FileType) -> Answer<Sum> {
        let mut nature = owned(stat);
        nature.update(stat.st_mtime.to_le_bytes());
        nature.update(stat.st_mtime_nsec.to_le_bytes());
        nature.update(stat.st_nlink.to_le_bytes());
        match kind {
            FileType::RegularFile => match openat(parent, name, FILE, Mode::empty()) {
                Ok(file) => {
                    attributes(file.as_fd(), &mut nature)?;
                    nature.update(self.content(file, stat)?);
                }
                // An ordinary user has closed it to itself: it runs no container that could read it either.
                Err(Errno::ACCESS) => nature.update(stat.st_size.to_le_bytes()),
                Err(errno) => return Err(errno),
            },
            FileType::Symlink => nature.update(readlinkat(parent, name, Vec::new())?.to_bytes()),
            _ => nature.update(stat.st_rdev.to_le_bytes()),
        }
        Ok(nature.finalize().into())
    }

    fn content(&mut self, file: OwnedFd, stat: &Stat) -> Answer<Sum> {
        if let Some(known) = self.known.get(&stat.st_ino) {
            return Ok(*known);
        }
        if self.from == From::Disk {
            // Advice: what a guest has mapped stays, and is what that guest sees.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
        let (mut file, mut content) = (std::fs::File::from(file), Sha256::new());
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => content.update(&self.buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        let content = content.finalize().into();
        if stat.st_nlink > 1 {
            self.known.insert(stat.st_ino, content);
        }
        Ok(content)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// NONBLOCK: it was a file when it was looked at.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens a folder; `None` when its owner, who is no root, has closed it.
fn enter(parent: BorrowedFd<'_>, name: &CStr) -> Answer<Option<OwnedFd>> {
    let opened = openat(parent, name, FOLDER, Mode::empty());
    // Without the right to search one may list it, and do nothing else.
    match opened.and_then(|folder| statat(&folder, c"..", AtFlags::empty()).map(|_| folder)) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn identity(folder: BorrowedFd<'_>) -> Answer<(u64, u64)> {
    let stat = fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn beneath(place: &Sum, name: &CStr) -> Sum {
    let mut hasher = Sha256::new();
    hasher.update(place);
    hasher.update(name.to_bytes());
    hasher.finalize().into()
}

fn owned(stat: &Stat) -> Sha256 {
    let mut hasher = Sha256::new();
    [stat.st_mode, stat.st_uid, stat.st_gid].iter().for_each(|number| hasher.update(number.to_le_bytes()));
    hasher
}

/// Adds the attributes that matter, in the order of their names.
fn attributes(file: BorrowedFd<'_>, hasher: &mut Sha256) -> Answer<()> {
    let mut list = vec![0; ATTRIBUTE_MAX];
    let length = match flistxattr(file, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let names = list[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut names: Vec<&str> =
        names.filter(|name| is_kept_attribute(name) || name.ends_with(".overlay.opaque")).collect();
    names.sort_unstable();
    for name in names {
        let mut value = vec![0; ATTRIBUTE_MAX];
        let length = fgetxattr(file, name, &mut value[..])?;
        hasher.update(name);
        hasher.update(length.to_le_bytes());
        hasher.update(&value[..length]);
    }
    Ok(())
}

fn path(trail: &[CString], name: Option<&CStr>) -> String {
    let mut bytes = Vec::new();
    for part in trail.iter().map(CString::as_c_str).chain(name) {
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(part.to_bytes());
        if bytes.len() > SHOWN_MAX {
            break;
        }
    }
    if bytes.is_empty() { "/".to_owned() } else { super::shown(&bytes) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use cap_std::ambient_authority;
    use rustix::fs::mkdirat;

    use super::*;

    fn entries(root: &Path) -> Vec<String> {
        let root = cap_std::fs::Dir::open_ambient_dir(root, ambient_authority()).unwrap();
        let mut paths = Vec::new();
        walk(&root, From::Disk, &mut |entry| paths.push(entry.path())).unwrap();
        paths.sort();
        paths
    }

    #[test]
    fn a_folder_deeper_than_any_stack_is_walked_with_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = rustix::fs::open(dir.path(), FOLDER, Mode::empty()).unwrap();
        for _ in 0..5000 {
            mkdirat(&at, c"down", Mode::RWXU).unwrap();
            at = openat(&at, c"down", FOLDER, Mode::empty()).unwrap();
        }
        let path = dir.path().to_owned();
        let small = std::thread::Builder::new().stack_size(64 << 10);
        let found = small.spawn(move || entries(&path)).unwrap().join().unwrap();
        assert_eq!(found.len(), 5001);
        assert!(found.iter().all(|path| path.len() < 2 * SHOWN_MAX));
        crate::removal::remove_tree(&dir.path().join("down")).unwrap();
    }

    #[test]
    fn what_is_closed_to_its_owner_is_told_and_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("closed")).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        for name in ["closed", "secret"] {
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        assert_eq!(entries(dir.path()), ["/", "closed", "secret"]);
    }
}
