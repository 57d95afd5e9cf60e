//! Compiled code in: the only unsafe of this crate.
//!
//! # Safety
//! wasmtime trusts compiled code: whoever can write the file can run anything. The folder handle given here is a
//! read-only, detached mount of one artifact's own folder, written by the trusted side from a compiler's output under
//! a name made of digest, engine version, settings and CPU features; no guest and no compiler can reach it.
#![allow(unsafe_code, reason = "wasmtime's deserialize calls are unsafe; this module is the inventory")]

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;

use wasmtime::Module;
use wasmtime::component::Component;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::facts::ModuleKind;
use crate::guest::State;

/// The file of compiled code in an artifact's folder.
pub const CODE: &str = "code.cwasm";

/// Loaded code, linked and ready: an instance is one step away.
pub enum Artifact {
    /// A core module with `_start`.
    Module(wasmtime::InstancePre<State>),
    /// A component exporting `wasi:cli/run`.
    Command(CommandPre<State>),
    /// A component exporting `wasi:http/incoming-handler`.
    Http(ProxyPre<State>),
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Artifact::Module(_) => "Module",
            Artifact::Command(_) => "Command",
            Artifact::Http(_) => "Http",
        })
    }
}

impl Artifact {
    /// Maps the code in `folder` and links it: shared, copy on write, whatever its size.
    pub(crate) fn load(engine: &Engine, kind: ModuleKind, folder: impl AsFd) -> Result<Artifact> {
        let code = Path::new(CODE);
        match kind {
            ModuleKind::Module => {
                // SAFETY: see the module's contract: the file was written by the trusted side and cannot change.
                let module = inside(folder, || unsafe { Module::deserialize_file(engine.wasm(), code) })?;
                engine.modules().instantiate_pre(&module.map_err(Error::Load)?).map(Artifact::Module)
            }
            ModuleKind::Command | ModuleKind::Http => {
                // SAFETY: as above.
                let component = inside(folder, || unsafe { Component::deserialize_file(engine.wasm(), code) })?;
                let linked =
                    engine.components().instantiate_pre(&component.map_err(Error::Load)?).map_err(Error::Link)?;
                match kind {
                    ModuleKind::Http => ProxyPre::new(linked).map(Artifact::Http),
                    _ => CommandPre::new(linked).map(Artifact::Command),
                }
            }
        }
        .map_err(Error::Link)
    }

    /// How it is entered.
    pub fn kind(&self) -> ModuleKind {
        match self {
            Artifact::Module(_) => ModuleKind::Module,
            Artifact::Command(_) => ModuleKind::Command,
            Artifact::Http(_) => ModuleKind::Http,
        }
    }
}

/// Runs `work` with `folder` as the current directory. Calls take turns: the current directory belongs to the whole
/// process. A thread of its own after `unshare(CLONE_FS)` would do without turns, but then the seccomp filter of a
/// worker would have to allow `unshare`, and with it user namespaces; nothing else in a worker resolves a relative path
/// (guests' paths begin at directory handles), and turns are taken only where code is loaded or a guest created.
pub(crate) fn inside<T>(folder: impl AsFd, work: impl FnOnce() -> T) -> Result<T> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    rustix::process::fchdir(folder).map_err(|errno| Error::Enter(errno.into()))?;
    let result = work();
    // Leave nothing pointing at the folder: a handle that was closed should be gone.
    rustix::process::chdir("/").map_err(|errno| Error::Enter(errno.into()))?;
    Ok(result)
}
