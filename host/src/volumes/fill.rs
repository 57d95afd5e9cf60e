//! Docker's copy-up: an empty volume gets what the image has at its target, owners and modes included. Whole or not at
//! all: the files are copied beside the volume's, synced, and then moved in one by one; a host that dies in between ends
//! what it had begun when it starts again.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use proa_registry::{Limits, TarStream};
use rustix::fs::{AtFlags, CWD, Gid, Uid, fchmod, fchown, openat};
use rustix::fs::{Dir, FileType, Mode, OFlags, RenameFlags, Stat, fstat, renameat_with, statat, syncfs};
use rustix::io::Errno;

use super::DATA;
use crate::error::{Error, Result};
use crate::files::pack::Packer;
use crate::files::unpack::{Options, Owner, unpack};
use crate::files::view::{Found, Ids};

const FILL: &str = "fill";
const FILLED: &str = "filled";

/// Whether nothing lies in a volume's files.
pub fn is_empty(data: &Path) -> bool {
    fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none())
}

/// Copies the folder `found` into the empty volume at `place`. Blocks.
pub fn fill(place: &Path, found: &Found<'_>, owner: Option<(u32, u32)>) -> Result<()> {
    let coming = place.join(FILL);
    let failed = |source: io::Error| Error::File { attempt: "fill the volume", path: place.to_owned(), source };
    proa_registry::remove_tree(&coming).map_err(failed)?;
    fs::create_dir(&coming).map_err(failed)?;
    copy(found, &coming, owner)?;
    let done = || -> io::Result<()> {
        dress(&coming, &found.stat, owner)?;
        syncfs(File::open(&coming)?)?;
        fs::rename(&coming, place.join(FILLED))?;
        File::open(place)?.sync_all()
    };
    done().map_err(failed)?;
    resume(place)
}

/// Ends a fill that was begun: forgets what is not whole, moves in what is.
pub fn resume(place: &Path) -> Result<()> {
    let failed = |source: io::Error| Error::File { attempt: "fill the volume", path: place.to_owned(), source };
    proa_registry::remove_tree(&place.join(FILL)).map_err(failed)?;
    let filled = place.join(FILLED);
    if !filled.exists() {
        return Ok(());
    }
    move_in(&filled, &place.join(DATA)).map_err(failed)?;
    proa_registry::remove_tree(&filled).map_err(failed)
}

/// One after the other, and never over what somebody has put there meanwhile.
fn move_in(filled: &Path, data: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (from, to) = (openat(CWD, filled, flags, Mode::empty())?, openat(CWD, data, flags, Mode::empty())?);
    let stat = fstat(&from)?;
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match renameat_with(&from, name, &to, name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    File::from(to).sync_all()
}

/// By way of a tar through a pipe: one kind of packing and one of unpacking, each proven, is enough.
fn copy(found: &Found<'_>, coming: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let failed = |source: io::Error| Error::File { attempt: "fill the volume", path: coming.to_owned(), source };
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(CWD, coming, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let options = Options {
        keep_kinds: false,
        owner: owner.map_or(Owner::Archive(Ids::SAME), |(uid, gid)| Owner::Everything(uid, gid)),
        capabilities: owner.is_none(),
        skip_devices: true,
    };
    std::thread::scope(|scope| {
        let packed = scope.spawn(move || {
            let mut packer = Packer::new(&mut writer, Ids::SAME).of_one_mount();
            packer.beneath(found.handle.as_fd(), b"", 0).and_then(|()| packer.finish())
        });
        let limits = Limits { entries: u64::MAX, depth: usize::MAX, path: usize::MAX, ..Limits::default() };
        let unpacked = TarStream::new(reader, &limits)
            .map_err(|error| Error::Invalid(crate::error::chain(&error)))
            .and_then(|mut stream| unpack(target.as_fd(), Path::new("/"), &mut stream, options));
        let packed = packed.join().unwrap_or_else(|_| Err(io::Error::other("the packing thread panicked")));
        unpacked.and_then(|()| packed.map_err(failed))
    })
}

/// The volume's own folder is as the image's at the target.
fn dress(folder: &Path, like: &Stat, owner: Option<(u32, u32)>) -> io::Result<()> {
    let folder = File::open(folder)?;
    let (uid, gid) = owner.unwrap_or((like.st_uid, like.st_gid));
    fchown(&folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(fchmod(&folder, Mode::from_raw_mode(like.st_mode & 0o7777))?)
}

/// Bytes on disk of all that lies beneath `folder`, as far as it can be read; a file of several names counts once each.
pub fn bytes_of(folder: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, folder, flags, Mode::empty()).map_or(0, |folder| bytes_in(folder, 0))
}

fn bytes_in(folder: rustix::fd::OwnedFd, depth: usize) -> u64 {
    let Ok(entries) = Dir::read_from(&folder) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            bytes += u64::try_from(stat.st_size).unwrap_or(0);
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if depth < crate::files::DEEPEST
            && let Ok(below) = openat(&folder, name, flags, Mode::empty())
        {
            bytes += bytes_in(below, depth + 1);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_that_was_cut_short_is_ended_or_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["_data", "fill", "filled/folder"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("fill/half"), "").unwrap();
        fs::write(path("filled/file"), "from the image").unwrap();
        fs::write(path("_data/file"), "the guest's").unwrap();
        resume(place.path()).unwrap();
        assert_eq!(fs::read_to_string(path("_data/file")).unwrap(), "the guest's");
        assert!(path("_data/folder").is_dir() && !path("fill").exists() && !path("filled").exists());
        resume(place.path()).unwrap();
    }
}
