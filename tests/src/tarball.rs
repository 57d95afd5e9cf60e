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
    pub fn entry(mut self, name: &str, mode: u32, kind: &Kind<'_>) -> Tarball {
        let (flag, link, data, device): (u8, &str, &[u8], (u32, u32)) = match kind {
            Kind::File(data) => (b'0', "", data, (0, 0)),
            Kind::Hardlink(target) => (b'1', target, &[], (0, 0)),
            Kind::Symlink(target) => (b'2', target, &[], (0, 0)),
            Kind::Device(major, minor) => (b'3', "", &[], (*major, *minor)),
            Kind::Folder => (b'5', "", &[], (0, 0)),
            Kind::Fifo => (b'6', "", &[], (0, 0)),
        };
        self.bytes.extend_from_slice(&header(name, mode, flag, link, data.len(), device));
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
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

    /// The archive with its two closing blocks.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

fn header(name: &str, mode: u32, flag: u8, link: &str, size: usize, device: (u32, u32)) -> [u8; BLOCK] {
    assert!(name.len() <= 100 && link.len() <= 100, "longer than a ustar header holds: `{name}` -> `{link}`");
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[flag]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}", device.0).as_bytes());
    put(337, format!("{:07o}", device.1).as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
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
