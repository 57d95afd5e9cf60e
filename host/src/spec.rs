//! Lowers a record to the waist's [`Workload`], whose heart is an OCI runtime specification. Pure but for the reading
//! of paths it was given; must not know the API or how a runtime executes it.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxBuilder, LinuxIdMappingBuilder, RootBuilder, Spec, SpecBuilder};
use proa_sandbox::{Content as SandboxContent, Isolation, Workload};

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::spec::namespaces::{Joined, Whose};
use crate::state::record::{Content, Record};

pub mod capabilities;
pub mod devices;
pub mod exec;
pub mod files;
pub mod mounts;
pub mod namespaces;
pub mod powers;
pub mod process;
pub mod resources;
pub mod seccomp;
pub mod security;
pub mod sysctls;

/// The runtime specification's version this is written against.
const VERSION: &str = "1.2.1";

/// The ids of `linux-userns`: the same for every container, so that its layers are idmapped the same way.
pub(crate) const USERNS_HOST_ID: u32 = 100_000;
pub(crate) const USERNS_SIZE: u32 = 65_536;

/// Docker's masked paths: what /proc and /sys tell of the node, or let a guest do to it.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The workload of a record whose files lie in `folder`, in namespaces of others where it asks for them.
pub fn workload(record: &Record, folder: &Path, joined: Joined) -> Result<Workload> {
    let content = match &record.content {
        Content::Layers { lower } => SandboxContent::Layers { lower: lower.clone(), scratch: folder.join("scratch") },
        Content::Module { folder, kind, imports, files } => SandboxContent::Module {
            artifact: proa_sandbox::Artifact { folder: folder.clone(), kind: *kind, imports: imports.clone() },
            files: files.clone(),
        },
    };
    Ok(Workload {
        id: record.id.clone(),
        tenant: record.tenant.clone(),
        isolation: record.isolation,
        spec: spec(record, folder, joined)?,
        content,
        stdin: record.config.open_stdin.unwrap_or(false),
        // Where another's first process stands already, it reaps.
        init: record.host_config.init == Some(true) && namespaces::pid(record)? == Whose::Own,
    })
}

/// The hostname Docker gives where none is asked for: the node's with its network, else the beginning of the id.
pub fn hostname(record: &Record) -> String {
    let asked = record.config.hostname.clone().unwrap_or_default();
    if !asked.is_empty() {
        return asked;
    }
    let shares_name = namespaces::uts(record).is_ok_and(|whose| whose == Whose::Node);
    match Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default()) {
        Ok(mode) if mode == Mode::Host || shares_name => {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        }
        _ => record.id.chars().take(12).collect(),
    }
}

fn spec(record: &Record, folder: &Path, joined: Joined) -> Result<Spec> {
    let mut builder = SpecBuilder::default()
        .version(VERSION)
        .process(process::process(record)?)
        .hostname(hostname(record))
        .mounts(mounts::mounts(record, folder, joined)?)
        .root(built(
            RootBuilder::default().path("rootfs").readonly(record.host_config.readonly_rootfs.unwrap_or(false)).build(),
        )?)
        .annotations(record.host_config.annotations.clone().unwrap_or_default())
        .linux(linux(record, joined)?);
    if let Some(domain) = record.config.domainname.clone().filter(|domain| !domain.is_empty()) {
        builder = builder.domainname(domain);
    }
    built(builder.build())
}

fn linux(record: &Record, joined: Joined) -> Result<Linux> {
    let resources = resources::resources(record)?;
    if record.isolation.is_wasm() {
        return built(LinuxBuilder::default().resources(resources).namespaces(Vec::new()).build());
    }
    let mut builder = LinuxBuilder::default()
        .resources(resources)
        .namespaces(namespaces::namespaces(record, joined)?)
        .masked_paths(masked_paths(record)?)
        .readonly_paths(read_only_paths(record)?)
        .devices(devices::nodes(record)?)
        .sysctl(record.host_config.sysctls.clone().unwrap_or_default());
    if let Some(filter) = security::filter(record)? {
        builder = builder.seccomp(filter);
    }
    if record.isolation == Isolation::LinuxUserns {
        let mapping = built(
            LinuxIdMappingBuilder::default().container_id(0_u32).host_id(USERNS_HOST_ID).size(USERNS_SIZE).build(),
        )?;
        builder = builder.uid_mappings(vec![mapping]).gid_mappings(vec![mapping]);
    }
    built(builder.build())
}

/// What of /proc and /sys is hidden: what the request names, else Docker's list, else nothing.
pub fn masked_paths(record: &Record) -> Result<Vec<String>> {
    paths(record, &record.host_config.masked_paths, &MASKED)
}

/// What of /proc cannot be written.
pub fn read_only_paths(record: &Record) -> Result<Vec<String>> {
    paths(record, &record.host_config.readonly_paths, &READ_ONLY)
}

fn paths(record: &Record, asked: &Option<Vec<String>>, default: &[&str]) -> Result<Vec<String>> {
    if security::of(record)?.system_paths_unconfined {
        return Ok(Vec::new());
    }
    Ok(asked.clone().unwrap_or_else(|| default.iter().map(|path| (*path).to_owned()).collect()))
}

/// The builders of `oci-spec` fail only for a field without default that was not set; all are set here.
fn built<T>(result: Result<T, oci_spec::OciSpecError>) -> Result<T> {
    result.map_err(|error| Error::Invalid(format!("the runtime specification cannot be made: {error}")))
}

/// Cleans `path` as a guest would see it: absolute below `base`, without `.`, `..` and doubled slashes.
pub fn clean(base: &str, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new("/").join(base).join(path).components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
pub(crate) mod tests;
