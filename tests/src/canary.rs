//! A tree beside the root that nothing hostile may reach, and the program itself: as they were, or somebody got out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::harness;
use crate::node::Node;

/// A tree outside of every root, with a note of how it was.
#[derive(Debug)]
pub struct Canary {
    folder: PathBuf,
    before: Vec<String>,
}

impl Canary {
    /// Plants one beside the node's root.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn beside(node: &Node) -> Result<Canary> {
        let folder = node.scratch().canonicalize()?.join("canary");
        fs::create_dir_all(folder.join("inner"))?;
        fs::write(folder.join("file"), "sings")?;
        fs::write(folder.join("inner/file"), "sings too")?;
        let before = look(&folder)?;
        Ok(Canary { folder, before })
    }

    /// Where it stands; absolute.
    ///
    /// # Panics
    /// Scratch folders have names in UTF-8.
    pub fn path(&self) -> &str {
        self.folder.to_str().expect("scratch folders have names in UTF-8")
    }

    /// Holds when nothing of it has changed.
    ///
    /// # Errors
    /// Shows what it was and is.
    pub fn sings(&self) -> Result<()> {
        let now = look(&self.folder)?;
        ensure!(now == self.before, "something outside was reached: {:#?} became {now:#?}", self.before);
        Ok(())
    }
}

fn look(folder: &Path) -> Result<Vec<String>> {
    let mut seen = snapshot(folder)?;
    let own = fs::metadata(folder)?;
    seen.push(format!("itself {:o} {}:{} {}", own.mode(), own.uid(), own.gid(), own.mtime()));
    let program = fs::metadata(harness::program())?;
    seen.push(format!("program {:o} {} {}", program.mode(), program.len(), program.mtime_nsec()));
    Ok(seen)
}

/// Paths, modes, owners, links, times and content of everything below a folder.
///
/// # Errors
/// When it cannot be read.
pub fn snapshot(folder: &Path) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)?.flatten() {
            let (path, data) = (entry.path(), entry.metadata()?);
            if data.is_dir() {
                folders.push(path.clone());
            }
            let content = if data.is_file() { fs::read(&path)? } else { Vec::new() };
            let (mode, owner, group, links, time) = (data.mode(), data.uid(), data.gid(), data.nlink(), data.mtime());
            seen.push(format!("{} {mode:o} {owner}:{group} {links} {time} {content:?}", path.display()));
        }
    }
    seen.sort();
    Ok(seen)
}
