//! `--cidfile`: the container's id in a file that was not there before.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// A file that awaits an id; dropped without one it is removed again.
#[derive(Debug)]
pub(crate) struct IdFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl IdFile {
    /// Makes the file before the container, so that a container whose id cannot be told is never made.
    pub(crate) fn reserve(path: PathBuf) -> anyhow::Result<IdFile> {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(IdFile { path, file, written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => anyhow::bail!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ),
            Err(error) => Err(error).with_context(|| format!("make the container ID file `{}`", path.display())),
        }
    }

    pub(crate) fn write(mut self, id: &str) -> anyhow::Result<()> {
        self.file.write_all(id.as_bytes()).with_context(|| format!("write `{}`", self.path.display()))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.written {
            let _ = fs::remove_file(&self.path);
        }
    }
}
