//! Where an archive goes: standard output that is no terminal, or a file that is there whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// Checks the place before anybody works for it.
pub(crate) fn check(output: Option<&Path>, verb: &str) -> anyhow::Result<()> {
    let Some(path) = output else {
        if io::stdout().is_terminal() {
            bail!("cowardly refusing to {verb} to a terminal\nhint: use the -o flag or redirect the output");
        }
        return Ok(());
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        bail!("`{}` is a directory", path.display());
    }
    if !folder.is_dir() {
        bail!("the directory `{}` does not exist", folder.display());
    }
    Ok(())
}

/// Copies `from` there.
pub(crate) fn copy(mut from: impl Read, output: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = output else {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        io::copy(&mut from, &mut out)?;
        return Ok(out.flush()?);
    };
    let attempt = || format!("write `{}`", path.display());
    // A pipe or a device is written to; only a file can be renamed over.
    if path.exists() && !path.is_file() {
        let mut file = File::create(path).with_context(attempt)?;
        io::copy(&mut from, &mut file).with_context(attempt)?;
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut fresh = tempfile::Builder::new().prefix(".proa-").tempfile_in(folder).with_context(attempt)?;
    io::copy(&mut from, fresh.as_file_mut()).with_context(attempt)?;
    fresh.persist(path).with_context(attempt)?;
    Ok(())
}
