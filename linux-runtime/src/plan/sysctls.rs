//! Kernel parameters: only those of the container's own namespaces, since others are the whole machine's.

use std::ffi::CStr;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::namespaces::Namespaces;
use super::{Draft, c_string};
use crate::error::{Error, Result};
use crate::step::{Action, Actor, Beneath, Slot};

/// Of the ipc namespace, below `kernel` (ipc_namespaces(7)).
const OF_IPC: [&[u8]; 8] =
    [b"msgmax", b"msgmnb", b"msgmni", b"sem", b"shmall", b"shmmax", b"shmmni", b"shm_rmid_forced"];

impl Draft {
    pub(super) fn sysctls(&mut self, spec: &Spec, linux: &Linux, namespaces: &Namespaces, root: Slot) -> Result<()> {
        let mut parameters: Vec<_> = linux.sysctl().iter().flatten().collect();
        parameters.sort();
        let named = spec.hostname().as_ref().is_some_and(|name| !name.is_empty());
        for (name, value) in parameters {
            let path = path(name)?;
            if !owner(&path).is_some_and(|owner| namespaces.has(owner)) {
                return Err(Error::Plan(format!("sysctl `{name}` is not in a separate kernel namespace")));
            }
            if named && path.names[2..] == [c"kernel", c"hostname"].map(CStr::to_owned) {
                return Err(Error::Plan(format!("sysctl `{name}` and `hostname` are the same")));
            }
            let value = c_string(value.as_str(), "a sysctl")?;
            self.push(Actor::Child, Action::Sysctl { root, path, value });
        }
        Ok(())
    }
}

/// As sysctl(8) reads a name: the first separator tells which of `.` and `/` separates; the other is part of names.
fn path(name: &str) -> Result<Beneath> {
    let dotted = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let text: String = if dotted { name.chars().map(swap).collect() } else { name.to_owned() };
    Beneath::new(&format!("/proc/sys/{text}")).map_err(|_| Error::Nul { what: "a sysctl's name" })
}

/// The kind of namespace a parameter belongs to. A name that climbs out of /proc/sys belongs to none.
fn owner(path: &Beneath) -> Option<LinuxNamespaceType> {
    let names: Vec<&[u8]> = path.names.iter().map(|name| name.to_bytes()).collect();
    match names.as_slice() {
        [b"proc", b"sys", b"net", _, ..] => Some(LinuxNamespaceType::Network),
        [b"proc", b"sys", b"fs", b"mqueue", _] => Some(LinuxNamespaceType::Ipc),
        [b"proc", b"sys", b"kernel", name] if OF_IPC.contains(name) => Some(LinuxNamespaceType::Ipc),
        [b"proc", b"sys", b"kernel", b"hostname" | b"domainname"] => Some(LinuxNamespaceType::Uts),
        [b"proc", b"sys", b"user", _] => Some(LinuxNamespaceType::User),
        _ => None,
    }
}
