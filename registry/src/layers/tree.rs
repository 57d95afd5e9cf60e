//! Writes entries beneath a directory handle. A parent is opened by cap-std, which follows links only as long as they
//! stay beneath the handle; the last component is then made relative to the parent and never followed. Privileges are
//! decided by trying: an owner that may not be given or a device that may not be made is left out. Reads no tar.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, MetadataExt};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::Fault;
use super::entry::{Entry, Kind};
use crate::removal::remove_tree_in as remove_tree;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";
/// Names remembered for one layer: folders whose attributes are set last, and what the layer itself has made.
const REMEMBERED_MAX: usize = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One layer as overlayfs's lower folder.
    Overlay,
    /// All layers in one folder: names and contents, permissions without setuid, nothing else.
    Plain,
}

/// One layer being written.
pub(super) struct Tree<'a> {
    root: &'a Dir,
    form: Form,
    /// Folders get their mode and time at the end: what is made in them changes the one and may need the other.
    folders: BTreeMap<PathBuf, (u32, (i64, u32))>,
    /// What this layer has made; its whiteouts hide only what lower layers made.
    made: BTreeSet<PathBuf>,
    remembered: usize,
    parent: Option<(PathBuf, Dir)>,
}

type Applied<T = ()> = Result<T, Refusal>;

/// Why one entry was not written, before its name is known.
enum Refusal {
    Because(String),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal::Failed(errno.into())
    }
}

fn because<T>(reason: impl Into<String>) -> Applied<T> {
    Err(Refusal::Because(reason.into()))
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a Dir, form: Form) -> Tree<'a> {
        let (folders, made) = (BTreeMap::new(), BTreeSet::new());
        Tree { root, form, folders, made, remembered: 0, parent: None }
    }

    /// Writes one entry. An entry of the same path written before gives way.
    pub(super) fn apply(&mut self, entry: &Entry, body: &mut dyn Read) -> Result<(), Fault> {
        self.write(entry, body).map_err(|refusal| {
            let shown = super::shown(entry.path.as_os_str().as_bytes());
            match refusal {
                Refusal::Because(reason) => Fault::Refused { entry: shown, reason },
                // What the body's reader says concerns the layer, not this disk.
                Refusal::Failed(source) if source.get_ref().is_some() => Fault::Read { source },
                Refusal::Failed(source) => Fault::Write { entry: shown, source },
            }
        })
    }

    fn write(&mut self, entry: &Entry, body: &mut dyn Read) -> Applied {
        let Some(name) = entry.path.file_name().map(OsStr::to_os_string) else {
            return self.write_root(entry);
        };
        let parent_path = entry.path.parent().unwrap_or(Path::new("")).to_path_buf();
        if name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(&parent_path, name.as_bytes());
        }
        let parent = self.parent(&parent_path)?;
        let opaque = self.make_room(&parent, &name, entry)?;
        self.remember(&entry.path)?;
        match &entry.kind {
            Kind::Folder => self.write_folder(&parent, &name, entry, opaque),
            Kind::File => self.write_file(&parent, &name, entry, body),
            Kind::Symlink(target) => self.write_symlink(&parent, &name, entry, target),
            Kind::HardLink(target) => self.write_hard_link(&parent, &name, target),
            Kind::Fifo => self.write_node(&parent, &name, entry, FileType::Fifo, 0),
            Kind::CharDevice(major, minor) => {
                self.write_node(&parent, &name, entry, FileType::CharacterDevice, makedev(*major, *minor))
            }
            Kind::BlockDevice(major, minor) => {
                self.write_node(&parent, &name, entry, FileType::BlockDevice, makedev(*major, *minor))
            }
        }
    }

    fn write_root(&mut self, entry: &Entry) -> Applied {
        if entry.kind != Kind::Folder {
            return because("stands for the layer's root but is not a folder");
        }
        self.own(&self.root.try_clone()?, OsStr::new("."), entry)?;
        self.remember(Path::new(""))?;
        self.folders.insert(PathBuf::new(), (entry.mode, entry.mtime));
        Ok(())
    }

    /// Removes what the entry replaces. Tells whether a whiteout made way, so that a folder in its place must hide what
    /// lower layers have there.
    fn make_room(&mut self, parent: &Dir, name: &OsStr, entry: &Entry) -> Applied<bool> {
        let Some(found) = metadata(parent, name)? else { return Ok(false) };
        if found.is_dir() {
            if entry.kind == Kind::Folder {
                return Ok(false);
            }
            self.parent = None;
            self.forget(&entry.path);
            remove_tree(parent, name)?;
            return Ok(false);
        }
        let whiteout = self.form == Form::Overlay && is_whiteout(&found);
        // It may be a link that the remembered parent was reached through.
        self.parent = None;
        parent.remove_file(name)?;
        Ok(whiteout)
    }

    fn write_folder(&mut self, parent: &Dir, name: &OsStr, entry: &Entry, opaque: bool) -> Applied {
        match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.own(parent, name, entry)?;
        if opaque {
            mark_opaque(&open_folder(parent, name)?)?;
        }
        if self.form == Form::Overlay && !entry.attributes.is_empty() {
            set_attributes(&open_folder(parent, name)?, entry)?;
        }
        self.folders.insert(entry.path.clone(), (entry.mode, entry.mtime));
        Ok(())
    }

    fn write_file(&mut self, parent: &Dir, name: &OsStr, entry: &Entry, body: &mut dyn Read) -> Applied {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
        let copied = io::copy(body, &mut file)?;
        if copied != entry.size {
            return because("ends before its content is complete");
        }
        if self.form == Form::Overlay {
            tolerate(fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))))?;
        }
        // After the owner: chown(2) clears setuid bits and capabilities.
        fchmod(&file, Mode::from_raw_mode(self.mode(entry)))?;
        if self.form == Form::Overlay {
            set_attributes(&file, entry)?;
        }
        Ok(futimens(&file, &times(entry.mtime))?)
    }

    fn write_symlink(&mut self, parent: &Dir, name: &OsStr, entry: &Entry, target: &[u8]) -> Applied {
        symlinkat(OsStr::from_bytes(target), parent, name)?;
        self.own(parent, name, entry)?;
        Ok(utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn write_hard_link(&mut self, parent: &Dir, name: &OsStr, target: &Path) -> Applied {
        let shown = super::shown(target.as_os_str().as_bytes());
        let Some(target_name) = target.file_name() else { return because("is a hard link to the root") };
        let folder = match self.root.open_dir(dot_if_empty(target.parent())) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return because(format!("is a hard link to `{shown}`, which the layer does not hold"));
            }
            Err(error) => return because(format!("is a hard link to `{shown}`, which cannot be reached: {error}")),
        };
        match metadata(&folder, target_name)? {
            None => because(format!("is a hard link to `{shown}`, which the layer does not hold")),
            Some(found) if found.is_dir() => because(format!("is a hard link to the folder `{shown}`")),
            Some(found) if self.form == Form::Overlay && is_whiteout(&found) => {
                because(format!("is a hard link to `{shown}`, which the layer removes"))
            }
            // Without AT_SYMLINK_FOLLOW a link to a symbolic link is a link to the link.
            Some(_) => Ok(linkat(&folder, target_name, parent, name, AtFlags::empty())?),
        }
    }

    fn write_node(&mut self, parent: &Dir, name: &OsStr, entry: &Entry, kind: FileType, device: u64) -> Applied {
        if self.form == Form::Plain {
            return Ok(());
        }
        match mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device) {
            Ok(()) => {}
            // An ordinary user makes no devices; the image then simply lacks them, as it would lack their use.
            Err(Errno::PERM) if kind != FileType::Fifo => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        self.own(parent, name, entry)?;
        chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        Ok(utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// OCI image-spec, layer.md, "Whiteouts": they hide what lower layers hold, never what this layer holds.
    fn whiteout(&mut self, parent_path: &Path, name: &[u8]) -> Applied {
        if name == OPAQUE {
            let parent = self.parent(parent_path)?;
            return match self.form {
                Form::Overlay => mark_opaque(&open_folder(&parent, OsStr::new("."))?),
                Form::Plain => self.clear_lower(&parent, parent_path),
            };
        }
        if name.starts_with(AUFS) {
            // Bookkeeping of the aufs driver, of no meaning anywhere else.
            return Ok(());
        }
        let hidden = OsStr::from_bytes(&name[WHITEOUT.len()..]);
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return because("is a whiteout of nothing");
        }
        let parent = self.parent(parent_path)?;
        let path = parent_path.join(hidden);
        match (self.form, metadata(&parent, hidden)?) {
            (Form::Overlay, None) => {
                mknodat(&parent, hidden, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?;
                self.remember(&path)
            }
            (Form::Overlay, Some(found)) if found.is_dir() => mark_opaque(&open_folder(&parent, hidden)?),
            (Form::Overlay, Some(_)) | (Form::Plain, None) => Ok(()),
            (Form::Plain, Some(found)) if self.made.contains(&path) => match found.is_dir() {
                true => self.clear_lower(&parent.open_dir(hidden)?, &path),
                false => Ok(()),
            },
            (Form::Plain, Some(_)) => {
                self.parent = None;
                Ok(remove_tree(&parent, hidden)?)
            }
        }
    }

    /// Removes from a plain folder what lower layers put there.
    fn clear_lower(&mut self, folder: &Dir, path: &Path) -> Applied {
        self.parent = None;
        for name in names(folder)? {
            let child = path.join(&name);
            if !self.made.contains(&child) {
                remove_tree(folder, &name)?;
            } else if folder.symlink_metadata(&name)?.is_dir() {
                self.clear_lower(&folder.open_dir(&name)?, &child)?;
            }
        }
        Ok(())
    }

    /// The folder at `path`, made where it is missing.
    fn parent(&mut self, path: &Path) -> Applied<Dir> {
        if let Some((cached, dir)) = &self.parent
            && cached == path
        {
            return Ok(dir.try_clone()?);
        }
        let dir = match self.root.open_dir(dot_if_empty(Some(path))) {
            Ok(dir) => dir,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.make_parents(path)?
            }
            Err(error) => return because(format!("lies in a folder that cannot be reached beneath the root: {error}")),
        };
        self.parent = Some((path.to_path_buf(), dir.try_clone()?));
        Ok(dir)
    }

    fn make_parents(&mut self, path: &Path) -> Applied<Dir> {
        let mut done = PathBuf::new();
        let mut dir = self.root.try_clone()?;
        for component in path.components() {
            let name = component.as_os_str();
            done.push(name);
            let found = metadata(&dir, name)?;
            let whiteout = self.form == Form::Overlay && found.as_ref().is_some_and(is_whiteout);
            if whiteout {
                dir.remove_file(name)?;
            }
            if whiteout || found.is_none() {
                mkdirat(&dir, name, Mode::from_raw_mode(0o755))?;
                chmodat(&dir, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                self.remember(&done)?;
            }
            if whiteout {
                mark_opaque(&open_folder(&dir, name)?)?;
            }
            dir = match self.root.open_dir(&done) {
                Ok(dir) => dir,
                Err(error) => {
                    let shown = super::shown(done.as_os_str().as_bytes());
                    return because(format!("lies in `{shown}`, which is no folder of the layer: {error}"));
                }
            };
        }
        Ok(dir)
    }

    fn remember(&mut self, path: &Path) -> Applied {
        for ancestor in path.ancestors() {
            if !self.made.insert(ancestor.to_path_buf()) {
                break;
            }
            self.remembered += ancestor.as_os_str().len() + size_of::<PathBuf>();
        }
        if self.remembered > REMEMBERED_MAX {
            return because("is one of too many: the layer's names alone take more memory than the limit allows");
        }
        Ok(())
    }

    /// What is beneath a path stands right behind it: paths are ordered by their components. A look at everything, for
    /// every folder that a hostile layer replaces, would take hours.
    fn forget(&mut self, path: &Path) {
        let beneath = |found: &&PathBuf| found.starts_with(path);
        let gone: Vec<PathBuf> = self.made.range(path.to_owned()..).take_while(beneath).cloned().collect();
        for path in gone {
            self.folders.remove(&path);
            self.made.remove(&path);
        }
    }

    fn own(&self, parent: &Dir, name: &OsStr, entry: &Entry) -> Applied {
        if self.form == Form::Plain {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        tolerate(chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))
    }

    fn mode(&self, entry: &Entry) -> u32 {
        match (self.form, &entry.kind) {
            (Form::Overlay, _) => entry.mode,
            (Form::Plain, Kind::Folder) => entry.mode & 0o777 | 0o700,
            (Form::Plain, _) => entry.mode & 0o777 | 0o600,
        }
    }

    /// Gives the folders their modes and times, the deepest first.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let folders = std::mem::take(&mut self.folders);
        for (path, (mode, mtime)) in folders.iter().rev() {
            let set = || -> io::Result<()> {
                let folder = self.root.open_dir(dot_if_empty(Some(path)))?;
                let mode = if self.form == Form::Plain { mode & 0o777 | 0o700 } else { *mode };
                chmodat(&folder, ".", Mode::from_raw_mode(mode), AtFlags::empty())?;
                Ok(utimensat(&folder, ".", &times(*mtime), AtFlags::empty())?)
            };
            set().map_err(|source| Fault::Write { entry: super::shown(path.as_os_str().as_bytes()), source })?;
        }
        Ok(())
    }
}

/// An ordinary user owns everything itself, and stays the owner.
fn tolerate(result: rustix::io::Result<()>) -> Applied {
    match result {
        // EINVAL: in a user namespace, an id that is not mapped there.
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn set_attributes(file: &File, entry: &Entry) -> Applied {
    for (name, value) in &entry.attributes {
        match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// overlayfs reads `trusted.overlay.opaque`, or `user.overlay.opaque` where the mount says `userxattr`: whoever may set
/// only the second can also only mount that way.
fn mark_opaque(folder: &File) -> Applied {
    let user = fsetxattr(folder, "user.overlay.opaque", b"y", XattrFlags::empty());
    match (fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty()), user) {
        (Ok(()), _) | (_, Ok(())) => Ok(()),
        (Err(errno), _) => Err(errno.into()),
    }
}

fn open_folder(parent: &Dir, name: &OsStr) -> Applied<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(parent, name, flags, Mode::empty())?))
}

fn metadata(parent: &Dir, name: &OsStr) -> Applied<Option<cap_std::fs::Metadata>> {
    match parent.symlink_metadata(name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_whiteout(found: &cap_std::fs::Metadata) -> bool {
    FileType::from_raw_mode(MetadataExt::mode(found)) == FileType::CharacterDevice && found.rdev() == 0
}

fn dot_if_empty(path: Option<&Path>) -> &Path {
    path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn names(folder: &Dir) -> io::Result<Vec<OsString>> {
    folder.entries()?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gave_way_is_forgotten_and_its_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let mut tree = Tree::new(&root, Form::Plain);
        for path in ["a", "a/b", "a/b/c", "a-b", "a.b/c", "b"] {
            assert!(tree.remember(Path::new(path)).is_ok());
            tree.folders.insert(path.into(), (0o755, (0, 0)));
        }
        tree.forget(Path::new("a"));
        let left: Vec<_> = tree.folders.keys().filter_map(|path| path.to_str()).collect();
        assert_eq!(left, ["a-b", "a.b/c", "b"]);
        assert!(!tree.made.contains(Path::new("a/b/c")) && tree.made.contains(Path::new("a.b")));
    }
}
