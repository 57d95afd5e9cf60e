//! Entries of a tar, one after the other, each understood completely before anything is written: POSIX ustar, PAX and
//! GNU long names. Bounded, and strict where two readers could disagree. Writes nothing.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use tar::Header;

use super::{Fault, Limits};

const BLOCK: usize = 512;
const NAME_MAX: usize = 255;

/// One entry, ready to be written.
#[derive(Debug)]
pub struct Entry {
    /// Relative, without `.` and `..`; empty for the root itself.
    pub path: PathBuf,
    pub kind: Kind,
    /// Permissions and the setuid, setgid and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// `user.*` and `security.capability`; others are dropped.
    pub attributes: Vec<(String, Vec<u8>)>,
    /// Bytes of a file's content.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// The target as written.
    Symlink(Vec<u8>),
    /// The path of an earlier entry, checked like a path.
    HardLink(PathBuf),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Reads a tar entry by entry.
pub(crate) struct Entries<R> {
    reader: R,
    limits: Limits,
    /// Of the current entry: content not yet read, and what fills its last block.
    content: u64,
    padding: u64,
    /// Whether names may begin with a slash.
    rooted: bool,
}

/// What extended headers say of the entry that follows them.
#[derive(Default)]
struct Extended {
    /// Whether a PAX header was among them.
    is_pax: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    attributes: Vec<(String, Vec<u8>)>,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(reader: R, limits: Limits) -> Entries<R> {
        Entries { reader, limits, content: 0, padding: 0, rooted: false }
    }

    /// Takes names that begin with a slash as beneath the root; layers may have none.
    pub(crate) fn rooted(self) -> Entries<R> {
        Entries { rooted: true, ..self }
    }

    /// What is left of the limit on entries.
    pub(crate) fn entries_left(&self) -> u64 {
        self.limits.entries
    }

    pub(crate) fn into_reader(self) -> R {
        self.reader
    }

    /// The current entry's content.
    pub(crate) fn body(&mut self) -> Body<'_, R> {
        Body { entries: self }
    }

    /// The next entry, or `None` at the end of the archive.
    pub(crate) fn advance(&mut self) -> Result<Option<Entry>, Fault> {
        let mut extended = Extended::default();
        let mut is_extended = false;
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                if is_extended {
                    return Err(malformed("it ends after an extended header"));
                }
                return Ok(None);
            };
            self.limits.entries =
                self.limits.entries.checked_sub(1).ok_or_else(|| malformed("it holds too many entries"))?;
            let declared = or_blank(&header.as_old().size, header.entry_size())
                .map_err(|_| malformed("a header's size is not a number"))?;
            let kind = header.entry_type().as_byte();
            if matches!(kind, b'x' | b'g' | b'L' | b'K') {
                self.begin_content(declared);
                let data = self.extended_data(declared)?;
                match kind {
                    // Several would override each other by every reader's own rules, and be kept in memory together.
                    b'x' if std::mem::replace(&mut extended.is_pax, true) => {
                        return Err(malformed("an entry has two PAX headers"));
                    }
                    b'x' => parse_pax(&data, &mut extended)?,
                    b'g' => check_global_pax(&data)?,
                    b'L' => set_once(&mut extended.path, until_nul(data))?,
                    _ => set_once(&mut extended.link, until_nul(data))?,
                }
                is_extended |= kind != b'g';
                continue;
            }
            return self.understand(&header, declared, extended).map(Some);
        }
    }

    fn understand(&mut self, header: &Header, declared: u64, extended: Extended) -> Result<Entry, Fault> {
        let raw = extended.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = super::shown(&raw);
        let refuse = |reason: String| Fault::Refused { entry: shown.clone(), reason };
        // TARmageddon (CVE-2025-62518, GHSA-j4xf-2g29-59ph): readers that believe different sizes see different archives.
        if let Some(size) = extended.size.filter(|size| *size != declared) {
            return Err(refuse(format!("says it is {size} bytes long in one header and {declared} in another")));
        }
        let beneath = match self.rooted {
            true => &raw[raw.iter().take_while(|byte| **byte == b'/').count()..],
            false => &raw[..],
        };
        let path = relative_path(beneath, &self.limits).map_err(&refuse)?;
        let link = extended.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let kind = self.kind(header, &raw, link).map_err(&refuse)?;
        // Go's reader skips no content after such a header and others do: two readings of one archive.
        if declared > 0 && kind != Kind::File {
            return Err(refuse("has content although it is not a file".to_owned()));
        }
        let id = |from_pax: Option<u64>, from_header: io::Result<u64>, noun: &str| {
            let id =
                from_pax.map_or(from_header, Ok).map_err(|_| refuse(format!("has a {noun} that is not a number")))?;
            // CVE-2024-40635: what does not fit must not wrap around to root; -1 means "unchanged" to chown(2).
            match u32::try_from(id) {
                Ok(id) if id != u32::MAX => Ok(id),
                _ => Err(refuse(format!("has a {noun} beyond 32 bits"))),
            }
        };
        let seconds = || header.mtime().map(|mtime| (i64::try_from(mtime).unwrap_or(0), 0)).unwrap_or((0, 0));
        let mode = or_blank(&header.as_old().mode, header.mode().map(u64::from));
        let mode = mode.map_err(|_| refuse("has a mode that is not a number".to_owned()))? as u32 & 0o7777;
        let entry = Entry {
            mode,
            uid: id(extended.uid, or_blank(&header.as_old().uid, header.uid()), "user id")?,
            gid: id(extended.gid, or_blank(&header.as_old().gid, header.gid()), "group id")?,
            mtime: extended.mtime.unwrap_or_else(seconds),
            attributes: extended.attributes,
            size: if kind == Kind::File { declared } else { 0 },
            path,
            kind,
        };
        self.begin_content(declared);
        Ok(entry)
    }

    fn kind(&self, header: &Header, raw: &[u8], link: Option<Vec<u8>>) -> Result<Kind, String> {
        let device = || match (header.device_major(), header.device_minor()) {
            (Ok(Some(major)), Ok(Some(minor))) => Ok((major, minor)),
            _ => Err("has no device number".to_owned()),
        };
        match header.entry_type().as_byte() {
            // Old archives mark a folder by the slash at its end only.
            b'0' | 0 | b'7' if raw.ends_with(b"/") => Ok(Kind::Folder),
            b'0' | 0 | b'7' => Ok(Kind::File),
            b'5' => Ok(Kind::Folder),
            b'6' => Ok(Kind::Fifo),
            b'3' => device().map(|(major, minor)| Kind::CharDevice(major, minor)),
            b'4' => device().map(|(major, minor)| Kind::BlockDevice(major, minor)),
            b'2' => match link {
                Some(target) if target.is_empty() => Err("is a symbolic link without a target".to_owned()),
                Some(target) if target.contains(&0) => Err("is a symbolic link whose target holds a NUL".to_owned()),
                Some(target) if target.len() > self.limits.path => Err("has a link target that is too long".to_owned()),
                Some(target) => Ok(Kind::Symlink(target)),
                None => Err("is a symbolic link without a target".to_owned()),
            },
            b'1' => {
                let target = link.ok_or("is a hard link without a target")?;
                // Some builders write the target from the root; it means the same file.
                let relative = target.iter().position(|b| *b != b'/').map_or(&target[..0], |start| &target[start..]);
                let shown = super::shown(&target);
                relative_path(relative, &self.limits)
                    .map(Kind::HardLink)
                    .map_err(|reason| format!("is a hard link to `{shown}`, which {reason}"))
            }
            b'S' => Err("is a sparse file, which proa does not take in".to_owned()),
            other => Err(format!("is of the unknown type `{}`", char::from(other).escape_default())),
        }
    }

    fn begin_content(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn extended_data(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > self.limits.header {
            return Err(malformed("an extended header is longer than the limit allows"));
        }
        let mut data = Vec::new();
        self.body().read_to_end(&mut data).map_err(|source| Fault::Read { source })?;
        Ok(data)
    }

    fn skip_content(&mut self) -> Result<(), Fault> {
        let rest = self.content + self.padding;
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink());
        match skipped.map_err(|source| Fault::Read { source })? {
            count if count == rest => {}
            // Some writers leave the last block unfilled.
            count if count >= self.content => {}
            _ => return Err(malformed("it ends in the middle of an entry")),
        }
        (self.content, self.padding) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut header.as_mut_bytes()[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(malformed("it ends in the middle of a header")),
                Ok(count) => filled += count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Fault::Read { source }),
            }
        }
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum field itself counts as eight spaces (pax(1), ustar).
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => Err(malformed("it is not a tar archive, or a header in it is damaged")),
        }
    }
}

/// The content of the entry at hand.
pub struct Body<'a, R> {
    entries: &'a mut Entries<R>,
}

impl<R> std::fmt::Debug for Body<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("left", &self.entries.content).finish()
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let entries = &mut *self.entries;
        if entries.content == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(entries.content).unwrap_or(usize::MAX).min(buffer.len());
        let count = entries.reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of an entry"));
        }
        entries.content -= count as u64;
        Ok(count)
    }
}

/// A path as a tar writes it, as components beneath a root: no `..`, not absolute, every part within bounds.
fn relative_path(raw: &[u8], limits: &Limits) -> Result<PathBuf, String> {
    if raw.contains(&0) {
        return Err("has a NUL in its path".to_owned());
    }
    if raw.len() > limits.path {
        return Err(format!("has a path longer than {} bytes", limits.path));
    }
    if raw.starts_with(b"/") && raw.iter().any(|byte| *byte != b'/') {
        return Err("has an absolute path".to_owned());
    }
    let mut path = PathBuf::new();
    let mut depth = 0;
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err("climbs out by `..`".to_owned()),
            part if part.len() > NAME_MAX => return Err(format!("has a name longer than {NAME_MAX} bytes")),
            part => path.push(OsStr::from_bytes(part)),
        }
        depth += 1;
        if depth > limits.depth {
            return Err(format!("lies more than {} folders deep", limits.depth));
        }
    }
    Ok(path)
}

/// A field left blank is zero, as in every other reader.
fn or_blank(field: &[u8], parsed: io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { parsed }
}

fn malformed(reason: &str) -> Fault {
    Fault::Malformed { reason: reason.to_owned() }
}

fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed("an entry has two long names")),
    }
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    if let Some(end) = data.iter().position(|byte| *byte == 0) {
        data.truncate(end);
    }
    data
}

/// `length key=value\n`, the length counting the whole record; a value may hold newlines.
fn pax_records(mut data: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let bad = || malformed("a PAX header is malformed");
    let mut records = Vec::new();
    while !data.is_empty() && data.iter().any(|byte| *byte != 0) {
        let space = data.iter().take(12).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let digits = std::str::from_utf8(&data[..space]).map_err(|_| bad())?;
        let length: usize = digits.parse().map_err(|_| bad())?;
        if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &data[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| bad())?.to_owned();
        records.push((key, record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

fn parse_pax(data: &[u8], extended: &mut Extended) -> Result<(), Fault> {
    let number = |value: &[u8]| {
        let text = std::str::from_utf8(value).ok();
        text.and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| malformed("a PAX header holds a wrong number"))
    };
    for (key, value) in pax_records(data)? {
        match key.as_str() {
            "path" => extended.path = Some(value),
            "linkpath" => extended.link = Some(value),
            "size" => extended.size = Some(number(&value)?),
            "uid" => extended.uid = Some(number(&value)?),
            "gid" => extended.gid = Some(number(&value)?),
            "mtime" => extended.mtime = Some(pax_time(&value)?),
            key if key.starts_with("GNU.sparse.") => {
                return Err(malformed("it holds a sparse file, which proa does not take in"));
            }
            key => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.").filter(|name| is_kept_attribute(name)) {
                    extended.attributes.push((name.to_owned(), value));
                }
            }
        }
    }
    Ok(())
}

/// A global header that moved every following entry would be read differently by different programs.
fn check_global_pax(data: &[u8]) -> Result<(), Fault> {
    for (key, _) in pax_records(data)? {
        if matches!(key.as_str(), "path" | "linkpath" | "size" | "uid" | "gid") {
            return Err(malformed("a global PAX header changes every entry"));
        }
    }
    Ok(())
}

/// `trusted.*` belongs to the kernel's overlay, `user.overlay.*` is the same for unprivileged mounts, and other
/// `security.*` labels to the machine; a layer may bring none of them.
pub(super) fn is_kept_attribute(name: &str) -> bool {
    let safe = !name.contains('\0') && name.len() <= NAME_MAX;
    safe && (name == "security.capability" || name.starts_with("user.") && !name.starts_with("user.overlay."))
}

fn pax_time(value: &[u8]) -> Result<(i64, u32), Fault> {
    let bad = || malformed("a PAX header holds a wrong time");
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().map_err(|_| bad())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| bad())?;
    Ok(match (text.starts_with('-'), nanos) {
        (true, 1..) => (whole.saturating_sub(1), 1_000_000_000 - nanos),
        _ => (whole, nanos),
    })
}
