//! `spec`: an example config.json to begin with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{
    LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, MountBuilder, Spec, get_default_namespaces,
};
use rustix::process::{getegid, geteuid};

pub(super) fn spec(bundle: &Path, rootless: bool) -> Result<()> {
    let path = bundle.join("config.json");
    if path.exists() {
        bail!("write `{}`: it exists", path.display());
    }
    let mut spec = Spec::default();
    spec.set_version("1.2.0".to_owned()).set_hostname(Some("proa".to_owned()));
    if let Some(process) = spec.process_mut() {
        process.set_terminal(Some(true));
        // Nobody inherits what a program was not given by its file (CVE-2022-24769).
        let sets = process.capabilities().clone().map(|mut sets| {
            sets.set_inheritable(None).set_ambient(None);
            sets
        });
        process.set_capabilities(sets);
    }
    if rootless {
        for_ordinary_user(&mut spec)?;
    }
    let text = serde_json::to_string_pretty(&spec)?;
    fs::write(&path, text + "\n").with_context(|| format!("write `{}`", path.display()))
}

/// What an ordinary user may have: a user namespace with the own id, no network of its own to configure, no cgroup limits.
fn for_ordinary_user(spec: &mut Spec) -> Result<()> {
    let map = |id: u32| LinuxIdMappingBuilder::default().container_id(0_u32).host_id(id).size(1_u32).build();
    if let Some(linux) = spec.linux_mut() {
        let mut namespaces = get_default_namespaces();
        let apart = [LinuxNamespaceType::Network, LinuxNamespaceType::Cgroup, LinuxNamespaceType::User];
        namespaces.retain(|one| !apart.contains(&one.typ()));
        namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build()?);
        linux.set_namespaces(Some(namespaces));
        linux.set_uid_mappings(Some(vec![map(geteuid().as_raw())?]));
        linux.set_gid_mappings(Some(vec![map(getegid().as_raw())?]));
        linux.set_resources(None);
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.retain(|mount| !["/sys", "/sys/fs/cgroup"].contains(&mount.destination().to_str().unwrap_or("")));
    for mount in &mut mounts {
        // A group that the namespace does not map.
        let options = mount.options().clone().map(|options| options.into_iter().filter(|one| !one.starts_with("gid=")));
        mount.set_options(options.map(Iterator::collect));
    }
    let options = ["rbind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    mounts.push(MountBuilder::default().destination("/sys").typ("none").source("/sys").options(options).build()?);
    spec.set_mounts(Some(mounts));
    Ok(())
}
