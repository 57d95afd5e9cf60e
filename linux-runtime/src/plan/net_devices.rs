//! Network devices that move from the runtime's network namespace into the container's (config-linux.md, "Network Devices").

use std::ffi::CString;

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use super::namespaces::{Entered, Namespaces};
use super::{Draft, c_string};
use crate::error::{Error, Result};
use crate::step::{Action, Actor};

/// IFNAMSIZ (linux/if.h), without the NUL.
const LONGEST: usize = 15;

/// Names there and here, in the order of the former.
pub(super) type NetDevices = Vec<(CString, CString)>;

/// What is asked, as far as the kernel could do it.
pub(super) fn net_devices(linux: &Linux, namespaces: &Namespaces) -> Result<NetDevices> {
    let mut asked: Vec<_> = linux.net_devices().iter().flatten().collect();
    asked.sort_by_key(|(name, _)| *name);
    if !asked.is_empty() && !namespaces.has(LinuxNamespaceType::Network) {
        return Err(Error::Plan("`linux.netDevices` need a network namespace".into()));
    }
    let mut devices = NetDevices::new();
    for (name, device) in asked {
        let new = device.name().as_ref().filter(|new| !new.is_empty()).unwrap_or(name);
        let (old, new) = (checked(name)?, checked(new)?);
        if devices.iter().any(|(_, known)| *known == new) {
            let new = new.to_string_lossy();
            return Err(Error::Plan(format!("`linux.netDevices` has two devices that are called `{new}`")));
        }
        devices.push((old, new));
    }
    Ok(devices)
}

/// The kernel's rule for names (dev_valid_name).
fn checked(name: &str) -> Result<CString> {
    let plain = !name.contains(['/', ':']) && !name.contains(char::is_whitespace) && !name.contains('\0');
    if !plain || ["", ".", ".."].contains(&name) || name.len() > LONGEST {
        return Err(Error::Plan(format!("`linux.netDevices`: `{name}` is no name of a device")));
    }
    c_string(name, "a device's name")
}

impl Draft {
    /// The helper moves them when the child's namespace is there, since it stands in theirs; the child waits for it.
    pub(super) fn take_net_devices(&mut self, devices: &NetDevices, entered: &Entered, mapped: bool) {
        let network =
            entered.iter().find(|(kind, _)| *kind == LinuxNamespaceType::Network).map(|(_, network)| *network);
        for (name, new) in devices.iter().cloned() {
            self.push(Actor::Helper, Action::TakeNetDevice { name, new, network });
        }
        // Otherwise the maps are what the child waits for.
        if !devices.is_empty() && !mapped {
            self.push(Actor::Helper, Action::LetGo);
        }
    }
}
