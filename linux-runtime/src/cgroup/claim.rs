//! Where a container's groups stand, and which directories go away with it: those that were not there before it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::remove::{remove_below, remove_tree};
use super::{Layout, is_frozen};
use crate::error::{Error, Result};

/// The group of `linux.cgroupsPath` below each hierarchy's root. Relative paths begin there too; without one it is
/// `otherwise`. `..` stops at the root.
///
/// # Errors
/// A path of no name at all: nobody's limits are written to a whole machine.
pub fn group(cgroups_path: Option<&Path>, otherwise: &str) -> Result<String> {
    let Some(path) = cgroups_path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(otherwise.to_owned()) };
    let mut names: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().ok_or_else(|| wrong(path, "is no text"))?),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    if names.is_empty() {
        return Err(wrong(path, "is the root of all groups"));
    }
    Ok(names.join("/"))
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::Plan(format!("`linux.cgroupsPath` `{}` {why}", path.display()))
}

/// What a container takes away at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// In each hierarchy the highest directory that was not there.
    made: Vec<PathBuf>,
}

impl Claim {
    /// Looks before anything is made whether `group` is fit for a new container: nothing lives in it and it is not frozen.
    /// Other containers would be bounded, killed or counted with this one.
    ///
    /// # Errors
    /// In runc's words.
    pub fn new(layout: &Layout, group: &str) -> Result<Claim> {
        let tops = layout.directories("");
        let made: Vec<PathBuf> = tops.iter().filter_map(|top| highest_missing(top, group)).collect();
        // Where the group is nowhere yet, as is usual, there is nothing to look at.
        if made.len() == tops.len() {
            return Ok(Claim { made });
        }
        let count = super::processes(layout, group).len();
        if count != 0 {
            return Err(Error::Lacks(format!("container's cgroup is not empty: {count} process(es) found")));
        }
        if is_frozen(layout, group) {
            return Err(Error::Lacks("container's cgroup unexpectedly frozen".to_owned()));
        }
        Ok(Claim { made })
    }

    /// Removes `group` and its parents, as far as they were made for it and nobody else's groups stand in them. A group that
    /// stood there before stays; what its container made below goes.
    ///
    /// # Errors
    /// The first group that could not be removed (`ResourceBusy` while something lives in it); the others are tried all
    /// the same.
    pub fn release(&self, layout: &Layout, group: &str) -> Result<()> {
        let mut first = None;
        for directory in layout.directories(group) {
            let top = self.made.iter().find(|made| directory.starts_with(made));
            let removed = match top {
                Some(top) => remove_tree(&directory).map(|()| remove_parents(&directory, top)),
                None => remove_below(&directory),
            };
            if let Err(source) = removed {
                let path = directory.display().to_string();
                first.get_or_insert(Error::Cgroup { verb: "remove", path, source });
            }
        }
        first.map_or(Ok(()), Err)
    }
}

fn highest_missing(hierarchy: &Path, group: &str) -> Option<PathBuf> {
    let mut directory = hierarchy.to_path_buf();
    for component in Path::new(group).components() {
        directory.push(component);
        if !directory.exists() {
            return Some(directory);
        }
    }
    None
}

fn remove_parents(directory: &Path, top: &Path) {
    let parents = directory.ancestors().skip(1).take_while(|parent| parent.starts_with(top));
    // Not empty means that somebody else's group stands in it: it stays.
    parents.take_while(|parent| fs::remove_dir(parent).is_ok()).for_each(drop);
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchy;
    use super::*;

    #[test]
    fn a_path_begins_at_the_root_and_stays_below_it() {
        let path = |text: &str| group(Some(Path::new(text)), "proa-linux/c").map_err(|error| error.to_string());
        assert_eq!(path("/a/b"), Ok("a/b".to_owned()));
        assert_eq!(path("a/./b/"), Ok("a/b".to_owned()));
        assert_eq!(path("/../../a/../b"), Ok("b".to_owned()));
        assert_eq!(path(""), Ok("proa-linux/c".to_owned()));
        assert_eq!(path("/a/.."), Err("`linux.cgroupsPath` `/a/..` is the root of all groups".to_owned()));
        assert_eq!(group(None, "proa-linux/c").unwrap(), "proa-linux/c");
    }

    /// Folders stand in for groups: rmdir(2) is the same.
    #[test]
    fn only_what_was_made_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = |name: &str| Hierarchy {
            mount: folder.path().join(name),
            controllers: vec![name.to_owned()],
            unified: false,
            writable: true,
        };
        let layout = Layout { hierarchies: vec![hierarchy("memory"), hierarchy("pids")] };
        fs::create_dir_all(folder.path().join("memory/a")).unwrap();
        fs::create_dir_all(folder.path().join("pids/a/b/c")).unwrap();
        let claim = Claim::new(&layout, "a/b/c").unwrap();
        for path in ["memory/a/b/c/sub", "pids/a/b/c/sub"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        claim.release(&layout, "a/b/c").unwrap();
        assert!(folder.path().join("memory/a").exists() && !folder.path().join("memory/a/b").exists());
        assert!(folder.path().join("pids/a/b/c").exists() && !folder.path().join("pids/a/b/c/sub").exists());
        fs::create_dir_all(folder.path().join("memory/a/b/other")).unwrap();
        fs::create_dir_all(folder.path().join("memory/a/b/c")).unwrap();
        claim.release(&layout, "a/b/c").unwrap();
        assert!(folder.path().join("memory/a/b/other").exists() && !folder.path().join("memory/a/b/c").exists());
    }
}
