//! Which capabilities a native container has: Docker's set less MKNOD, NET_RAW, AUDIT_WRITE and SETFCAP, with the
//! request's additions and subtractions by Docker's rules.

use std::collections::HashSet;

use bollard_stubs::models::HostConfig;
use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

use crate::error::{Error, Result};
use crate::spec::built;

/// The default set.
pub const DEFAULT: [Capability; 10] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
];

/// Every capability there is (linux/capability.h, up to CAP_CHECKPOINT_RESTORE).
const ALL: [Capability; 41] = {
    use Capability::*;
    [
        AuditControl,
        AuditRead,
        AuditWrite,
        BlockSuspend,
        Bpf,
        CheckpointRestore,
        Chown,
        DacOverride,
        DacReadSearch,
        Fowner,
        Fsetid,
        IpcLock,
        IpcOwner,
        Kill,
        Lease,
        LinuxImmutable,
        MacAdmin,
        MacOverride,
        Mknod,
        NetAdmin,
        NetBindService,
        NetBroadcast,
        NetRaw,
        Perfmon,
        Setfcap,
        Setgid,
        Setpcap,
        Setuid,
        SysAdmin,
        SysBoot,
        SysChroot,
        SysModule,
        SysNice,
        SysPacct,
        SysPtrace,
        SysRawio,
        SysResource,
        SysTime,
        SysTtyConfig,
        Syslog,
        WakeAlarm,
    ]
};

/// The sets for a process of `uid`. A user other than root gets them as a bound only, as under Docker: inheritable and
/// ambient stay empty (CVE-2022-24769).
pub fn sets(uid: u32, host: &HostConfig) -> Result<LinuxCapabilities> {
    let bounding = chosen(host)?;
    let held = if uid == 0 { bounding.clone() } else { HashSet::new() };
    built(
        LinuxCapabilitiesBuilder::default()
            .bounding(bounding)
            .effective(held.clone())
            .permitted(held)
            .inheritable(HashSet::new())
            .ambient(HashSet::new())
            .build(),
    )
}

/// The set a request asks for. What is added wins over what is dropped; `ALL` on one side leaves the other side's names
/// to decide.
pub fn chosen(host: &HostConfig) -> Result<HashSet<Capability>> {
    if host.privileged == Some(true) {
        return Ok(ALL.into());
    }
    let add = parse_all(host.cap_add.as_deref().unwrap_or_default(), "CapAdd")?;
    let drop = parse_all(host.cap_drop.as_deref().unwrap_or_default(), "CapDrop")?;
    let named = |list: &[Option<Capability>]| list.iter().copied().flatten().collect::<HashSet<_>>();
    let (all_added, all_dropped) = (add.contains(&None), drop.contains(&None));
    let (add, drop) = (named(&add), named(&drop));
    let without = |base: &[Capability]| base.iter().copied().filter(|one| !drop.contains(one)).collect();
    Ok(match (all_added, all_dropped) {
        (true, _) => without(&ALL),
        (false, true) => add,
        (false, false) => {
            let mut set: HashSet<Capability> = without(&DEFAULT);
            set.extend(add);
            set
        }
    })
}

/// Whether a request asks for a capability that containers do not have by default.
pub fn asks_for_more(host: &HostConfig) -> Result<bool> {
    Ok(chosen(host)?.iter().any(|one| !DEFAULT.contains(one)))
}

fn parse_all(names: &[String], field: &str) -> Result<Vec<Option<Capability>>> {
    let wrapped = |error: Error| Error::Invalid(format!("invalid {field}: {error}"));
    names.iter().map(|name| parse(name).map_err(wrapped)).collect()
}

/// One name, with or without `CAP_`, in any case; `None` is `ALL`.
pub(super) fn parse(name: &str) -> Result<Option<Capability>> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if upper == "ALL" {
        return Ok(None);
    }
    bare.parse().map(Some).map_err(|_| Error::Invalid(format!("unknown capability: \"CAP_{bare}\"")))
}
