//! A container's cgroup: of the caller's naming, of ours, or a scope that systemd makes.

use anyhow::Result;
use oci_spec::runtime::{LinuxResources, Spec};
use proa_linux::cgroup::systemd::{self, Scope, Unit};
use proa_linux::cgroup::{self, Claim, Layout};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// What the groups of containers that name none begin with. Directly below the root: a parent of our own would have to be
/// made and removed with most containers, in every hierarchy.
const PREFIX: &str = "proa-linux-";

/// What is written down of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    /// Below each hierarchy's root.
    pub(super) path: String,
    /// What goes away with it.
    claim: Claim,
    /// What systemd's unit was asked for by, where it made one: cgroupsPath, or nothing.
    unit: Option<Option<String>>,
}

impl Group {
    /// The group for a new container. With systemd the scope comes along, to be let go of once the container's process
    /// stands in it.
    pub(super) fn claim(spec: &Spec, id: &str, by_systemd: bool, layout: &Layout) -> Result<(Group, Option<Scope>)> {
        let linux = spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
        if !by_systemd {
            let path = cgroup::group(asked.map(AsRef::as_ref), &format!("{PREFIX}{id}"))?;
            let claim = Claim::new(layout, &path)?;
            return Ok((Group { path, claim, unit: None }, None));
        }
        let unit = Unit::parse(asked.map(AsRef::as_ref), id, geteuid().is_root())?;
        let scope = systemd::start(&unit, layout, linux.and_then(|linux| linux.resources().as_ref()))?;
        let asked = asked.map(|path| path.to_string_lossy().into_owned());
        let group = Group { path: scope.group().to_owned(), claim: Claim::default(), unit: Some(asked) };
        Ok((group, Some(scope)))
    }

    /// The group that a container would have; nothing is made.
    pub(super) fn planned(spec: &Spec, id: &str) -> Result<String> {
        let asked = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
        Ok(cgroup::group(asked.map(AsRef::as_ref), &format!("{PREFIX}{id}"))?)
    }

    /// Other limits, which systemd must know too: it writes what it knows again when it reloads.
    pub(super) fn update(&self, id: &str, layout: &Layout, resources: &LinuxResources) -> Result<()> {
        if let Some(unit) = self.unit(id)? {
            systemd::update(&unit, resources)?;
        }
        Ok(cgroup::update(layout, &self.path, resources)?)
    }

    /// Takes away what was made for it; `ResourceBusy` while something lives in it.
    pub(super) fn release(&self, layout: &Layout) -> proa_linux::Result<()> {
        self.claim.release(layout, &self.path)
    }

    /// Ends systemd's unit, if there is one.
    pub(super) fn stop_unit(&self, id: &str) -> Result<()> {
        self.unit(id)?.map_or(Ok(()), |unit| Ok(systemd::stop(&unit)?))
    }

    fn unit(&self, id: &str) -> Result<Option<Unit>> {
        let Some(asked) = &self.unit else { return Ok(None) };
        Ok(Some(Unit::parse(asked.as_deref().map(AsRef::as_ref), id, geteuid().is_root())?))
    }
}
