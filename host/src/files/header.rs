//! One member of a tar as dockerd writes it: a ustar header with GNU's large numbers, before it a PAX header for what it
//! has no room for. Knows nothing of where members come from.

use std::io::{self, Write};

use rustix::fs::{Stat, major, minor};
use tar::{EntryType, Header};

use crate::files::view::Ids;

const BLOCK: usize = 512;

/// What a member is.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// Bytes of its content, which follows the header.
    File(u64),
    Folder,
    /// The target as written.
    Symlink(&'a [u8]),
    /// The name of an earlier member.
    HardLink(&'a [u8]),
    CharDevice,
    BlockDevice,
    Fifo,
}

/// Extended attributes that travel: name and value.
pub type Attributes = Vec<(String, Vec<u8>)>;

/// Writes the header of `name`; a folder's gets its slash here.
pub fn write(
    out: &mut dyn Write,
    name: &[u8],
    kind: Kind<'_>,
    stat: &Stat,
    ids: Ids,
    attributes: &Attributes,
) -> io::Result<()> {
    let mut name = name.to_vec();
    if matches!(kind, Kind::Folder) && !name.ends_with(b"/") {
        name.push(b'/');
    }
    let mut header = Header::new_gnu();
    let (entry_type, link, size): (_, &[u8], _) = match kind {
        Kind::File(size) => (EntryType::Regular, b"", size),
        Kind::Folder => (EntryType::Directory, b"", 0),
        Kind::Symlink(target) => (EntryType::Symlink, target, 0),
        Kind::HardLink(target) => (EntryType::Link, target, 0),
        Kind::CharDevice => (EntryType::Char, b"", 0),
        Kind::BlockDevice => (EntryType::Block, b"", 0),
        Kind::Fifo => (EntryType::Fifo, b"", 0),
    };
    header.set_entry_type(entry_type);
    header.set_size(size);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(ids.inside(stat.st_uid).into());
    header.set_gid(ids.inside(stat.st_gid).into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
        header.set_device_major(major(stat.st_rdev))?;
        header.set_device_minor(minor(stat.st_rdev))?;
    }
    let mut records = Vec::new();
    for (key, value) in [("path", &name[..]), ("linkpath", link)] {
        let old = header.as_old_mut();
        let field = if key == "path" { &mut old.name } else { &mut old.linkname };
        let short = value.len().min(field.len());
        field[..short].copy_from_slice(&value[..short]);
        if value.len() > short || !value.is_ascii() {
            record(&mut records, key, value);
        }
    }
    for (key, value) in attributes {
        record(&mut records, &format!("SCHILY.xattr.{key}"), value);
    }
    if !records.is_empty() {
        extended(out, &records)?;
    }
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Fills the last block of a member of `size` bytes.
pub fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let rest = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    out.write_all(&[0; BLOCK][..rest as usize])
}

/// The end of an archive.
pub fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn extended(out: &mut dyn Write, records: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..12].copy_from_slice(b"PaxHeaders.0");
    header.set_entry_type(EntryType::XHeader);
    header.set_size(records.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(records)?;
    pad(out, records.len() as u64)
}

/// `length key=value\n`, the length counting the whole record (pax(1), "pax Header Block").
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        for length in [1, 5, 80, 90, 91, 92, 93, 94, 95, 990, 992, 9_985, 9_990] {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; length]);
            let told: usize = std::str::from_utf8(&records).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(told, records.len(), "{length}");
        }
    }
}
