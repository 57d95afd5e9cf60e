//! A container's files, unpacked here. What is in the archive was written by the guest: no entry leads out of the folder
//! it is meant for, neither by its name nor through a link that an entry before it made (CVE-2018-15664 and its kin).

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use proa_registry::{Limits, TarEntry, TarKind, TarStream};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::place::Here;

/// Unpacks `archive`, whose entries begin with the copied thing's own name where it is `named`; the root is not.
pub(super) fn unpack(archive: impl Read, whither: &Here, named: bool, keep_owners: bool) -> anyhow::Result<()> {
    let folder = rustix::fs::open(&whither.folder, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("open the directory `{}`", whither.folder.display()))?;
    let name = PathBuf::from(&whither.name);
    let mut unpacker = Unpacker { folder, named, name, keep_owners, folders: Vec::new() };
    let mut entries = TarStream::new(archive, &Limits::default()).context("read the container's archive")?;
    while let Some(entry) = entries.advance().context("read the container's archive")? {
        let path = unpacker.renamed(&entry.path);
        unpacker
            .take(&entry, &path, &mut entries.body())
            .with_context(|| format!("write `{}`", whither.folder.join(&path).display()))?;
    }
    entries.finish().context("read the container's archive")?;
    unpacker.finish()
}

struct Unpacker {
    folder: OwnedFd,
    named: bool,
    /// What the archive's first name becomes; empty for nothing.
    name: PathBuf,
    keep_owners: bool,
    /// Folders get their modes and times last: one without write permission must be filled first.
    folders: Vec<(PathBuf, u32, (i64, u32))>,
}

impl Unpacker {
    /// A path of the archive as it is here.
    fn renamed(&self, path: &Path) -> PathBuf {
        let mut components = path.components();
        if self.named {
            components.next();
        }
        let renamed = self.name.join(components.as_path());
        // `join` of nothing ends in a slash.
        renamed.components().collect()
    }

    fn take(&mut self, entry: &TarEntry, path: &Path, content: &mut dyn Read) -> anyhow::Result<()> {
        if path.as_os_str().is_empty() {
            // The folder that the content goes into is there, and stays as it is.
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        match &entry.kind {
            TarKind::Folder => {
                make_folder(&parent, name)?;
                self.folders.push((path.to_path_buf(), entry.mode, entry.mtime));
                return self.own(&parent, name, entry);
            }
            TarKind::File => return self.file(entry, &parent, name, content),
            TarKind::Symlink(target) => {
                clear(&parent, name)?;
                rustix::fs::symlinkat(OsStr::from_bytes(target), &parent, name)?;
                self.own(&parent, name, entry)?;
                // A file system without times for links is no reason to fail.
                let _ = rustix::fs::utimensat(&parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW);
            }
            TarKind::HardLink(target) => {
                let target = self.renamed(target);
                let (from, old) = self.parent(&target)?;
                clear(&parent, name)?;
                rustix::fs::linkat(&from, old, &parent, name, AtFlags::empty())?;
            }
            TarKind::Fifo | TarKind::CharDevice(..) | TarKind::BlockDevice(..) => {
                // A guest's device would be one of this machine here.
                writeln!(io::stderr(), "proa: left out `{}`: it is no file", entry.path.display())?;
            }
        }
        Ok(())
    }

    /// The folder of `path`, opened name by name without following any link, and the last name.
    fn parent<'p>(&self, path: &'p Path) -> anyhow::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().context("its name is empty")?;
        let mut folder = self.folder.try_clone()?;
        for component in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = component else { bail!("its path leads elsewhere") };
            folder = match enter(&folder, name) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
                    enter(&folder, name)?
                }
                Err(Errno::LOOP | Errno::NOTDIR) => bail!("`{}` on its path is no directory", name.display()),
                other => other?,
            };
        }
        Ok((folder, name))
    }

    fn file(&self, entry: &TarEntry, parent: &OwnedFd, name: &OsStr, content: &mut dyn Read) -> anyhow::Result<()> {
        clear(parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = std::fs::File::from(file);
        io::copy(content, &mut file)?;
        self.own(parent, name, entry)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode(entry.mode)))?;
        rustix::fs::futimens(&file, &times(entry.mtime))?;
        Ok(())
    }

    /// Without its owner a set-user-ID program would run as whoever copied it.
    fn mode(&self, mode: u32) -> u32 {
        if self.keep_owners { mode & 0o7777 } else { mode & 0o777 }
    }

    fn own(&self, parent: &OwnedFd, name: &OsStr, entry: &TarEntry) -> anyhow::Result<()> {
        if self.keep_owners {
            let (user, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        for (path, mode, mtime) in self.folders.iter().rev() {
            let finished = || -> anyhow::Result<()> {
                let (parent, name) = self.parent(path)?;
                let folder = enter(&parent, name)?;
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(self.mode(*mode)))?;
                rustix::fs::futimens(&folder, &times(*mtime))?;
                Ok(())
            };
            finished().with_context(|| format!("finish the directory `{}`", path.display()))?;
        }
        Ok(())
    }
}

fn enter(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// A folder that is there already is as good as a new one.
fn make_folder(parent: &OwnedFd, name: &OsStr) -> anyhow::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => match enter(parent, name) {
            Ok(_) => Ok(()),
            Err(_) => bail!("cannot overwrite a non-directory with a directory"),
        },
        other => Ok(other?),
    }
}

/// Removes what has the name, unless it is a folder.
fn clear(parent: &OwnedFd, name: &OsStr) -> anyhow::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => bail!("cannot overwrite a directory with a non-directory"),
        Err(error) => Err(error.into()),
    }
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            archive.append_data(&mut header, name, content).expect("an entry");
        } else {
            archive.append_link(&mut header, name, link).expect("a link");
        }
    }

    #[test]
    fn a_folder_is_unpacked_under_its_new_name() {
        let mut archive = tar::Builder::new(Vec::new());
        entry(&mut archive, tar::EntryType::Directory, "old/", "", b"");
        entry(&mut archive, tar::EntryType::Regular, "old/a", "", b"content");
        entry(&mut archive, tar::EntryType::Symlink, "old/l", "/etc/passwd", b"");
        entry(&mut archive, tar::EntryType::Link, "old/h", "old/a", b"");
        let archive = archive.into_inner().expect("an archive");
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let whither = Here { folder: scratch.path().to_path_buf(), name: "new".to_owned() };
        unpack(archive.as_slice(), &whither, true, false).expect("unpacked");
        unpack(archive.as_slice(), &whither, true, false).expect("unpacked over itself");
        let file = scratch.path().join("new/a");
        assert_eq!(std::fs::read(&file).expect("a file"), b"content");
        assert_eq!(std::fs::read(scratch.path().join("new/h")).expect("a file"), b"content");
        assert_eq!(std::fs::read_link(scratch.path().join("new/l")).expect("a link"), Path::new("/etc/passwd"));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).expect("a file"));
        assert_eq!(mode & 0o7777, 0o755, "nobody's program becomes set-user-ID");
    }

    #[test]
    fn no_entry_is_written_through_a_link_of_the_guest_s() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        std::fs::create_dir_all(scratch.path().join("in/own")).expect("a folder");
        for target in ["..", "own", "/tmp"] {
            let mut archive = tar::Builder::new(Vec::new());
            entry(&mut archive, tar::EntryType::Symlink, "d/link", target, b"");
            entry(&mut archive, tar::EntryType::Regular, "d/link/escaped", "", b"x");
            let archive = archive.into_inner().expect("an archive");
            let whither = Here { folder: scratch.path().join("in"), name: String::new() };
            assert!(unpack(archive.as_slice(), &whither, true, false).is_err(), "{target}");
            assert!(!scratch.path().join("escaped").exists() && !scratch.path().join("in/own/escaped").exists());
            std::fs::remove_file(scratch.path().join("in/link")).ok();
        }
    }
}
