//! What containers take on the disk, counted when asked.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};

use crate::error::Result;
use crate::host::Host;
use crate::images::run_blocking;
use crate::state::Container;
use crate::state::record::Content;

/// Bytes of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// What the container wrote.
    pub written: u64,
    /// What its image takes, unpacked.
    pub image: u64,
}

impl Size {
    /// Docker's `SizeRootFs`.
    pub fn whole(self) -> u64 {
        self.written + self.image
    }
}

/// Folders of images whose size was counted once; they never change.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<HashMap<PathBuf, u64>>);

impl Host {
    /// What a container takes.
    pub async fn size_of(&self, container: &Container) -> Result<Size> {
        let folders = container.with(|record| match &record.content {
            Content::Layers { lower } => lower.clone(),
            Content::Module { files, folder, .. } => files.iter().chain([folder]).cloned().collect(),
        });
        let mut size = Size::default();
        for folder in folders {
            let known = self.counted.0.lock().unwrap_or_else(PoisonError::into_inner).get(&folder).copied();
            size.image += match known {
                Some(known) => known,
                None => {
                    let path = folder.clone();
                    let bytes = run_blocking(move || Ok(tree_size(&path))).await?;
                    self.counted.0.lock().unwrap_or_else(PoisonError::into_inner).insert(folder, bytes);
                    bytes
                }
            };
        }
        let written = container.folder().join("scratch/upper");
        size.written = run_blocking(move || Ok(tree_size(&written))).await?;
        Ok(size)
    }
}

/// Bytes that the files below `folder` take, files of several names once; what vanishes meanwhile counts nothing.
///
/// Through a handle of the folder: a guest that swaps directories for links meanwhile leads nowhere else.
pub fn tree_size(folder: &Path) -> u64 {
    let Ok(root) = Dir::open_ambient_dir(folder, ambient_authority()) else {
        return std::fs::symlink_metadata(folder).map_or(0, |data| data.blocks() * 512);
    };
    let (mut folders, mut known, mut total) = (vec![PathBuf::from(".")], HashSet::new(), 0);
    while let Some(next) = folders.pop() {
        for entry in root.read_dir(&next).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                folders.push(next.join(entry.file_name()));
            } else if data.nlink() > 1 && !known.insert((data.dev(), data.ino())) {
                continue;
            }
            total += data.blocks() * 512;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_names_is_counted_once_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let empty = tree_size(folder.path());
        std::fs::write(inner.join("x"), vec![1; 100_000]).unwrap();
        let one = tree_size(folder.path());
        assert!(one >= empty + 100_000);
        std::fs::hard_link(inner.join("x"), folder.path().join("y")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("usr")).unwrap();
        assert!(tree_size(folder.path()) <= one + 8192);
        assert_eq!(tree_size(&folder.path().join("gone")), 0);
    }
}
