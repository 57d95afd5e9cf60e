//! Docker's `USER[:GROUP]` as numbers, from the image's own /etc/passwd and /etc/group, read beneath directory handles.
//!
//! A part made of digits is a number and must fit 32 bits; it is never looked up as a name (CVE-2024-40635,
//! CVE-2026-46680: an out-of-range number became root).

use std::io::Read;
use std::path::PathBuf;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::error::{Error, Result};
use crate::state::record::User;

/// An image's passwd or group file larger than this is not read.
const LONGEST: u64 = 4 << 20;

/// The numbers of `text` in an image whose unpacked layers are `lower`, lowest first. Nothing is root of group root.
pub fn resolve(lower: &[PathBuf], text: &str) -> Result<User> {
    let passwd = read(lower, "passwd");
    let group = read(lower, "group");
    resolve_in(&passwd, &group, text)
}

fn resolve_in(passwd: &str, group: &str, text: &str) -> Result<User> {
    let (name, group_name) = text.split_once(':').unwrap_or((text, ""));
    let entries: Vec<Entry> = passwd.lines().filter_map(Entry::parse).collect();
    let mut user = User::default();
    let found = match number(name)? {
        Some(uid) => {
            user.uid = uid;
            entries.iter().find(|entry| entry.uid == uid)
        }
        None if name.is_empty() => entries.iter().find(|entry| entry.uid == 0),
        None => {
            let entry = entries.iter().find(|entry| entry.name == name);
            Some(entry.ok_or_else(|| {
                Error::Invalid(format!("unable to find user {name}: no matching entries in passwd file"))
            })?)
        }
    };
    if let Some(entry) = found {
        (user.uid, user.gid) = (entry.uid, entry.gid);
        user.home = Some(entry.home.to_owned()).filter(|home| !home.is_empty());
    }
    if group_name.is_empty() {
        if let Some(entry) = found {
            user.groups = groups_of(group, entry.name, user.gid);
        }
    } else {
        user.gid = match number(group_name)? {
            Some(gid) => gid,
            None => find_group(group, group_name)?,
        };
    }
    // The primary group is one of the supplementary ones, so that a program cannot shed it and with it what a file
    // denies that group (CVE-2022-36109).
    user.groups.insert(0, user.gid);
    Ok(user)
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Entry<'a>> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Entry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

/// A number where the text is made of digits; `None` where it is a name.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    // Docker's bound is that of a signed number: 2^31 and above became root where somebody added one.
    let fits = text.parse::<u32>().ok().filter(|id| i32::try_from(*id).is_ok());
    fits.map(Some).ok_or_else(|| Error::Invalid(format!("the user or group id `{text}` is above {}", i32::MAX)))
}

fn find_group(group: &str, name: &str) -> Result<u32> {
    let mut found = group.lines().filter_map(parse_group);
    found
        .find(|(other, ..)| *other == name)
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| Error::Invalid(format!("unable to find group {name}: no matching entries in group file")))
}

fn groups_of(group: &str, user: &str, primary: u32) -> Vec<u32> {
    let member = |(_, gid, members): (&str, u32, &str)| members.split(',').any(|name| name == user).then_some(gid);
    let mut all: Vec<u32> =
        group.lines().filter_map(parse_group).filter_map(member).filter(|gid| *gid != primary).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn parse_group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

/// The file as the topmost layer that has it shows it; empty where none does. A directory handle per layer: no link of
/// the image leads out of it.
fn read(lower: &[PathBuf], name: &str) -> String {
    for layer in lower.iter().rev() {
        let Ok(root) = Dir::open_ambient_dir(layer, ambient_authority()) else { continue };
        match root.symlink_metadata("etc") {
            // An overlay whiteout: everything below is hidden.
            Ok(etc) if is_whiteout(&etc) => break,
            Ok(_) => {}
            Err(_) => continue,
        }
        let path = format!("etc/{name}");
        if root.symlink_metadata(&path).is_ok_and(|file| is_whiteout(&file)) {
            break;
        }
        // Asked before it is opened: a fifo would never open, and a device does what it does when opened.
        if let Ok(found) = root.metadata(&path) {
            let mut bytes = Vec::new();
            if found.is_file()
                && let Ok(file) = root.open(&path)
                && file.take(LONGEST).read_to_end(&mut bytes).is_ok()
            {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            break;
        }
        if is_opaque(&root) {
            break;
        }
    }
    String::new()
}

fn is_whiteout(metadata: &cap_std::fs::Metadata) -> bool {
    use cap_std::fs::{FileTypeExt, MetadataExt};
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(layer: &Dir) -> bool {
    let Ok(etc) = layer.open_dir("etc") else { return false };
    let mut value = [0; 1];
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| rustix::fs::fgetxattr(&etc, *name, &mut value).is_ok_and(|length| length == 1 && value[0] == b'y'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:www:/var/www:/bin/sh\n4294967296:x:0:0::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nlog:x:4:web,other\n";

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> User {
        User { uid, gid, groups: groups.to_vec(), home: (!home.is_empty()).then(|| home.to_owned()) }
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let check = |text: &str, expected: User| {
            assert_eq!(resolve_in(PASSWD, GROUP, text).unwrap(), expected, "{text}");
        };
        check("", user(0, 0, &[0], "/root"));
        check("web", user(33, 33, &[33, 4], "/var/www"));
        check("33", user(33, 33, &[33, 4], "/var/www"));
        check("web:log", user(33, 4, &[4], "/var/www"));
        check("1000", user(1000, 0, &[0], ""));
        check("1000:1001", user(1000, 1001, &[1001], ""));
    }

    #[test]
    fn numbers_out_of_range_and_unknown_names_are_refused() {
        for text in ["2147483648", "4294967296", "99999999999999999999", "0:2147483648", "nobody-here", "web:nope"] {
            assert!(resolve_in(PASSWD, GROUP, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let layer = tempfile::tempdir().unwrap();
        std::fs::create_dir(layer.path().join("etc")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, layer.path().join("etc/fifo"), fifo, mode, 0).unwrap();
        std::os::unix::fs::symlink("fifo", layer.path().join("etc/passwd")).unwrap();
        assert_eq!(read(&[layer.path().to_owned()], "passwd"), "");
    }

    #[test]
    fn a_link_out_of_the_layer_is_not_followed() {
        let layer = tempfile::tempdir().unwrap();
        std::fs::create_dir(layer.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", layer.path().join("etc/passwd")).unwrap();
        assert_eq!(read(&[layer.path().to_owned()], "passwd"), "");
    }
}
