//! A folder on its way: filled beside its name, synced and sealed before it gets it. Nothing stays behind on failure.

use std::io;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, RenameFlags, chmodat, renameat_with, syncfs};

use super::seal;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layout::{sync_dir, unique_name};
use crate::removal::remove_tree_in;

/// See the module.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    folders: &'a Dir,
    name: String,
    temporary: String,
    label: String,
    pub(super) root: Dir,
    pub(crate) seal: Digest,
}

impl Aside<'_> {
    /// Makes what is to be called `name` in `folders`; sentences speak of `label`.
    pub(super) fn fill<'a>(
        folders: &'a Dir,
        name: &str,
        label: &Digest,
        fill: impl FnOnce(&Dir) -> Result<()>,
    ) -> Result<Aside<'a>> {
        let temporary = format!(".{name}.{}", unique_name());
        let label = label.to_string();
        let failed = |entry: &str| {
            let (layer, entry) = (label.clone(), entry.to_owned());
            move |source| Error::WriteEntry { layer, entry, source }
        };
        let filled = (|| {
            let made = || -> io::Result<Dir> {
                folders.create_dir(&temporary)?;
                chmodat(folders, &temporary, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                folders.open_dir(&temporary)
            };
            let root = made().map_err(failed("/"))?;
            fill(&root)?;
            // One call for a folder of thousands of files; the rename that follows is only durable after it.
            root.open(".").and_then(|root| Ok(syncfs(root)?)).map_err(failed("/"))?;
            let seal = seal::take(&root).map_err(|unread| failed(&unread.entry)(unread.source))?;
            Ok((root, seal))
        })();
        match filled {
            Ok((root, seal)) => Ok(Aside { folders, name: name.to_owned(), temporary, label, root, seal }),
            Err(error) => {
                let _ = remove_tree_in(folders, &temporary);
                Err(error)
            }
        }
    }

    /// Gives it its name; what had the name before goes.
    pub(crate) fn publish(self) -> Result<()> {
        let published = (|| {
            seal::write(self.folders, &self.name, &self.seal)?;
            match self.folders.is_dir(&self.name) {
                true => renameat_with(self.folders, &self.temporary, self.folders, &self.name, RenameFlags::EXCHANGE)?,
                false => self.folders.rename(&self.temporary, self.folders, &self.name)?,
            }
            sync_dir(self.folders)
        })();
        published.map_err(|source| Error::WriteEntry { layer: self.label.clone(), entry: "/".to_owned(), source })
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // Absent once it has its name, unless it stands for what had the name before. What cannot be removed goes when the
        // store is opened again.
        let _ = remove_tree_in(self.folders, &self.temporary);
    }
}
