//! Tar archives written byte by byte, because no honest library writes what a hostile layer holds: `..`, absolute
//! names, links out of the tree, entries beneath symlinks.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;

/// What an entry is (POSIX ustar, the type flag).
#[derive(Debug, Clone)]
pub enum Kind<'a> {
    File(&'a [u8]),
    Folder,
    /// A symbolic link to the target.
    Symlink(&'a str),
    /// A hard link to an earlier entry's name.
    Hardlink(&'a str),
    /// A character device with its numbers.
    Device(u32, u32),
    Fifo,
}

/// An archive being written.
#[derive(Debug, Default)]
pub struct Tarball {
    bytes: Vec<u8>,
}

impl Tarball {
    /// An empty archive.
    pub fn new() -> Tarball {
        Tarball::default()
    }

    /// Adds an entry exactly as named.
    ///
    /// # Panics
    /// When a name is longer than the 100 bytes of a ustar header.
    #[must_use]
    pub fn entry(self, name: &str, mode: u32, kind: &Kind<'_>) -> Tarball {
        let (flag, link, data, device): (u8, &str, &[u8], (u32, u32)) = match kind {
            Kind::File(data) => (b'0', "", data, (0, 0)),
            Kind::Hardlink(target) => (b'1', target, &[], (0, 0)),
            Kind::Symlink(target) => (b'2', target, &[], (0, 0)),
            Kind::Device(major, minor) => (b'3', "", &[], (*major, *minor)),
            Kind::Folder => (b'5', "", &[], (0, 0)),
            Kind::Fifo => (b'6', "", &[], (0, 0)),
        };
        let (name, link, size) = (name.as_bytes(), link.as_bytes(), data.len() as u64);
        self.header(&Header { name, mode, flag, link, size, device, owner: 0 }, data)
    }

    /// Adds a header as it is, and `data` behind it, whatever the header says of its size.
    ///
    /// # Panics
    /// When a name is longer than the 100 bytes of a ustar header.
    #[must_use]
    pub fn header(mut self, header: &Header<'_>, data: &[u8]) -> Tarball {
        self.bytes.extend_from_slice(&header.block());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Adds a PAX header for the entry that follows.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Tarball {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let length = (1..).map(|digits| rest + digits).find(|length| rest + length.to_string().len() == *length);
            content.extend_from_slice(format!("{} {key}=", length.unwrap_or_default()).as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.extended(b'x', &content)
    }

    /// Adds an extended header of any type: `x` and `g` are PAX's, `L` and `K` GNU's long names.
    #[must_use]
    pub fn extended(self, flag: u8, content: &[u8]) -> Tarball {
        let header = Header { name: b"extended", flag, size: content.len() as u64, ..Header::default() };
        self.header(&header, content)
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, name: &str, mode: u32, data: &[u8]) -> Tarball {
        self.entry(name, mode, &Kind::File(data))
    }

    /// Adds a folder.
    #[must_use]
    pub fn folder(self, name: &str) -> Tarball {
        self.entry(name, 0o755, &Kind::Folder)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Tarball {
        self.entry(name, 0o777, &Kind::Symlink(target))
    }

    /// What there is so far, without an end.
    pub fn so_far(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive with its two closing blocks.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

/// A ustar header, field by field, for what no [`Kind`] says.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    pub name: &'a [u8],
    pub mode: u32,
    /// User and group.
    pub owner: u32,
    pub flag: u8,
    pub link: &'a [u8],
    /// What it announces.
    pub size: u64,
    pub device: (u32, u32),
}

impl Default for Header<'_> {
    fn default() -> Self {
        Header { name: b"", mode: 0o644, owner: 0, flag: b'0', link: b"", size: 0, device: (0, 0) }
    }
}

impl Header<'_> {
    /// Its 512 bytes.
    fn block(&self) -> [u8; BLOCK] {
        assert!(self.name.len() <= 100 && self.link.len() <= 100, "longer than a ustar header holds: {self:?}");
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, self.name);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.owner).as_bytes());
        put(116, format!("{:07o}", self.owner).as_bytes());
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, self.link);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", self.device.0).as_bytes());
        put(337, format!("{:07o}", self.device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// `bytes` as gzip.
///
/// # Panics
/// Never: a vector takes all that is written.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a vector takes all that is written");
    encoder.finish().expect("a vector takes all that is written")
}

/// `head`, and then `piece` so many times, as gzip: what is long only once it is unpacked.
///
/// # Panics
/// Never: a vector takes all that is written.
pub fn repeated(head: &[u8], piece: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(head).expect("a vector takes all that is written");
    (0..times).for_each(|_| encoder.write_all(piece).expect("a vector takes all that is written"));
    encoder.finish().expect("a vector takes all that is written")
}
