//! The seal of an unpacked folder: one digest of everything in it, taken when it was unpacked and kept in a small file beside it
//! (`seal-<folder>`), so that a disk that changed a byte of it is found out (check.rs). It guards against disks,
//! not against people: whoever may write into the folder may also write its seal.
//!
//! A folder's digest is made of its entries' by exclusive or, of which no two cancel each other, as no two stand at one place: so
//! nothing has to be sorted, and a folder of a million names takes no memory.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use cap_std::fs::Dir;
use sha2::{Digest as _, Sha256};

use super::walk::{Entry, From, Sum, Unread, walk};
use crate::digest::Digest;
use crate::layout::unique_name;

/// How the names of seals begin.
pub(super) const SEAL: &str = "seal-";
/// So many differences are named.
const NAMED_MAX: usize = 3;

/// The name of a folder's seal.
pub(super) fn file(folder: &str) -> String {
    format!("{SEAL}{folder}")
}

/// The digest of everything in `root`, as it was just written.
pub(super) fn take(root: &Dir) -> Result<Digest, Unread> {
    digest(root, From::Memory)
}

/// The digest of everything in `root`, as the disk holds it.
pub(super) fn find(root: &Dir) -> Result<Digest, Unread> {
    digest(root, From::Disk)
}

/// The seal of the folder `name`, where it has one that can be read.
pub(super) fn read(folders: &Dir, name: &str) -> Option<Digest> {
    let mut text = String::new();
    folders.open(file(name)).ok()?.take(256).read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

/// Seals the folder `name`; durable with the folder's own name.
pub(crate) fn write(folders: &Dir, name: &str, seal: &Digest) -> io::Result<()> {
    let (name, temporary) = (file(name), format!(".{}.{}", file(name), unique_name()));
    let written = (|| {
        let mut file = folders.create(&temporary)?.into_std();
        file.write_all(format!("{seal}\n").as_bytes())?;
        file.sync_all()?;
        folders.rename(&temporary, folders, &name)
    })();
    written.inspect_err(|_| drop(folders.remove_file(&temporary)))
}

/// What stands otherwise in `found` than in `right`: the beginning of a sentence.
pub(super) fn differences(found: &Dir, right: &Dir) -> Result<String, Unread> {
    let mut expected: HashMap<Sum, Sum> = HashMap::new();
    walk(right, From::Memory, &mut |entry| {
        expected.insert(entry.place, entry.nature);
    })?;
    let (mut named, mut count) = (Vec::new(), 0_u64);
    let mut tell = |entry: &Entry<'_>, what: &str| {
        count += 1;
        if named.len() < NAMED_MAX {
            named.push(format!("`{}` {what}", entry.path()));
        }
    };
    walk(found, From::Memory, &mut |entry| match expected.remove(&entry.place) {
        Some(nature) if nature == entry.nature => {}
        Some(_) => tell(entry, "is not what was unpacked"),
        None => tell(entry, "was not unpacked"),
    })?;
    if !expected.is_empty() {
        walk(right, From::Memory, &mut |entry| {
            if expected.contains_key(&entry.place) {
                tell(entry, "is missing");
            }
        })?;
    }
    let more = count - named.len() as u64;
    if more > 0 {
        named.push(format!("{more} more differ"));
    }
    Ok(named.join(", "))
}

fn digest(root: &Dir, from: From) -> Result<Digest, Unread> {
    let (mut all, mut count) = (Sum::default(), 0_u64);
    walk(root, from, &mut |entry| {
        let one = Sha256::new().chain_update(entry.place).chain_update(entry.nature).finalize();
        all.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
        count += 1;
    })?;
    Ok(Digest::sha256_of(&[&all[..], &count.to_le_bytes()].concat()))
}
