//! Docker's rules for paths of `cp`: `/a/link` is the link, `/a/link/` and `/a/link/.` are what it leads to, and the last
//! part names what is copied.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::spec::clean;

/// A path inside a container, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Absolute, without `.` and `..`.
    pub path: PathBuf,
    /// It ended in `/` or `/.`: it must be a folder, and is followed.
    pub folder: bool,
    /// The last part: `.` after `/.`, `/` for the root.
    pub base: OsString,
}

impl Asked {
    /// Reads `text`.
    pub fn new(text: &str) -> Asked {
        let path = clean("/", text);
        let dot = text == "." || text.ends_with("/.");
        let base = match path.file_name() {
            _ if dot => ".".into(),
            Some(name) => name.to_owned(),
            None => "/".into(),
        };
        Asked { folder: dot || text.ends_with('/') || path == Path::new("/"), path, base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_says_what_is_meant() {
        let check = |text: &str, path: &str, folder: bool, base: &str| {
            assert_eq!(Asked::new(text), Asked { path: path.into(), folder, base: base.into() }, "{text}");
        };
        check("/a/b", "/a/b", false, "b");
        check("a//b/", "/a/b", true, "b");
        check("/a/./b/.", "/a/b", true, ".");
        check("/", "/", true, "/");
        check("", "/", true, "/");
        check(".", "/", true, ".");
        check("/../../etc/..", "/", true, "/");
        check("/a/..b", "/a/..b", false, "..b");
    }
}
