//! Which namespaces a native container has of its own, which are the node's, and which are another container's.

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};
use proa_sandbox::Isolation;

use crate::error::{Error, Result};
use crate::network::Mode;
use crate::spec::built;
use crate::state::record::Record;

/// Whose namespace it is, as `--pid`, `--ipc`, `--uts` and `--cgroupns` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Own,
    Node,
    /// Of a container, by name or id.
    Of(String),
}

/// The first processes of containers whose namespaces are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Joined {
    pub pid: Option<u32>,
    pub ipc: Option<u32>,
}

impl Joined {
    /// For a look at what a specification would be, before the others need to run.
    pub const SUPPOSED: Joined = Joined { pid: Some(0), ipc: Some(0) };
}

/// `--pid`.
pub fn pid(record: &Record) -> Result<Whose> {
    let mode = record.host_config.pid_mode.as_deref().unwrap_or_default();
    parse(mode, &[""]).ok_or_else(|| Error::Invalid(format!("invalid PID mode: {mode}")))
}

/// `--ipc`; `none` is a namespace of one's own without /dev/shm.
pub fn ipc(record: &Record) -> Result<Whose> {
    let mode = record.host_config.ipc_mode.as_deref().unwrap_or_default();
    parse(mode, &["", "private", "shareable", "none"])
        .ok_or_else(|| Error::Invalid(format!("invalid IPC mode: {mode}")))
}

/// `--uts`.
pub fn uts(record: &Record) -> Result<Whose> {
    let mode = record.host_config.uts_mode.as_deref().unwrap_or_default();
    parse(mode, &[""])
        .filter(|whose| !matches!(whose, Whose::Of(_)))
        .ok_or_else(|| Error::Invalid(format!("invalid UTS mode: {mode}")))
}

/// `--cgroupns`.
pub fn cgroup(record: &Record) -> Whose {
    use bollard_stubs::models::HostConfigCgroupnsModeEnum::HOST;
    if record.host_config.cgroupns_mode == Some(HOST) { Whose::Node } else { Whose::Own }
}

/// The namespaces of a container; those it has of its own, and those it enters.
///
/// # Errors
/// `Conflict` when a container whose namespace is wanted does not run.
pub fn namespaces(record: &Record, joined: Joined) -> Result<Vec<LinuxNamespace>> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let mut all = vec![own(Mount)?];
    let network = Mode::parse(record.host_config.network_mode.as_deref().unwrap_or_default())?;
    let network = if network == Mode::Host { Whose::Node } else { Whose::Own };
    let table = [
        (Uts, uts(record)?, None),
        (Ipc, ipc(record)?, joined.ipc),
        (Pid, pid(record)?, joined.pid),
        (Cgroup, cgroup(record), None),
        (Network, network, None),
    ];
    for (kind, whose, process) in table {
        match whose {
            Whose::Own => all.push(own(kind)?),
            Whose::Node => {}
            Whose::Of(container) => all.push(of(kind, &container, process)?),
        }
    }
    if record.isolation == Isolation::LinuxUserns {
        all.push(own(User)?);
    }
    Ok(all)
}

fn own(kind: LinuxNamespaceType) -> Result<LinuxNamespace> {
    built(LinuxNamespaceBuilder::default().typ(kind).build())
}

fn of(kind: LinuxNamespaceType, container: &str, process: Option<u32>) -> Result<LinuxNamespace> {
    let name = if kind == LinuxNamespaceType::Pid { "PID" } else { "IPC" };
    let process = process.ok_or_else(|| {
        Error::Conflict(format!("cannot join {name} namespace of a non running container: {container}"))
    })?;
    let file = name.to_ascii_lowercase();
    built(LinuxNamespaceBuilder::default().typ(kind).path(format!("/proc/{process}/ns/{file}")).build())
}

fn parse(mode: &str, own: &[&str]) -> Option<Whose> {
    match mode.strip_prefix("container:") {
        Some("") => None,
        Some(container) => Some(Whose::Of(container.to_owned())),
        None if mode == "host" => Some(Whose::Node),
        None if own.contains(&mode) || mode == "private" => Some(Whose::Own),
        None => None,
    }
}
