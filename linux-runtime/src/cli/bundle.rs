//! A bundle: what its config.json says, and the plan that is made of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use proa_linux::{Direct, Facts, Files, Plan, Request, Streams, is_bind, read_container};

/// A config.json larger than this is nobody's.
const LARGEST: u64 = 16 << 20;

/// A bundle that was read.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) folder: PathBuf,
    /// config.json as it is.
    pub(super) text: Vec<u8>,
    pub(super) spec: Spec,
    /// What was left out of it.
    pub(super) warnings: Vec<String>,
}

impl Bundle {
    pub(super) fn load(folder: &Path) -> Result<Bundle> {
        let folder = fs::canonicalize(folder).with_context(|| format!("find the bundle `{}`", folder.display()))?;
        let path = folder.join("config.json");
        let read = || format!("read `{}`", path.display());
        if fs::metadata(&path).with_context(read)?.len() > LARGEST {
            bail!("read `{}`: it is larger than {LARGEST} bytes", path.display());
        }
        let text = fs::read(&path).with_context(read)?;
        let (mut spec, warnings) = read_container(&text).with_context(read)?;
        // Relative sources of bind mounts are the bundle's (config.md, "Mounts"); of others they are mere names.
        for mount in spec.mounts_mut().iter_mut().flatten() {
            if let Some(source) = mount.source().clone().filter(|source| source.is_relative() && is_bind(mount)) {
                mount.set_source(Some(folder.join(source)));
            }
        }
        Ok(Bundle { folder, text, spec, warnings })
    }

    /// Its root file system on the host.
    pub(super) fn root(&self) -> Result<PathBuf> {
        let root = self.spec.root().as_ref().context("config.json has no `root`")?;
        Ok(self.folder.join(root.path()))
    }
}

/// How a plan is made besides what the specification says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) group: &'a str,
    pub(super) detached: bool,
    pub(super) preserve: u16,
    /// The session keyring's name.
    pub(super) keyring: Option<&'a str>,
    pub(super) no_pivot: bool,
}

/// The plan of a container: its root as it is, the caller's own streams or a terminal.
pub(super) fn lower(spec: &Spec, root: &Path, manner: Manner<'_>, facts: &Facts) -> Result<Plan> {
    let request = Request {
        group: manner.group,
        files: Files::Root(root),
        streams: if wants_terminal(spec) { Streams::Terminal } else { Streams::Inherited },
        user_namespace: None,
        default_filter: false,
        init: false,
        keyring: manner.keyring,
        direct: Some(Direct { detached: manner.detached, preserve: manner.preserve, no_pivot: manner.no_pivot }),
    };
    Ok(Plan::new(spec, &request, facts)?)
}

pub(super) fn wants_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false)
}

/// Whether it has a user namespace of its own.
pub(super) fn has_user_namespace(spec: &Spec) -> bool {
    has_namespace(spec, LinuxNamespaceType::User)
}

/// Whether it has a pid namespace of its own or another container's, rather than the caller's.
pub(super) fn has_pid_namespace(spec: &Spec) -> bool {
    has_namespace(spec, LinuxNamespaceType::Pid)
}

fn has_namespace(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.into_iter().flatten().any(|one| one.typ() == kind)
}
