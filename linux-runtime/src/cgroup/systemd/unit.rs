//! The scope's name, from the specification's `cgroupsPath` in systemd's form.

use std::path::Path;

use crate::error::{Error, Result};

/// A scope of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub slice: String,
    pub scope: String,
    pub(super) id: String,
}

impl Unit {
    /// `slice:prefix:name`; an empty slice is `system.slice` (`user.slice` of an ordinary user), an empty prefix leaves the
    /// name alone. Without a path it is `proa-linux` and the container's id.
    ///
    /// # Errors
    /// What is no such path or no unit's name.
    pub fn parse(cgroups_path: Option<&Path>, id: &str, is_root: bool) -> Result<Unit> {
        let path = cgroups_path.map(|path| path.to_string_lossy().into_owned()).filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| format!(":proa-linux:{id}"));
        let wrong = |why: &str| Error::Plan(format!("`linux.cgroupsPath` `{path}`: {why}"));
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(wrong("with `--systemd-cgroup` it has the form `slice:prefix:name`"));
        };
        let slice = if slice.is_empty() { if is_root { "system.slice" } else { "user.slice" } } else { slice };
        if !slice.ends_with(".slice") || !is_name(slice) {
            return Err(wrong(&format!("`{slice}` is no slice")));
        }
        if name.ends_with(".slice") {
            return Err(wrong("a container is a scope, not a slice"));
        }
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}-{name}") };
        let scope = if name.ends_with(".scope") { name } else { format!("{name}.scope") };
        if scope == ".scope" || !is_name(&scope) {
            return Err(wrong(&format!("`{scope}` is no unit's name")));
        }
        Ok(Unit { slice: slice.to_owned(), scope, id: id.to_owned() })
    }
}

/// The letters that systemd.unit(5) allows, within its length.
fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    text.len() <= 255 && text.bytes().all(letter) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_three_parts() {
        let parse = |path: &str| {
            let unit = Unit::parse(Some(Path::new(path)), "c1", true).map_err(|error| error.to_string())?;
            Ok::<_, String>((unit.slice, unit.scope))
        };
        let pair = |slice: &str, scope: &str| Ok((slice.to_owned(), scope.to_owned()));
        assert_eq!(parse("machine.slice:libpod:abc"), pair("machine.slice", "libpod-abc.scope"));
        assert_eq!(parse("::abc"), pair("system.slice", "abc.scope"));
        assert_eq!(parse(""), pair("system.slice", "proa-linux-c1.scope"));
        assert!(parse("/machine.slice/abc").unwrap_err().ends_with("it has the form `slice:prefix:name`"));
        assert!(parse("machine:libpod:abc").unwrap_err().ends_with("`machine` is no slice"));
        assert!(parse("a/../b.slice:libpod:abc").unwrap_err().ends_with("is no slice"));
        assert!(parse("a.slice:libpod:x y").unwrap_err().ends_with("is no unit's name"));
        assert!(parse("a.slice::b.slice").unwrap_err().ends_with("a scope, not a slice"));
    }

    #[test]
    fn an_ordinary_users_scope_is_in_his_slice() {
        assert_eq!(Unit::parse(None, "c1", false).unwrap().slice, "user.slice");
    }
}
