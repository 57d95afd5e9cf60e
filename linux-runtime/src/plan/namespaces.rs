//! Which namespaces a container has of its own, which it shares with others, and how its process comes to be in them.

use std::ffi::CString;
use std::fmt::Write;

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, LinuxTimeOffset, Spec};

use super::cgroups::Groups;
use super::ids::Ids;
use super::net_devices::{NetDevices, net_devices};
use super::{Draft, Files, c_path, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Slot};

/// The namespaces of a container; what is not among them it inherits from the runtime.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// To be made (`CLONE_NEW*`).
    pub(super) made: u64,
    /// Of others, to be entered: their kind and where they are found.
    joined: Vec<(LinuxNamespaceType, CString)>,
    /// Network devices that it gets of the runtime's.
    pub(super) devices: NetDevices,
    /// How far the clocks of its time namespace are ahead, as the kernel wants it written.
    offsets: Option<CString>,
}

/// Namespaces of others that the host has opened: kind and descriptor.
pub(super) type Entered = Vec<(LinuxNamespaceType, Slot)>;

impl Namespaces {
    /// Sorts what the specification lists; `confined` makes a user namespace whatever it says.
    pub(super) fn sort(spec: &Spec, linux: &Linux, confined: bool, files: &Files<'_>) -> Result<Namespaces> {
        let mut namespaces = Namespaces { made: 0, joined: Vec::new(), devices: NetDevices::new(), offsets: None };
        let listed = linux.namespaces().as_deref().unwrap_or_default();
        for (at, one) in listed.iter().enumerate() {
            if listed[..at].iter().any(|before| before.typ() == one.typ()) {
                return Err(Error::Plan(format!("`linux.namespaces` has two of type `{}`", name(one.typ()))));
            }
            namespaces.take(one)?;
        }
        let user = LinuxNamespaceType::User;
        if confined && !namespaces.joins(user) {
            namespaces.made |= user as u64;
        }
        namespaces.offsets = offsets(linux, namespaces.made)?;
        namespaces.devices = net_devices(linux, &namespaces)?;
        namespaces.check(spec, files)?;
        Ok(namespaces)
    }

    /// Whether the container has one that is not the runtime's.
    pub(super) fn has(&self, kind: LinuxNamespaceType) -> bool {
        self.makes(kind) || self.joins(kind)
    }

    /// Whether it is the container's alone.
    pub(super) fn makes(&self, kind: LinuxNamespaceType) -> bool {
        self.made & kind as u64 != 0
    }

    pub(super) fn has_offsets(&self) -> bool {
        self.offsets.is_some()
    }

    pub(super) fn joins(&self, kind: LinuxNamespaceType) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    fn take(&mut self, one: &LinuxNamespace) -> Result<()> {
        match one.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => self.made |= one.typ() as u64,
            Some(path) if !path.is_absolute() => {
                let (name, path) = (name(one.typ()), path.display());
                return Err(Error::Plan(format!("path `{path}` of the {name} namespace is not absolute")));
            }
            Some(path) => self.joined.push((one.typ(), c_path(path)?)),
        }
        Ok(())
    }

    fn check(&self, spec: &Spec, files: &Files<'_>) -> Result<()> {
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let bundle = matches!(files, Files::Root(_));
        let sentence = if !self.has(LinuxNamespaceType::Mount) {
            "`linux.namespaces` has no mount namespace: the container's mounts would be the runtime's"
        } else if self.joins(LinuxNamespaceType::Mount) && !bundle {
            "a mount namespace by path needs a root file system that is ready"
        // Containers of layers are ours, and have a name whether it is theirs alone or the node's.
        } else if bundle && named(spec.hostname()) && !self.has(LinuxNamespaceType::Uts) {
            "`hostname` needs a uts namespace"
        } else if bundle && named(spec.domainname()) && !self.has(LinuxNamespaceType::Uts) {
            "`domainname` needs a uts namespace"
        } else {
            return Ok(());
        };
        Err(Error::Plan(sentence.into()))
    }

    /// What the child itself cannot enter: those of processes and clocks concern whoever is born afterwards, and beside
    /// a user namespace of its own it has no rights over the others.
    fn of_helper(&self, kind: LinuxNamespaceType) -> bool {
        use LinuxNamespaceType::{Mount, Pid, Time, User};
        kind != Mount && (self.has(User) || [Pid, Time].contains(&kind))
    }
}

impl Draft {
    /// Opens namespaces that are to be entered.
    pub(super) fn open_namespaces(&mut self, namespaces: &Namespaces) -> Entered {
        let mut opened = Entered::new();
        for (kind, path) in &namespaces.joined {
            let into = self.slot();
            self.push(Actor::Host, Action::OpenNamespace { path: path.clone(), kind: *kind as u64, into });
            opened.push((*kind, into));
        }
        opened
    }

    /// Makes the process, by a helper where one is needed.
    pub(super) fn clone_child(
        &mut self,
        namespaces: &Namespaces,
        entered: &Entered,
        ids: Option<&Ids>,
        groups: &Groups,
        facts: &Facts,
    ) {
        // The cgroup namespace is unshared later, when the child stands in its group: its root is where one stands. The
        // helper makes a time namespace that has offsets, since they are written before anybody enters.
        let mut flags = namespaces.made & !(libc::CLONE_NEWCGROUP as u64);
        if namespaces.offsets.is_some() {
            flags &= !(libc::CLONE_NEWTIME as u64);
        }
        let clone = Action::Clone { namespaces: flags, cgroup: groups.unified };
        let of_helper = entered.iter().any(|(kind, _)| namespaces.of_helper(*kind));
        let user = namespaces.has(LinuxNamespaceType::User);
        let devices = &namespaces.devices;
        if user || of_helper || !devices.is_empty() || namespaces.offsets.is_some() || !self.borrows.is_empty() {
            self.push(Actor::Zygote, Action::Fork { cgroup: None });
            for borrow in std::mem::take(&mut self.borrows) {
                self.push(Actor::Helper, borrow);
            }
            self.enter_as_helper(namespaces, entered);
            if let Some(offsets) = namespaces.offsets.clone() {
                self.push(Actor::Helper, Action::OwnTime { offsets });
            }
            self.push(Actor::Helper, clone);
        } else {
            self.push(Actor::Zygote, clone);
        }
        let ids = ids.filter(|_| namespaces.makes(LinuxNamespaceType::User));
        self.take_net_devices(devices, entered, ids.is_some());
        if let Some(ids) = ids {
            self.push(Actor::Helper, ids.action(facts));
        }
        for (kind, namespace) in entered {
            if !namespaces.of_helper(*kind) && *kind != LinuxNamespaceType::Mount {
                let (namespace, kind) = (*namespace, *kind as u64);
                self.push(Actor::Child, Action::EnterNamespace { namespace, kind });
            }
        }
    }

    /// Enters a mount namespace that others live in: the last, since the child finds another `/` and /proc there.
    pub(super) fn enter_mounts(&mut self, entered: &Entered) {
        for (kind, namespace) in entered.iter().filter(|(kind, _)| *kind == LinuxNamespaceType::Mount) {
            let (namespace, kind) = (*namespace, *kind as u64);
            self.push(Actor::Child, Action::EnterNamespace { namespace, kind });
        }
    }

    fn enter_as_helper(&mut self, namespaces: &Namespaces, entered: &Entered) {
        let user = entered.iter().find(|(kind, _)| *kind == LinuxNamespaceType::User).map(|(_, user)| *user);
        let others = entered.iter().filter(|(kind, _)| *kind != LinuxNamespaceType::User);
        let others = others.filter(|(kind, _)| namespaces.of_helper(*kind));
        let mut others: Vec<(Slot, u64)> = others.map(|(kind, slot)| (*slot, *kind as u64)).collect();
        others.sort_by_key(|(_, kind)| *kind == LinuxNamespaceType::Pid as u64);
        if let Some(user) = user {
            self.push(Actor::Helper, Action::EnterWithUser { user, others });
            return;
        }
        for (namespace, kind) in others {
            self.push(Actor::Helper, Action::EnterNamespace { namespace, kind });
        }
    }
}

/// As config.json calls it.
fn name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

/// The clocks' offsets as lines of /proc/PID/timens_offsets (time_namespaces(7)).
fn offsets(linux: &Linux, made: u64) -> Result<Option<CString>> {
    let Some(asked) = linux.time_offsets().as_ref().filter(|asked| !asked.is_empty()) else { return Ok(None) };
    if made & LinuxNamespaceType::Time as u64 == 0 {
        return Err(Error::Plan("`linux.timeOffsets` need a time namespace of the container's own".into()));
    }
    let mut asked: Vec<(&String, &LinuxTimeOffset)> = asked.iter().collect();
    asked.sort_by_key(|(clock, _)| *clock);
    let mut lines = String::new();
    for (clock, offset) in asked {
        let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            return Err(Error::Plan(format!("`linux.timeOffsets`: no time namespace has a clock `{clock}`")));
        }
        if nanoseconds >= 1_000_000_000 {
            return Err(Error::Plan(format!("`linux.timeOffsets.{clock}.nanosecs` {nanoseconds} is a second or more")));
        }
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{clock} {seconds} {nanoseconds}");
    }
    c_string(lines, "an offset").map(Some)
}
