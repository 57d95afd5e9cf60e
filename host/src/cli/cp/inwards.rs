//! Files from here, packed as a tar archive while it is sent.

use std::fs::{self, Metadata};
use std::io::{BufWriter, PipeReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::Context;

/// What is to be copied.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    metadata: Metadata,
}

impl Source {
    /// Finds `path`; the last name is followed where it is a link and links are to be followed, or where it is said to
    /// be a folder.
    pub(super) fn find(path: &str, follow: bool) -> anyhow::Result<Source> {
        let follow = follow || path.ends_with('/') || path.ends_with("/.");
        let metadata = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let metadata = metadata.with_context(|| format!("find `{path}`"))?;
        if path.ends_with('/') && !metadata.is_dir() {
            anyhow::bail!("`{path}` is not a directory");
        }
        Ok(Source { path: PathBuf::from(path), metadata })
    }

    pub(super) fn is_folder(&self) -> bool {
        self.metadata.is_dir()
    }

    /// Packs it under `name`, its content alone where that is empty, in a thread of its own.
    pub(super) fn pack(self, name: &str) -> anyhow::Result<(PipeReader, JoinHandle<anyhow::Result<()>>)> {
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        let name = PathBuf::from(if name.is_empty() { "." } else { name });
        let packing = std::thread::spawn(move || {
            let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 16, writer));
            // The copy is of things as they are: a sparse file's holes are no concern of the container's.
            archive.sparse(false);
            append(&mut archive, &self.path, &name, &self.metadata)?;
            let mut writer = archive.into_inner().context("end the archive")?;
            writer.flush().context("end the archive")
        });
        Ok((reader, packing))
    }
}

/// Appends a file, a link, or a folder and what is in it; sockets are left out, as Docker leaves them.
fn append(archive: &mut tar::Builder<impl Write>, path: &Path, name: &Path, metadata: &Metadata) -> anyhow::Result<()> {
    let attempt = || format!("pack `{}`", path.display());
    let kind = metadata.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    if kind.is_symlink() {
        let target = fs::read_link(path).with_context(attempt)?;
        header.set_size(0);
        return archive.append_link(&mut header, name, target).with_context(attempt);
    }
    if kind.is_file() {
        let file = fs::File::open(path).with_context(attempt)?;
        header.set_size(metadata.len());
        // A file that grows meanwhile is packed as long as it was; one that shrinks fails.
        let content = std::io::Read::take(file, metadata.len());
        return archive.append_data(&mut header, name, content).with_context(attempt);
    }
    header.set_size(0);
    archive.append_data(&mut header, name, std::io::empty()).with_context(attempt)?;
    if !kind.is_dir() {
        return Ok(());
    }
    let mut entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).with_context(attempt)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let metadata = entry.metadata().with_context(|| format!("pack `{}`", entry.path().display()))?;
        append(archive, &entry.path(), &name.join(entry.file_name()), &metadata)?;
    }
    Ok(())
}
