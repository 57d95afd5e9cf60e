//! A mount's options as words (config.md, "Linux mount options"), sorted by who understands them. As in mount(8), the last
//! word about a thing counts.

use std::ffi::CString;

use oci_spec::runtime::Mount;

use super::super::c_string;
use crate::error::{Error, Result};
use crate::step::Change;
use crate::sys;

/// Key and value, or a flag.
pub(in crate::plan) type Data = Vec<(CString, Option<CString>)>;

/// What the words ask for.
#[derive(Debug, Clone, Default)]
pub(in crate::plan) struct Options {
    /// Of the mount alone.
    pub(in crate::plan) own: Attributes,
    /// Of the mount and what is mounted below it.
    pub(super) all: Attributes,
    /// `MS_PRIVATE` and its like, and whether it goes for what is mounted below as well.
    pub(super) propagation: Option<(u64, bool)>,
    /// For the file system itself.
    pub(in crate::plan) data: Data,
    /// Flags every file system has; the words of fsconfig(2).
    superblock: Vec<&'static str>,
    /// Those that only mount(2) knows.
    flags: u64,
    pub(super) bind: bool,
    pub(super) recursive: bool,
    pub(super) remount: bool,
    /// A tmpfs begins with what it covers.
    pub(super) copy_up: bool,
    /// Owners are translated, `true`: below as well.
    pub(super) translated: Option<bool>,
}

/// `MOUNT_ATTR_*` to set and to clear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::plan) struct Attributes {
    pub(in crate::plan) set: u64,
    pub(super) clear: u64,
}

/// Words with the attributes they set and clear. Times of access are a choice of three, whose bits go together.
const ATTRIBUTES: [(&str, u64, u64); 17] = [
    ("ro", sys::RDONLY, 0),
    ("rw", 0, sys::RDONLY),
    ("nosuid", sys::NOSUID, 0),
    ("suid", 0, sys::NOSUID),
    ("nodev", sys::NODEV, 0),
    ("dev", 0, sys::NODEV),
    ("noexec", sys::NOEXEC, 0),
    ("exec", 0, sys::NOEXEC),
    ("nodiratime", sys::NODIRATIME, 0),
    ("diratime", 0, sys::NODIRATIME),
    ("nosymfollow", sys::NOSYMFOLLOW, 0),
    ("symfollow", 0, sys::NOSYMFOLLOW),
    ("noatime", sys::NOATIME, sys::ATIME),
    ("strictatime", sys::STRICTATIME, sys::ATIME),
    ("relatime", 0, sys::ATIME),
    ("atime", 0, sys::ATIME),
    ("nostrictatime", 0, sys::ATIME),
];

/// How mounts spread, as mount(2) calls it.
pub(in crate::plan) const PROPAGATION: [(&str, u64); 4] = [
    ("private", libc::MS_PRIVATE),
    ("slave", libc::MS_SLAVE),
    ("shared", libc::MS_SHARED),
    ("unbindable", libc::MS_UNBINDABLE),
];

/// fsconfig(2) takes no longer value, NUL included.
const LONGEST: usize = 256;

/// Flags of a file system, the word that takes each back, and what mount(2) calls it.
const SUPERBLOCK: [(&str, &str, u64); 4] = [
    ("sync", "async", libc::MS_SYNCHRONOUS),
    ("dirsync", "nodirsync", libc::MS_DIRSYNC),
    ("mand", "nomand", libc::MS_MANDLOCK),
    ("lazytime", "nolazytime", libc::MS_LAZYTIME),
];

/// The same for mount(2) alone.
const FLAGS: [(&str, &str, u64); 2] =
    [("iversion", "noiversion", libc::MS_I_VERSION), ("silent", "loud", libc::MS_SILENT)];

/// Words that stand for themselves.
const PLAIN: [&str; 9] =
    ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "defaults", "norelatime", "rnorelatime"];

/// Every word that is understood without the file system's help, in order.
pub(crate) fn mount_options() -> Vec<String> {
    let below = |name: &str| [name.to_owned(), format!("r{name}")];
    let mut words: Vec<String> = PLAIN.iter().map(|name| (*name).to_owned()).collect();
    words.extend(ATTRIBUTES.iter().flat_map(|(name, ..)| below(name)));
    words.extend(PROPAGATION.iter().flat_map(|(name, _)| below(name)));
    let flags = SUPERBLOCK.iter().chain(&FLAGS);
    words.extend(flags.flat_map(|(name, back, _)| [(*name).to_owned(), (*back).to_owned()]));
    words.sort();
    words
}

impl Options {
    pub(in crate::plan) fn parse(mount: &Mount) -> Result<Options> {
        let mut options = Options { bind: mount.typ().as_deref() == Some("bind"), ..Default::default() };
        for word in mount.options().iter().flatten() {
            options.take(word)?;
        }
        options.check(mount)?;
        Ok(options)
    }

    fn take(&mut self, word: &str) -> Result<()> {
        let below = word.strip_prefix('r').unwrap_or_default();
        match word {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.translated = Some(false),
            "ridmap" => self.translated = Some(true),
            // Engines hand on empty words; times of access are relative by themselves, unless told otherwise.
            "" | "defaults" | "norelatime" | "rnorelatime" => {}
            _ if self.own.take(word) || self.all.take(below) || self.flag(word) => {}
            _ => match PROPAGATION.iter().find(|(name, _)| *name == word || *name == below) {
                Some((name, flag)) => self.propagation = Some((*flag, *name == below)),
                None => self.data.push(datum(word)?),
            },
        }
        Ok(())
    }

    /// Takes a flag of the file system.
    fn flag(&mut self, word: &str) -> bool {
        if let Some((name, ..)) = SUPERBLOCK.iter().find(|(name, back, _)| *name == word || *back == word) {
            self.superblock.retain(|flag| flag != name);
            self.superblock.extend((*name == word).then_some(*name));
            return true;
        }
        let known = FLAGS.iter().find(|(name, back, _)| *name == word || *back == word);
        if let Some((name, _, flag)) = known {
            self.flags = if *name == word { self.flags | flag } else { self.flags & !flag };
        }
        known.is_some()
    }

    /// What is asked of a mount that has no such thing is not passed over.
    fn check(&self, mount: &Mount) -> Result<()> {
        let destination = mount.destination().display();
        let refuse = |sentence: String| Err(Error::Plan(sentence));
        if self.bind {
            let data = self.data.first().map(|(word, _)| word.to_string_lossy().into_owned());
            if let Some(word) = data {
                return refuse(format!("mount option `{word}` of the bind mount at `{destination}` is unknown"));
            }
            if let Some(word) = self.superblock.first() {
                let what = "belongs to a file system, which a bind mount makes none of";
                return refuse(format!("mount option `{word}` of the bind mount at `{destination}` {what}"));
            }
        }
        if self.copy_up && mount.typ().as_deref() != Some("tmpfs") {
            return refuse(format!("mount option `tmpcopyup` of the mount at `{destination}`: it is no tmpfs"));
        }
        Ok(())
    }

    pub(in crate::plan) fn is_bind(&self) -> bool {
        self.bind
    }

    /// For what the host has mounted already, with all that is below it.
    pub(super) fn of_hosts(self) -> Options {
        let all = Attributes { set: self.attributes(), clear: 0 };
        Options { all, own: Attributes::default(), recursive: true, ..self }
    }

    /// The attributes of a mount that is made now, with nothing below it.
    pub(in crate::plan) fn attributes(&self) -> u64 {
        self.own.set & !self.all.clear | self.all.set
    }

    /// Everything that fsconfig(2) is told.
    pub(super) fn configuration(&self) -> Result<Data> {
        let flags = self.superblock.iter().map(|flag| Ok((c_string(*flag, "an option")?, None)));
        flags.chain(self.data.iter().cloned().map(Ok)).collect()
    }

    /// Whether fsconfig(2) cannot be told: a flag it does not know, or a value of more than 255 bytes.
    pub(super) fn is_old(&self) -> bool {
        let values = self.data.iter().filter_map(|(_, value)| value.as_ref());
        self.flags != 0 || values.map(|value| value.as_bytes_with_nul().len()).any(|length| length > LONGEST)
    }

    /// Attributes and flags as mount(2) takes them, and what it is told besides.
    pub(super) fn old(&self) -> Result<(u64, CString)> {
        let attributes = self.attributes();
        let attributes = sys::OLD_FLAGS.iter().filter(|(bit, _)| attributes & bit != 0).map(|(_, flag)| *flag);
        let superblock = SUPERBLOCK.iter().filter(|(name, ..)| self.superblock.contains(name)).map(|(.., flag)| *flag);
        let flags = attributes.chain(superblock).fold(self.flags, |all, flag| all | flag);
        let word = |(key, value): &(CString, Option<CString>)| match value {
            Some(value) => [key.as_bytes(), b"=", value.as_bytes()].concat(),
            None => key.as_bytes().to_vec(),
        };
        let words: Vec<Vec<u8>> = self.data.iter().map(word).collect();
        Ok((flags, c_string(words.join(&b','), "a mount option")?))
    }

    /// How the mount itself spreads, if that is asked; a mount just made is private.
    pub(super) fn spread(&self) -> Option<Change> {
        let (propagation, recursive) = self.propagation.filter(|(flag, _)| *flag != libc::MS_PRIVATE)?;
        Some(Change { propagation, recursive, ..Default::default() })
    }
}

impl Attributes {
    fn take(&mut self, word: &str) -> bool {
        let Some((_, set, clear)) = ATTRIBUTES.iter().find(|(name, ..)| *name == word) else { return false };
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        true
    }
}

fn datum(word: &str) -> Result<(CString, Option<CString>)> {
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(c_string(value, "a mount option")?)),
        None => (word, None),
    };
    Ok((c_string(key, "a mount option")?, value))
}
