//! What a container has changed: its upper folder (overlayfs form) against the image's layers. A walk that tells of every
//! change once, a folder before what lies in it; a folder that is only on the way to a change is told as modified.
//!
//! ```text
//! upper holds              layers hold           told
//! character device 0:0     anything              deleted
//! folder                   no folder             added (modified where a file was)
//! folder                   folder                modified, if its owner or mode differ or something in it changed
//! folder, opaque           folder                modified; what it hides is told as deleted, `implied`
//! anything else            nothing | something   added | modified
//! ```

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat, fstat, getxattr, openat};
use rustix::io::Errno;

use crate::files::{DEEPEST, beneath};

/// What the runtime makes in every upper folder for its mounts, where the image has none.
const MOUNT_POINTS: [&str; 6] = ["dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// Made only for those.
const ON_THE_WAY: &str = "etc";

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Modified,
    Added,
    Deleted,
}

/// One change.
#[derive(Debug)]
pub struct Change<'a> {
    /// Relative to the root.
    pub path: &'a Path,
    pub kind: Kind,
    /// What is there now, opened with O_PATH; of a deleted path the whiteout, where there is one.
    pub now: Option<(BorrowedFd<'a>, &'a Stat)>,
    /// A folder that hides what the layers have there.
    pub opaque: bool,
    /// Deleted by being hidden.
    pub implied: bool,
}

/// An upper folder and the layers below it.
#[derive(Debug)]
pub struct Upper {
    folder: OwnedFd,
    /// Lowest first.
    layers: Vec<OwnedFd>,
}

/// What the layers have at a path.
enum Below {
    Nothing,
    Other,
    /// With the layers that make it up, lowest first.
    Folder(Vec<usize>, Box<Stat>),
}

impl Upper {
    /// Opens `upper` and the unpacked `layers`, lowest first; `None` where nothing was ever written.
    pub fn open(upper: &Path, layers: &[PathBuf]) -> io::Result<Option<Upper>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |path: &Path| openat(CWD, path, flags, Mode::empty());
        let folder = match open(upper) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let layers = layers.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Some(Upper { folder, layers }))
    }

    /// Tells every change to `tell`; its error ends the walk.
    pub fn walk(&self, tell: &mut dyn FnMut(&Change<'_>) -> io::Result<()>) -> io::Result<()> {
        let below: Vec<usize> = (0..self.layers.len()).collect();
        let mut walk = Walk { upper: self, tell, path: PathBuf::new(), way: Vec::new() };
        walk.folder(self.folder.as_fd(), &below, false)
    }

    /// What the layers `among` have at `path`, whose folder they make up.
    fn below(&self, path: &Path, among: &[usize]) -> io::Result<Below> {
        let mut folder: Option<(Vec<usize>, Box<Stat>)> = None;
        for index in among.iter().rev() {
            let found = match beneath::plain(self.layers[*index].as_fd(), path) {
                Ok(found) => found,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let stat = fstat(&found)?;
            if is_whiteout(&stat) {
                break;
            }
            if beneath::kind(&stat) != FileType::Directory {
                match folder {
                    None => return Ok(Below::Other),
                    Some(_) => break,
                }
            }
            let (layers, _) = folder.get_or_insert_with(|| (Vec::new(), Box::new(stat)));
            layers.insert(0, *index);
            if is_opaque(found.as_fd()) {
                break;
            }
        }
        Ok(folder.map_or(Below::Nothing, |(layers, stat)| Below::Folder(layers, stat)))
    }
}

/// A folder that is told only once something in it has changed.
struct OnTheWay {
    path: PathBuf,
    handle: OwnedFd,
    stat: Stat,
    kind: Kind,
    told: bool,
}

struct Walk<'a> {
    upper: &'a Upper,
    tell: &'a mut dyn FnMut(&Change<'_>) -> io::Result<()>,
    path: PathBuf,
    way: Vec<OnTheWay>,
}

impl Walk<'_> {
    /// `below` are the layers that make the folder up; `hidden` says that none of them shows through.
    fn folder(&mut self, folder: BorrowedFd<'_>, below: &[usize], hidden: bool) -> io::Result<()> {
        if self.way.len() >= DEEPEST {
            return Err(io::Error::other(format!("the container's folders are more than {DEEPEST} deep")));
        }
        for found in Dir::new(beneath::listing(folder)?)? {
            let found = found?;
            let name = OsStr::from_bytes(found.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            self.path.push(name);
            let handled = self.entry(folder, name, below, hidden);
            self.path.pop();
            handled?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: BorrowedFd<'_>, name: &OsStr, below: &[usize], hidden: bool) -> io::Result<()> {
        let handle = match beneath::entry(folder, name) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let stat = fstat(&handle)?;
        let was = self.upper.below(&self.path, below)?;
        if is_whiteout(&stat) {
            let there = !hidden && !matches!(was, Below::Nothing);
            return if there { self.tell(Kind::Deleted, Some((handle.as_fd(), &stat)), false) } else { Ok(()) };
        }
        check_whole(handle.as_fd(), &stat, &self.path)?;
        if beneath::kind(&stat) != FileType::Directory {
            let kind = if matches!(was, Below::Nothing) { Kind::Added } else { Kind::Modified };
            let ours = kind == Kind::Added && stat.st_size == 0 && self.is_mount_point();
            return if ours { Ok(()) } else { self.tell(kind, Some((handle.as_fd(), &stat)), false) };
        }
        self.subfolder(handle, stat, was, hidden)
    }

    fn subfolder(&mut self, handle: OwnedFd, stat: Stat, was: Below, hidden: bool) -> io::Result<()> {
        let opaque = is_opaque(handle.as_fd());
        let (kind, same, below) = match was {
            Below::Nothing => (Kind::Added, false, Vec::new()),
            Below::Other => (Kind::Modified, false, Vec::new()),
            Below::Folder(layers, old) => {
                let owner = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
                // Under a user namespace the layers' owners are told outside as the upper folder's; a copied-up folder's
                // are the same but for that, so only the mode is compared where they differ by it.
                let same = owner(&old) == owner(&stat)
                    || old.st_mode == stat.st_mode && stat.st_uid.checked_sub(old.st_uid) == Some(SHIFT);
                (Kind::Modified, same, layers)
            }
        };
        let replaced = opaque && !below.is_empty();
        if kind == Kind::Added && self.is_mount_point() && is_empty(handle.as_fd())? {
            return Ok(());
        }
        let lazily = same && !replaced && !hidden || kind == Kind::Added && self.path == Path::new(ON_THE_WAY);
        let copy = handle.try_clone()?;
        self.way.push(OnTheWay { path: self.path.clone(), handle: copy, stat, kind, told: true });
        if lazily {
            self.way.last_mut().into_iter().for_each(|last| last.told = false);
        } else {
            let last = self.way.pop();
            self.tell(kind, last.as_ref().map(|last| (last.handle.as_fd(), &last.stat)), replaced)?;
            self.way.extend(last);
        }
        let walked = match replaced && !hidden {
            true => self.hidden_by(handle.as_fd(), &below),
            false => Ok(()),
        };
        let walked = walked.and_then(|()| self.folder(handle.as_fd(), &below, hidden || replaced));
        self.way.pop();
        walked
    }

    /// Tells what the layers have in a folder that hides it.
    fn hidden_by(&mut self, folder: BorrowedFd<'_>, below: &[usize]) -> io::Result<()> {
        let mut names: Vec<OsString> = Vec::new();
        for index in below {
            let layer = beneath::plain(self.upper.layers[*index].as_fd(), &self.path)?;
            for found in Dir::new(beneath::listing(layer.as_fd())?)? {
                names.push(OsStr::from_bytes(found?.file_name().to_bytes()).to_owned());
            }
        }
        names.sort();
        names.dedup();
        for name in names.iter().filter(|name| *name != "." && *name != "..") {
            if !matches!(beneath::entry(folder, name), Err(Errno::NOENT)) {
                continue;
            }
            self.path.push(name);
            let was = self.upper.below(&self.path, below);
            let told = match was {
                Ok(Below::Nothing) => Ok(()),
                Ok(_) => {
                    let change =
                        Change { path: &self.path, kind: Kind::Deleted, now: None, opaque: false, implied: true };
                    (self.tell)(&change)
                }
                Err(error) => Err(error),
            };
            self.path.pop();
            told?;
        }
        Ok(())
    }

    fn tell(&mut self, kind: Kind, now: Option<(BorrowedFd<'_>, &Stat)>, opaque: bool) -> io::Result<()> {
        for folder in self.way.iter_mut().filter(|folder| !folder.told) {
            folder.told = true;
            let now = Some((folder.handle.as_fd(), &folder.stat));
            let change = Change { path: &folder.path, kind: folder.kind, now, opaque: false, implied: false };
            (self.tell)(&change)?;
        }
        (self.tell)(&Change { path: &self.path, kind, now, opaque, implied: false })
    }

    fn is_mount_point(&self) -> bool {
        MOUNT_POINTS.iter().any(|point| self.path == Path::new(point))
    }
}

/// By how much owners in an upper folder differ from the layers' in a user namespace.
const SHIFT: u32 = crate::spec::USERNS_HOST_ID;

/// overlayfs, "whiteouts and opaque directories".
fn is_whiteout(stat: &Stat) -> bool {
    beneath::kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let mut value = [0; 1];
    let name = beneath::own_name(folder);
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|attribute| getxattr(&name, *attribute, &mut value).is_ok_and(|length| length == 1 && value == *b"y"))
}

/// What lies elsewhere is not read as if it were here: a kernel that moves folders or copies metadata alone leaves only
/// half of a file in the upper folder (overlayfs, `redirect_dir` and `metacopy`).
fn check_whole(handle: BorrowedFd<'_>, stat: &Stat, path: &Path) -> io::Result<()> {
    let attribute = match beneath::kind(stat) {
        FileType::Directory => "trusted.overlay.redirect",
        FileType::RegularFile => "trusted.overlay.metacopy",
        _ => return Ok(()),
    };
    match getxattr(beneath::own_name(handle), attribute, &mut [0_u8; 1][..]) {
        Ok(_) | Err(Errno::RANGE) => {
            Err(io::Error::other(format!("`/{}` lies partly in another layer ({attribute})", path.display())))
        }
        Err(_) => Ok(()),
    }
}

fn is_empty(folder: BorrowedFd<'_>) -> io::Result<bool> {
    for found in Dir::new(beneath::listing(folder)?)? {
        if !matches!(found?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{XattrFlags, makedev, mknodat, setxattr};

    use super::*;

    fn told(upper: &Path, layers: &[PathBuf]) -> Vec<String> {
        let upper = Upper::open(upper, layers).unwrap().unwrap();
        let mut all = Vec::new();
        let mut tell = |change: &Change<'_>| {
            let letter = match change.kind {
                Kind::Modified => "C",
                Kind::Added => "A",
                Kind::Deleted => "D",
            };
            all.push(format!("{letter} /{}", change.path.display()));
            Ok(())
        };
        upper.walk(&mut tell).unwrap();
        all.sort();
        all
    }

    #[test]
    fn changes_are_told_once_and_ways_to_them_as_modified() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (low, high, upper) = (folder.path().join("0"), folder.path().join("1"), folder.path().join("upper"));
        for path in ["0/usr/lib/old", "1/usr/lib/new", "1/etc", "1/home", "1/gone", "upper/usr/lib", "upper/etc"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for path in ["0/usr/lib/a", "1/usr/lib/b", "1/etc/x", "1/home/kept", "1/home/hidden", "0/below"] {
            fs::write(folder.path().join(path), "").unwrap();
        }
        for path in ["upper/usr/lib/made", "upper/usr/lib/b", "upper/etc/hosts"] {
            fs::write(folder.path().join(path), if path.ends_with("hosts") { "" } else { "x" }).unwrap();
        }
        for path in ["upper/dev", "upper/proc", "upper/home", "upper/fresh", "upper/tmp"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs::write(folder.path().join("upper/home/kept"), "again").unwrap();
        for path in ["upper/home", "upper/fresh"] {
            setxattr(folder.path().join(path), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        }
        for path in ["upper/gone", "upper/never-there", "1/below", "upper/usr/lib/a"] {
            mknodat(CWD, folder.path().join(path), FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).unwrap();
        }
        fs::write(folder.path().join("upper/below"), "back").unwrap();
        let expected = [
            "A /below",
            "A /fresh",
            "A /tmp",
            "A /usr/lib/made",
            "C /home",
            "C /home/kept",
            "C /usr",
            "C /usr/lib",
            "C /usr/lib/b",
            "D /gone",
            "D /home/hidden",
            "D /usr/lib/a",
        ];
        assert_eq!(told(&upper, &[low, high]), expected);
    }
}
