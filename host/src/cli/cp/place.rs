//! What goes where, by Docker's rules for `cp`: into a folder that is there, under the name of what is not.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// A folder here, and the name that the copied thing has in it; the empty name means the folder itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) folder: PathBuf,
    pub(super) name: String,
}

/// The same inside a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inside {
    pub(super) folder: String,
    pub(super) name: String,
}

/// What is at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    File,
    Folder,
}

/// Whether the target's folder is there, before anything is asked of the host.
pub(super) fn check_parent(target: &str) -> anyhow::Result<()> {
    let parent = Path::new(target).parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => bail!("the directory `{}` does not exist", parent.display()),
        _ => Ok(()),
    }
}

/// Where `source`, a path inside, goes here.
pub(super) fn here(source: &str, is_folder: bool, target: &str) -> anyhow::Result<Here> {
    let there = match std::fs::metadata(target) {
        Ok(found) if found.is_dir() => There::Folder,
        Ok(_) => There::File,
        Err(_) => There::Nothing,
    };
    let (folder, name) = decide(source, is_folder, target, there)?;
    let folder = if folder.is_empty() { PathBuf::from(".") } else { PathBuf::from(folder) };
    Ok(Here { folder, name })
}

/// Where `source`, a path here, goes inside; `there` is whether the target is a folder, where it is anything.
pub(super) fn inside(source: &str, is_folder: bool, target: &str, there: Option<bool>) -> anyhow::Result<Inside> {
    let there = match there {
        Some(true) => There::Folder,
        Some(false) => There::File,
        None => There::Nothing,
    };
    let (folder, name) = decide(source, is_folder, target, there)?;
    Ok(Inside { folder: if folder.is_empty() { "/".to_owned() } else { folder }, name })
}

fn decide(source: &str, is_folder: bool, target: &str, there: There) -> anyhow::Result<(String, String)> {
    let asserts_folder = target.ends_with('/') || target.ends_with("/.") || target == ".";
    let beside = || {
        let target = target.trim_end_matches("/.").trim_end_matches('/');
        let (folder, name) = target.rsplit_once('/').unwrap_or(("", target));
        let folder = if folder.is_empty() && target.starts_with('/') { "/" } else { folder };
        (folder.to_owned(), name.to_owned())
    };
    match there {
        There::Folder if is_folder && (source.ends_with("/.") || source == ".") => {
            Ok((target.to_owned(), String::new()))
        }
        There::Folder => Ok((target.to_owned(), last(source))),
        There::File if asserts_folder => bail!("`{target}` is not a directory"),
        There::File if is_folder => bail!("cannot copy a directory over the file `{target}`"),
        There::File => Ok(beside()),
        There::Nothing if is_folder => Ok(beside()),
        There::Nothing if asserts_folder => bail!("no such directory: `{target}`"),
        There::Nothing => Ok(beside()),
    }
}

/// A path's last name; empty for the root.
pub(super) fn last(path: &str) -> String {
    let path = path.trim_end_matches("/.").trim_end_matches('/');
    match path.rsplit('/').next().unwrap_or_default() {
        "." | ".." => String::new(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, is_folder: bool, target: &str, there: There, expected: Option<(&str, &str)>) {
        let found = decide(source, is_folder, target, there).ok();
        let found = found.as_ref().map(|(folder, name)| (folder.as_str(), name.as_str()));
        assert_eq!(found, expected, "{source} to {target}, where {there:?} is");
    }

    #[test]
    fn docker_s_rules_say_what_goes_where() {
        check("/a/f", false, "/t", There::Folder, Some(("/t", "f")));
        check("/a/f", false, "/t", There::File, Some(("/", "t")));
        check("/a/f", false, "t", There::Nothing, Some(("", "t")));
        check("/a/f", false, "x/t", There::Nothing, Some(("x", "t")));
        check("/a/f", false, "/t/", There::Nothing, None);
        check("/a/f", false, "/t/", There::File, None);
        check("/a/d", true, "/t", There::Folder, Some(("/t", "d")));
        check("/a/d/", true, "/t", There::Folder, Some(("/t", "d")));
        check("/a/d/.", true, "/t", There::Folder, Some(("/t", "")));
        check("/a/d", true, "/x/t", There::Nothing, Some(("/x", "t")));
        check("/a/d/.", true, "/x/t/", There::Nothing, Some(("/x", "t")));
        check("/a/d", true, "/t", There::File, None);
        check("/", true, "/t", There::Folder, Some(("/t", "")));
    }
}
