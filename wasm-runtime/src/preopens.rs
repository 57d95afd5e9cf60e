//! A guest's files: directory handles in, preopened directories out.
//!
//! wasmtime-wasi opens a preopen by path only (`WasiCtxBuilder::preopened_dir`), so each handle is entered and named
//! `.`. A handle must be a detached mount: from a plain directory of the host `..` would lead on.

use std::os::fd::OwnedFd;

use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::artifact::inside;
use crate::error::{Error, Result};

/// One directory to grant.
#[derive(Debug)]
pub(crate) struct Preopen {
    pub(crate) handle: OwnedFd,
    /// Where the guest sees it.
    pub(crate) guest: String,
    pub(crate) read_only: bool,
}

/// Opens each directory once; the result is cloned into every instance of the guest.
pub(crate) fn open(preopens: &[Preopen]) -> Result<WasiFilesystemCtx> {
    let mut builder = WasiCtxBuilder::new();
    for preopen in preopens {
        let permissions = if preopen.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        inside(&preopen.handle, || builder.preopened_dir(".", &preopen.guest, permissions).map(|_| ()))?
            .map_err(|source| Error::Preopen { guest: preopen.guest.clone(), source })?;
    }
    Ok(builder.build().filesystem().clone())
}
