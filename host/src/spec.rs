//! Lowers a record to the waist's [`Workload`], whose heart is an OCI runtime specification. Pure but for the reading
//! of paths it was given; must not know the API or how a runtime executes it.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Process, RootBuilder, Spec,
    SpecBuilder,
};
use proa_sandbox::{Content as SandboxContent, Isolation, Workload};

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::state::record::{Content, Record};

pub mod capabilities;
pub mod files;
pub mod mounts;
pub mod process;
pub mod resources;

/// The runtime specification's version this is written against.
const VERSION: &str = "1.2.1";

/// The ids of `linux-userns`: the same for every container, so that its layers are idmapped the same way.
const USERNS_HOST_ID: u32 = 100_000;
const USERNS_SIZE: u32 = 65_536;

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

/// The workload of a record whose files lie in `folder`.
pub fn workload(record: &Record, folder: &Path) -> Result<Workload> {
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
        spec: spec(record, folder)?,
        content,
        stdin: record.config.open_stdin.unwrap_or(false),
    })
}

/// The hostname Docker gives where none is asked for: the node's with its network, else the beginning of the id.
pub fn hostname(record: &Record) -> String {
    let asked = record.config.hostname.clone().unwrap_or_default();
    if !asked.is_empty() {
        return asked;
    }
    match Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default()) {
        Ok(Mode::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        _ => record.id.chars().take(12).collect(),
    }
}

fn spec(record: &Record, folder: &Path) -> Result<Spec> {
    let mut builder = SpecBuilder::default()
        .version(VERSION)
        .process(process::process(record)?)
        .hostname(hostname(record))
        .mounts(mounts::mounts(record, folder)?)
        .root(built(
            RootBuilder::default().path("rootfs").readonly(record.host_config.readonly_rootfs.unwrap_or(false)).build(),
        )?)
        .annotations(record.host_config.annotations.clone().unwrap_or_default())
        .linux(linux(record)?);
    if let Some(domain) = record.config.domainname.clone().filter(|domain| !domain.is_empty()) {
        builder = builder.domainname(domain);
    }
    built(builder.build())
}

fn linux(record: &Record) -> Result<Linux> {
    let resources = resources::resources(record)?;
    if record.isolation.is_wasm() {
        return built(LinuxBuilder::default().resources(resources).namespaces(Vec::new()).build());
    }
    let own = |paths: &Option<Vec<String>>, default: &[&str]| {
        paths.clone().unwrap_or_else(|| default.iter().map(|path| (*path).to_owned()).collect())
    };
    let mut builder = LinuxBuilder::default()
        .resources(resources)
        .namespaces(namespaces(record)?)
        .masked_paths(own(&record.host_config.masked_paths, &MASKED))
        .readonly_paths(own(&record.host_config.readonly_paths, &READ_ONLY))
        .sysctl(record.host_config.sysctls.clone().unwrap_or_default());
    if record.isolation == Isolation::LinuxUserns {
        let mapping = built(
            LinuxIdMappingBuilder::default().container_id(0_u32).host_id(USERNS_HOST_ID).size(USERNS_SIZE).build(),
        )?;
        builder = builder.uid_mappings(vec![mapping]).gid_mappings(vec![mapping]);
    }
    built(builder.build())
}

fn namespaces(record: &Record) -> Result<Vec<oci_spec::runtime::LinuxNamespace>> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let mode = Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())?;
    let own_network = (mode != Mode::Host).then_some(Network);
    let user = (record.isolation == Isolation::LinuxUserns).then_some(User);
    let all = [Mount, Uts, Ipc, Pid, Cgroup].into_iter().chain(own_network).chain(user);
    all.map(|typ| built(LinuxNamespaceBuilder::default().typ(typ).build())).collect()
}

/// The process of one more program in the container's sandbox.
pub fn exec_process(
    record: &Record,
    exec: &bollard_stubs::models::ExecConfig,
    user: crate::state::record::User,
) -> Result<Process> {
    process::exec(record, exec, &user)
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
