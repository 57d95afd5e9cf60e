//! Which capabilities a native container has: Docker's set less MKNOD, NET_RAW, AUDIT_WRITE and SETFCAP, with the
//! request's additions and subtractions.

use std::collections::HashSet;

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

/// The sets for a process of `uid`. A user other than root gets them as a bound only, as under Docker: inheritable and
/// ambient stay empty (CVE-2022-24769).
pub fn sets(uid: u32, add: &[String], drop: &[String]) -> Result<LinuxCapabilities> {
    let bounding = chosen(add, drop)?;
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

fn chosen(add: &[String], drop: &[String]) -> Result<HashSet<Capability>> {
    let mut set =
        if drop.iter().any(|name| name.eq_ignore_ascii_case("all")) { HashSet::new() } else { DEFAULT.into() };
    for name in add {
        if name.eq_ignore_ascii_case("all") {
            return Err(Error::Unsupported("--cap-add ALL is not supported: name the capabilities".to_owned()));
        }
        set.insert(parse(name)?);
    }
    for name in drop.iter().filter(|name| !name.eq_ignore_ascii_case("all")) {
        set.remove(&parse(name)?);
    }
    Ok(set)
}

fn parse(name: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    bare.parse().map_err(|_| Error::Invalid(format!("invalid capability: \"{name}\"")))
}
