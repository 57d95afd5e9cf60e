//! From files to a tar: a folder at a time, in no order, with the memory of one path and of the links seen.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, FileType, Stat, fgetxattr, flistxattr, fstat, fstatfs, readlinkat};
use rustix::io::Errno;

use crate::error::chain;
use crate::files::header::{self, Attributes, Kind};
use crate::files::view::Ids;
use crate::files::{DEEPEST, beneath};

/// Files with several names that are remembered; the names of those beyond are packed as files of their own.
const LINKS_MAX: usize = 100_000;
/// Bytes of one extended attribute and of one file's list of them, above which they stay behind.
const ATTRIBUTE_MAX: usize = 64 << 10;

/// A tar being written.
pub struct Packer<'a> {
    out: &'a mut dyn Write,
    ids: Ids,
    /// What is mounted inside stays behind, but for its mount point.
    one_mount: bool,
    /// What was asked for is the kernel's own words, as in /proc, and not a folder they are mounted in.
    of_kernel: bool,
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Packer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl<'a> Packer<'a> {
    /// Writes to `out`, owners told as `ids` says.
    pub fn new(out: &'a mut dyn Write, ids: Ids) -> Packer<'a> {
        Packer { out, ids, one_mount: false, of_kernel: false, links: HashMap::new(), buffer: vec![0; 128 << 10] }
    }

    /// Leaves behind what is mounted inside.
    #[must_use]
    pub fn of_one_mount(mut self) -> Packer<'a> {
        self.one_mount = true;
        self
    }

    /// Ends the archive.
    pub fn finish(self) -> io::Result<()> {
        header::end(self.out)?;
        self.out.flush()
    }

    /// Adds what `handle` was opened on, by `name`, and all beneath it. What the kernel makes up as it is read (/proc, /sys) is
    /// told by its folder alone, unless it was asked for: it is no content of the container, in parts not for reading, and
    /// never ends.
    pub fn tree(&mut self, handle: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.of_kernel = is_of_kernel(handle)?;
        if self.one(handle, name)? == FileType::Directory { self.beneath(handle, name, 0) } else { Ok(()) }
    }

    /// Adds everything in the folder `handle`; the folder itself is called `name`, the root of the archive nothing.
    pub fn beneath(&mut self, handle: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<()> {
        if depth >= DEEPEST {
            let shown = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
            return Err(io::Error::other(format!("`{shown}…` lies more than {DEEPEST} folders deep")));
        }
        for found in Dir::new(beneath::listing(handle)?)? {
            let found = found?;
            let entry = OsStr::from_bytes(found.file_name().to_bytes());
            if entry != "." && entry != ".." {
                self.entry(handle, entry, &joined(name, entry), depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, folder: BorrowedFd<'_>, entry: &OsStr, name: &[u8], depth: usize) -> io::Result<()> {
        let opened =
            if self.one_mount { beneath::entry_of_this_mount(folder, entry) } else { beneath::entry(folder, entry) };
        let handle = match opened {
            Ok(handle) => handle,
            Err(Errno::XDEV) => return self.mount_point(folder, entry, name),
            // Gone since the folder was listed.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let is_folder = self.one(handle.as_fd(), name)? == FileType::Directory;
        if is_folder && (self.of_kernel || !is_of_kernel(handle.as_fd())?) {
            self.beneath(handle.as_fd(), name, depth + 1)?;
        }
        Ok(())
    }

    /// An empty folder or file stands for what is mounted there.
    fn mount_point(&mut self, folder: BorrowedFd<'_>, entry: &OsStr, name: &[u8]) -> io::Result<()> {
        let mut stat = fstat(beneath::entry(folder, entry)?)?;
        // Whose the mount is says nothing of the point beneath it, which the runtime made.
        let root = self.ids.outside(0).unwrap_or(0);
        (stat.st_uid, stat.st_gid) = (root, root);
        let kind = if beneath::kind(&stat) == FileType::Directory { Kind::Folder } else { Kind::File(0) };
        header::write(self.out, name, kind, &stat, self.ids, &Attributes::new())
    }

    /// Adds the one thing `handle` was opened on, and tells what it is.
    pub fn one(&mut self, handle: BorrowedFd<'_>, name: &[u8]) -> io::Result<FileType> {
        let stat = fstat(handle)?;
        let file_type = beneath::kind(&stat);
        let kind = match file_type {
            FileType::RegularFile => return self.file(handle, name, &stat).map(|()| file_type),
            FileType::Directory => {
                let attributes = attributes(beneath::listing(handle)?.as_fd());
                header::write(self.out, name, Kind::Folder, &stat, self.ids, &attributes)?;
                return Ok(file_type);
            }
            FileType::Symlink => {
                let target = readlinkat(handle, "", Vec::new())?;
                header::write(self.out, name, Kind::Symlink(target.as_bytes()), &stat, self.ids, &Attributes::new())?;
                return Ok(file_type);
            }
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            // A tar has no sockets.
            _ => return Ok(file_type),
        };
        header::write(self.out, name, kind, &stat, self.ids, &Attributes::new())?;
        Ok(file_type)
    }

    fn file(&mut self, handle: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> io::Result<()> {
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&identity) {
            return header::write(self.out, name, Kind::HardLink(first), stat, self.ids, &Attributes::new());
        }
        let mut file = match beneath::reading(handle) {
            Ok(file) => file,
            // To be written only.
            Err(Errno::ACCESS | Errno::PERM) if self.of_kernel => {
                return header::write(self.out, name, Kind::File(0), stat, self.ids, &Attributes::new());
            }
            Err(errno) => {
                let shown = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
                return Err(io::Error::other(format!("read `{shown}`: {}", chain(&io::Error::from(errno)))));
            }
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        header::write(self.out, name, Kind::File(size), stat, self.ids, &attributes(file.as_fd()))?;
        self.content(&mut file, size)?;
        if stat.st_nlink > 1 && self.links.len() < LINKS_MAX {
            self.links.insert(identity, name.to_vec());
        }
        Ok(())
    }

    /// Exactly `size` bytes: a file that grows meanwhile is cut, one that shrinks is filled with zeros.
    fn content(&mut self, file: &mut impl Read, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = match file.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    self.buffer[..most].fill(0);
                    most
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.out.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        header::pad(self.out, size)
    }

    /// A member that no file stands behind: a layer's whiteout.
    pub fn empty_file(&mut self, name: &[u8], like: &Stat) -> io::Result<()> {
        header::write(self.out, name, Kind::File(0), like, self.ids, &Attributes::new())
    }
}

/// `name/entry`; the archive's root and `/` add no slash of their own.
pub fn joined(name: &[u8], entry: &OsStr) -> Vec<u8> {
    let mut whole = name.to_vec();
    if !whole.is_empty() && !whole.ends_with(b"/") {
        whole.push(b'/');
    }
    whole.extend_from_slice(entry.as_bytes());
    whole
}

/// Types of file systems whose files are the kernel's words (linux/magic.h): proc, sysfs, both cgroups, devpts, securityfs,
/// debugfs, tracefs, bpf.
const OF_KERNEL: [u64; 9] =
    [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1, 0x7363_6673, 0x6462_6720, 0x7472_6163, 0xcafe_4a11];

fn is_of_kernel(handle: BorrowedFd<'_>) -> io::Result<bool> {
    let kind = fstatfs(handle)?.f_type;
    // Signed on some machines.
    Ok(OF_KERNEL.contains(&(kind as u64 & 0xffff_ffff)))
}

/// `user.*` and `security.capability`: the others belong to the kernel and the machine.
fn attributes(file: BorrowedFd<'_>) -> Attributes {
    let mut list = vec![0; ATTRIBUTE_MAX];
    let Ok(length) = flistxattr(file, &mut list[..]) else { return Attributes::new() };
    if length == 0 {
        return Attributes::new();
    }
    let mut found = Attributes::new();
    let mut value = vec![0; ATTRIBUTE_MAX];
    for name in list[..length].split(|byte| *byte == 0) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let travels = name == "security.capability" || name.starts_with("user.") && !name.starts_with("user.overlay.");
        if travels && let Ok(length) = fgetxattr(file, name, &mut value[..]) {
            found.push((name.to_owned(), value[..length].to_vec()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use proa_registry::{Limits, TarKind, TarStream};

    use super::*;

    fn packed(folder: &Path, name: &[u8]) -> Vec<u8> {
        let handle = rustix::fs::open(folder, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let mut bytes = Vec::new();
        let mut packer = Packer::new(&mut bytes, Ids::SAME);
        packer.tree(handle.as_fd(), name).unwrap();
        packer.finish().unwrap();
        bytes
    }

    #[test]
    fn everything_but_sockets_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let long = "n".repeat(200);
        let place = folder.path();
        std::fs::create_dir(place.join(&long)).unwrap();
        std::fs::write(place.join(&long).join("file"), "content").unwrap();
        std::fs::set_permissions(place.join(&long).join("file"), PermissionsExt::from_mode(0o4751)).unwrap();
        std::fs::hard_link(place.join(&long).join("file"), place.join("second")).unwrap();
        symlink("x".repeat(150), place.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, place.join("fifo"), FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place.join("socket")).unwrap();
        let bytes = packed(place, b"top");
        let mut stream = TarStream::new(&bytes[..], &Limits::default()).unwrap();
        let (mut kinds, mut contents) = (Vec::new(), Vec::new());
        while let Some(entry) = stream.advance().unwrap() {
            let mut content = String::new();
            stream.body().read_to_string(&mut content).unwrap();
            if entry.kind == TarKind::File {
                assert_eq!((entry.mode, content.as_str()), (0o4751, "content"));
            }
            contents.push(content);
            kinds.push((entry.path.clone(), entry.kind));
        }
        kinds.sort_by(|one, other| one.0.cmp(&other.0));
        let names: Vec<_> = kinds.iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect();
        let file = format!("top/{long}/file");
        assert_eq!(names, ["top", "top/fifo", "top/link", &format!("top/{long}"), &file, "top/second"]);
        assert!(kinds.iter().any(|(_, kind)| matches!(kind, TarKind::HardLink(_))), "{kinds:?}");
        assert!(kinds.iter().any(|(_, kind)| *kind == TarKind::Symlink(vec![b'x'; 150])), "{kinds:?}");
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_leaves_the_archive_whole() {
        let mut bytes = Vec::new();
        let mut packer = Packer::new(&mut bytes, Ids::SAME);
        packer.content(&mut &b"abc"[..], 600).unwrap();
        assert_eq!((bytes.len(), &bytes[..4]), (1024, &b"abc\0"[..]));
    }
}
