//! From a tar to files, by Docker's rules: what is in the way is replaced, folders are merged, and everything is made by
//! the handle of the folder it lies in, never through a link at the end of a path (CVE-2018-15664, CVE-2026-42306).

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use proa_registry::{ErrorKind, TarEntry, TarKind, TarStream, remove_tree_in};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::beneath;
use crate::files::view::Ids;

/// Folders whose times are set at the end; those beyond keep the time of their last change.
const TIMES_MAX: usize = 50_000;

/// How a tar is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A folder and a file never replace each other.
    pub keep_kinds: bool,
    pub owner: Owner,
    /// File capabilities mean nothing in a user namespace of the guest's, and all the more outside of it.
    pub capabilities: bool,
    /// Devices are passed over instead of refused.
    pub skip_devices: bool,
}

/// Whom the files belong to.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    /// To whom the archive says, told outside by these.
    Archive(Ids),
    /// To these, outside.
    Everything(u32, u32),
}

/// Writes everything in `stream` to the folder `dest` beneath `root`.
///
/// # Errors
/// `Invalid` for what the archive may not hold or may not replace; the rest as the file system has it. What was written
/// before stays, as with dockerd.
pub fn unpack(root: BorrowedFd<'_>, dest: &Path, stream: &mut TarStream<'_>, options: Options) -> Result<()> {
    let mut target = Target { root, dest, options, parent: None, folders: VecDeque::new() };
    while let Some(entry) = stream.advance().map_err(refused)? {
        let failed = |fault| fail(fault, &entry.path);
        target.entry(&entry, &mut stream.body()).map_err(failed)?;
    }
    target.finish();
    Ok(())
}

struct Target<'a> {
    root: BorrowedFd<'a>,
    dest: &'a Path,
    options: Options,
    /// Of the entry before: most have the same.
    parent: Option<(PathBuf, OwnedFd)>,
    folders: VecDeque<(PathBuf, Timestamps)>,
}

enum Fault {
    /// One sentence's end, behind the entry's name.
    Refused(String),
    Failed(io::Error),
}

impl<E: Into<io::Error>> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::Failed(error.into())
    }
}

type Applied<T = ()> = std::result::Result<T, Fault>;

impl Target<'_> {
    fn entry(&mut self, entry: &TarEntry, body: &mut dyn io::Read) -> Applied {
        // The folder that is unpacked into stays what it is.
        let Some(name) = entry.path.file_name() else { return Ok(()) };
        if matches!(entry.kind, TarKind::CharDevice(..) | TarKind::BlockDevice(..)) {
            // A node on a bind mount, where devices are real, would be the machine's (CVE-2023-25153's class).
            let refusal = "is a device, which proa does not copy into a container".to_owned();
            return if self.options.skip_devices { Ok(()) } else { Err(Fault::Refused(refusal)) };
        }
        let owner = self.owner(entry)?;
        let parent = self.parent(entry.path.parent().unwrap_or(Path::new("")))?;
        let merged = self.make_room(parent.as_fd(), name, entry)?;
        match &entry.kind {
            TarKind::File => self.file(parent.as_fd(), name, entry, owner, body),
            TarKind::Folder => self.folder(parent.as_fd(), name, entry, owner, merged),
            TarKind::Symlink(target) => {
                use std::os::unix::ffi::OsStrExt;
                symlinkat(OsStr::from_bytes(target), &parent, name)?;
                chown_at(parent.as_fd(), name, owner)?;
                Ok(utimensat(&parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            TarKind::HardLink(target) => self.hard_link(parent.as_fd(), name, target),
            TarKind::Fifo => {
                mknodat(&parent, name, FileType::Fifo, Mode::from_raw_mode(entry.mode & 0o777), 0)?;
                chown_at(parent.as_fd(), name, owner)
            }
            TarKind::CharDevice(..) | TarKind::BlockDevice(..) => Ok(()),
        }
    }

    fn owner(&self, entry: &TarEntry) -> Applied<(u32, u32)> {
        let ids = match self.options.owner {
            Owner::Everything(uid, gid) => return Ok((uid, gid)),
            Owner::Archive(ids) => ids,
        };
        let told = |id: u32| {
            let refusal = || Fault::Refused(format!("belongs to {id}, which does not exist in the container"));
            ids.outside(id).ok_or_else(refusal)
        };
        Ok((told(entry.uid)?, told(entry.gid)?))
    }

    /// Removes what the entry replaces; true for a folder that stays and is merged.
    fn make_room(&mut self, parent: BorrowedFd<'_>, name: &OsStr, entry: &TarEntry) -> Applied<bool> {
        let found = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let (is, wanted) = (beneath::kind(&found) == FileType::Directory, entry.kind == TarKind::Folder);
        match (is, wanted) {
            (true, true) => return Ok(true),
            (true, false) if self.options.keep_kinds => {
                return Err(Fault::Refused("cannot overwrite directory with non-directory".to_owned()));
            }
            (false, true) if self.options.keep_kinds => {
                return Err(Fault::Refused("cannot overwrite non-directory with directory".to_owned()));
            }
            (true, false) => remove_tree_in(parent, name)?,
            (false, _) => match unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            },
        }
        // It may have been a link on the way to the remembered parent.
        self.parent = None;
        Ok(false)
    }

    fn file(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &TarEntry,
        owner: (u32, u32),
        body: &mut dyn io::Read,
    ) -> Applied {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
        if io::copy(body, &mut file)? != entry.size {
            return Err(Fault::Refused("ends before its content is complete".to_owned()));
        }
        fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        // After the owner: chown(2) clears setuid bits and capabilities.
        fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        self.attributes(file.as_fd(), entry)?;
        Ok(futimens(&file, &times(entry))?)
    }

    fn folder(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &TarEntry,
        owner: (u32, u32),
        merged: bool,
    ) -> Applied {
        if !merged {
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(parent, name, flags, Mode::empty())?;
        fchown(&folder, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        fchmod(&folder, Mode::from_raw_mode(entry.mode))?;
        self.attributes(folder.as_fd(), entry)?;
        if self.folders.len() < TIMES_MAX {
            self.folders.push_back((entry.path.clone(), times(entry)));
        }
        Ok(())
    }

    fn hard_link(&self, parent: BorrowedFd<'_>, name: &OsStr, target: &Path) -> Applied {
        let shown = target.display();
        let refused = |reason: &str| Fault::Refused(format!("is a hard link to `{shown}`, which {reason}"));
        let target_name = target.file_name().ok_or_else(|| refused("is no file"))?;
        let folder = self.dest.join(target.parent().unwrap_or(Path::new("")));
        let folder = beneath::open(self.root, &folder, OFlags::PATH | OFlags::DIRECTORY);
        let folder = folder.map_err(|_| refused("is not there"))?;
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link is a link to the link.
        match linkat(&folder, target_name, parent, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(refused("is not there")),
            Err(Errno::PERM) => Err(refused("is no file")),
            Err(errno) => Err(errno.into()),
        }
    }

    fn attributes(&self, file: BorrowedFd<'_>, entry: &TarEntry) -> Applied {
        for (name, value) in &entry.attributes {
            if name == "security.capability" && !self.options.capabilities {
                continue;
            }
            match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The folder `path` of the archive, made where it is missing. Links on the way are followed within the container.
    fn parent(&mut self, path: &Path) -> Applied<OwnedFd> {
        if let Some((cached, handle)) = &self.parent
            && cached == path
        {
            return Ok(handle.try_clone()?);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = match beneath::open(self.root, &self.dest.join(path), flags) {
            Err(Errno::NOENT) => self.make_parents(path)?,
            other => other?,
        };
        self.parent = Some((path.to_owned(), handle.try_clone()?));
        Ok(handle)
    }

    fn make_parents(&self, path: &Path) -> Applied<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut done = self.dest.to_owned();
        let mut handle = beneath::open(self.root, &done, flags)?;
        for part in path {
            done.push(part);
            handle = match beneath::open(self.root, &done, flags) {
                Err(Errno::NOENT) => {
                    mkdirat(&handle, part, Mode::from_raw_mode(0o755))?;
                    let owner = match self.options.owner {
                        Owner::Everything(uid, gid) => Some((uid, gid)),
                        Owner::Archive(ids) => ids.outside(0).map(|root| (root, root)),
                    };
                    owner.map_or(Ok(()), |owner| chown_at(handle.as_fd(), part, owner))?;
                    beneath::open(self.root, &done, flags)?
                }
                other => other?,
            };
        }
        Ok(handle)
    }

    /// Gives folders their times, which what came after has changed; one that is gone has none.
    fn finish(&mut self) {
        for (path, times) in self.folders.drain(..).rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            if let Ok(folder) = beneath::open(self.root, &self.dest.join(&path), flags) {
                let _ = futimens(folder, &times);
            }
        }
    }
}

fn chown_at(parent: BorrowedFd<'_>, name: &OsStr, (uid, gid): (u32, u32)) -> Applied {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(entry: &TarEntry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn refused(error: proa_registry::Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid => Error::Invalid(crate::error::chain(&error)),
        _ => Error::Image { attempt: "take in", reference: "the archive".to_owned(), source: Box::new(error) },
    }
}

fn fail(fault: Fault, path: &Path) -> Error {
    let name = || path.display().to_string().chars().take(256).collect::<String>();
    match fault {
        Fault::Refused(reason) => Error::Invalid(format!("entry `{}` {reason}", name())),
        // What the archive's reader says is the archive's fault, not this disk's.
        Fault::Failed(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Invalid(format!("entry `{}` is cut off: {source}", name()))
        }
        Fault::Failed(source) => match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ROFS) => Error::Forbidden("mounted volume is marked read-only".to_owned()),
            Some(Errno::NOTDIR | Errno::LOOP | Errno::BUSY | Errno::NAMETOOLONG | Errno::XDEV) => {
                Error::Invalid(format!("entry `{}` cannot be written: {}", name(), crate::error::chain(&source)))
            }
            _ => Error::File { attempt: "write", path: path.to_owned(), source },
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use proa_registry::Limits;
    use rustix::fs::CWD;

    use super::*;

    const OPTIONS: Options =
        Options { keep_kinds: false, owner: Owner::Archive(Ids::SAME), capabilities: true, skip_devices: false };

    fn own() -> Options {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Options { owner: Owner::Everything(uid, gid), ..OPTIONS }
    }

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_mtime(1_000_000_000);
            header.set_uid(0);
            header.set_gid(0);
            let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            if is_link {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let body = if is_link { "" } else { content };
            header.set_size(body.len() as u64);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
            header.set_cksum();
            builder.append(&header, body.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn into(folder: &Path, entries: &[(&str, tar::EntryType, &str)], options: Options) -> Result<()> {
        let root = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let bytes = archive(entries);
        let mut stream = TarStream::new(&bytes[..], &Limits::default()).unwrap();
        unpack(root.as_fd(), Path::new("/in"), &mut stream, options)
    }

    #[test]
    fn files_arrive_and_replace_what_was_there() {
        use tar::EntryType::{Directory, Link, Regular, Symlink};
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("in");
        std::fs::create_dir_all(place.join("old/deep")).unwrap();
        std::fs::write(place.join("file"), "before").unwrap();
        let entries = [
            ("./", Directory, ""),
            ("old", Regular, "was a folder"),
            ("file", Regular, "after"),
            ("new/", Directory, ""),
            ("new/deep/file", Regular, "x"),
            ("new/link", Symlink, "/etc/passwd"),
            ("new/hard", Link, "new/deep/file"),
        ];
        into(folder.path(), &entries, own()).unwrap();
        let read = |name: &str| std::fs::read_to_string(place.join(name)).unwrap();
        assert_eq!((read("old"), read("file"), read("new/hard")), ("was a folder".into(), "after".into(), "x".into()));
        assert_eq!(std::fs::metadata(place.join("file")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::metadata(place.join("new")).unwrap().mtime(), 1_000_000_000);
    }

    #[test]
    fn kinds_are_kept_where_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("in/folder")).unwrap();
        std::fs::write(folder.path().join("in/file"), "").unwrap();
        let options = Options { keep_kinds: true, ..own() };
        for (name, kind) in [("folder", tar::EntryType::Regular), ("file/", tar::EntryType::Directory)] {
            let refused = into(folder.path(), &[(name, kind, "")], options).unwrap_err().sentence();
            assert!(refused.contains("cannot overwrite"), "{refused}");
        }
    }

    #[test]
    fn links_in_the_way_lead_nowhere_outside() {
        use tar::EntryType::{Regular, Symlink};
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "unchanged").unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        symlink(outside.path(), folder.path().join("in/way")).unwrap();
        symlink(outside.path().join("canary"), folder.path().join("in/end")).unwrap();
        let deep = format!("{}/canary", "../".repeat(12));
        into(folder.path(), &[("end", Regular, "x")], own()).unwrap();
        assert!(into(folder.path(), &[("way/canary", Regular, "x")], own()).is_err() || outside.path().exists());
        into(folder.path(), &[("made", Symlink, &deep), ("made", Regular, "x")], own()).unwrap();
        assert_eq!(std::fs::read_to_string(outside.path().join("canary")).unwrap(), "unchanged");
        assert!(!std::fs::symlink_metadata(folder.path().join("in/end")).unwrap().is_symlink());
    }

    #[test]
    fn devices_and_owners_nobody_has_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let device = [("null", tar::EntryType::Char, "")];
        assert!(into(folder.path(), &device, own()).unwrap_err().sentence().contains("is a device"));
        into(folder.path(), &device, Options { skip_devices: true, ..own() }).unwrap();
        let nobody = Options { owner: Owner::Archive(Ids::new(100_000, 0)), ..OPTIONS };
        let refused = into(folder.path(), &[("file", tar::EntryType::Regular, "")], nobody).unwrap_err();
        assert!(refused.sentence().contains("does not exist in the container"));
    }
}
