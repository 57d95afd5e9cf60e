//! The root's steps: opening its parts, cloning the child, assembling and finishing it.

use std::ffi::CString;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use super::cgroups::Groups;
use super::process::working_directory;
use super::{Draft, Files, c_path, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, IdMap, Lower, Slot};
use crate::sys;

/// The root's parts after the host has opened them.
#[derive(Debug)]
pub(super) enum Opened {
    Layers { lower: Vec<Slot>, scratch: Slot },
    Root(Slot),
}

/// The first range of the specification's own user mapping, if it asks for a user namespace.
pub(super) fn mapped_by(linux: &Linux) -> Option<IdMap> {
    let asked = linux.namespaces().iter().flatten().any(|one| one.typ() == LinuxNamespaceType::User);
    let map = linux.uid_mappings().iter().flatten().next().filter(|_| asked)?;
    Some(IdMap { inside: map.container_id(), outside: map.host_id(), count: map.size() })
}

/// Namespaces of others to enter: their kind (`CLONE_NEW*`) and where they are found. The process namespace comes last,
/// as the one that concerns only who is born afterwards.
pub(super) fn joined(linux: &Linux) -> Result<Vec<(u64, CString)>> {
    use LinuxNamespaceType::{Cgroup, Ipc, Network, Pid, Uts};
    let mut joined = Vec::new();
    for namespace in linux.namespaces().iter().flatten() {
        let Some(path) = namespace.path() else { continue };
        if ![Cgroup, Ipc, Network, Pid, Uts].contains(&namespace.typ()) {
            return Err(Error::Plan(format!("joining a {} namespace by path is not supported yet", namespace.typ())));
        }
        joined.push((namespace.typ() as u64, c_path(path)?));
    }
    joined.sort_by_key(|(kind, _)| *kind == Pid as u64);
    Ok(joined)
}

/// The namespaces to make (`CLONE_NEW*`).
pub(super) fn namespaces(linux: &Linux, user: bool) -> Result<u64> {
    let mut flags = libc::CLONE_NEWNS as u64;
    for namespace in linux.namespaces().iter().flatten() {
        if namespace.path().is_some() {
            continue;
        }
        if namespace.typ() == LinuxNamespaceType::Time {
            return Err(Error::Plan("time namespaces are not supported yet".into()));
        }
        flags |= namespace.typ() as u64;
    }
    let user_flag = libc::CLONE_NEWUSER as u64;
    Ok(if user { flags | user_flag } else { flags & !user_flag })
}

impl Draft {
    pub(super) fn open_files(&mut self, files: &Files<'_>, user: Option<IdMap>) -> Result<Opened> {
        let owner = user.map_or(0, |map| map.outside);
        match files {
            Files::Layers { lower, scratch } => {
                let mut opened = Vec::with_capacity(lower.len());
                for path in *lower {
                    let into = self.slot();
                    self.push(Actor::Host, Action::OpenLayer { path: c_path(path)?, into });
                    opened.push(into);
                }
                let into = self.slot();
                // The merged root's mode is the upper folder's: the topmost layer knows it.
                let like = lower.last().map(|path| c_path(path)).transpose()?;
                self.push(Actor::Host, Action::OpenScratch { path: c_path(scratch)?, owner, like, into });
                Ok(Opened::Layers { lower: opened, scratch: into })
            }
            Files::Root(path) => {
                let into = self.slot();
                self.push(Actor::Host, Action::OpenRoot { path: c_path(path)?, into });
                Ok(Opened::Root(into))
            }
        }
    }

    /// Opens namespaces that are to be entered: each with its kind and its descriptor's slot.
    pub(super) fn open_namespaces(&mut self, joined: Vec<(u64, CString)>) -> Vec<(u64, Slot)> {
        let mut opened = Vec::new();
        for (kind, path) in joined {
            let into = self.slot();
            self.push(Actor::Host, Action::OpenNamespace { path, into });
            opened.push((kind, into));
        }
        opened
    }

    pub(super) fn clone_child(
        &mut self,
        namespaces: u64,
        user: Option<IdMap>,
        groups: &Groups,
        joined: &[(u64, Slot)],
    ) {
        // The cgroup namespace is unshared later, when the child stands in its group: its root is where one stands.
        let flags = namespaces & !(libc::CLONE_NEWCGROUP as u64);
        if user.is_none() && joined.is_empty() && self.borrows.is_empty() {
            self.push(Actor::Zygote, Action::Clone { namespaces: flags, cgroup: groups.unified });
            return;
        }
        self.push(Actor::Zygote, Action::Fork { cgroup: None });
        for borrow in std::mem::take(&mut self.borrows) {
            self.push(Actor::Helper, borrow);
        }
        for (kind, namespace) in joined {
            self.push(Actor::Helper, Action::EnterNamespace { namespace: *namespace, kind: *kind });
        }
        self.push(Actor::Helper, Action::Clone { namespaces: flags, cgroup: groups.unified });
        if let Some(map) = user {
            self.push(Actor::Helper, Action::MapIds { uids: vec![map], gids: vec![map], deny_setgroups: false });
        }
    }

    /// The steps that make the root's mount; under a user namespace they stand before the clone, in the helper.
    pub(super) fn assemble_root(&mut self, opened: Opened, user: Option<IdMap>, facts: &Facts) -> Result<Slot> {
        let mut steps = Vec::new();
        let namespace = user.map(|map| {
            let into = self.slot();
            steps.push((Actor::Zygote, Action::KeepUserNamespace { map, into }));
            into
        });
        let root = match opened {
            Opened::Root(root) => {
                steps.extend(
                    namespace.map(|ns| (self.assembler, Action::TranslateOwners { mount: root, user_namespace: ns })),
                );
                root
            }
            Opened::Layers { lower, scratch } => {
                let place = facts.overlay.ok_or_else(|| Error::Lacks("this kernel mounts no overlay here".into()))?;
                if place == Lower::Attached && user.is_some() {
                    steps.push((Actor::Helper, Action::OwnMounts));
                }
                // The upper folder is not translated: what the guest writes belongs to an unprivileged uid outside.
                for mount in &lower {
                    steps.extend(
                        namespace
                            .map(|ns| (self.assembler, Action::TranslateOwners { mount: *mount, user_namespace: ns })),
                    );
                }
                let into = self.slot();
                steps.push((self.assembler, Action::Overlay { lower, scratch, place, into }));
                into
            }
        };
        self.insert_assembly(steps);
        Ok(root)
    }

    /// Puts assembling steps where their actors reach them: the zygote's before the fork, the helper's before its
    /// clone, the child's at the end.
    pub(super) fn insert_assembly(&mut self, steps: Vec<(Actor, Action)>) {
        for (actor, action) in steps {
            let step = crate::step::Step { actor, action };
            let before = match actor {
                Actor::Zygote => self.steps.iter().position(|step| matches!(step.action, Action::Fork { .. })),
                Actor::Helper => self.steps.iter().position(|step| matches!(step.action, Action::Clone { .. })),
                Actor::Host | Actor::Child => None,
            };
            self.steps.insert(before.unwrap_or(self.steps.len()), step);
        }
    }

    pub(super) fn enter_child(&mut self, groups: &Groups, in_user_namespace: bool, cgroup_view: bool) {
        self.attach(Actor::Child, groups);
        if in_user_namespace {
            self.push(Actor::Child, Action::AwaitMaps);
            self.push(Actor::Child, Action::BecomeRoot);
        }
        if cgroup_view {
            self.push(Actor::Child, Action::OwnCgroupView);
        }
    }

    pub(super) fn finish_root(&mut self, spec: &Spec, linux: &Linux, process: &Process, root: Slot) -> Result<()> {
        let beneath = |path: &str| Beneath::new(path).map_err(|_| Error::Nul { what: "a path" });
        let path = working_directory(process)?;
        if !path.names.is_empty() {
            self.push(Actor::Child, Action::MakeDirectory { root, path });
        }
        let mut parameters: Vec<_> = linux.sysctl().iter().flatten().collect();
        parameters.sort();
        for (name, value) in parameters {
            let path = beneath(&format!("/proc/sys/{}", name.replace('.', "/")))?;
            self.push(Actor::Child, Action::Sysctl { root, path, value: c_string(value.as_str(), "a sysctl")? });
        }
        for path in linux.readonly_paths().iter().flatten() {
            self.push(Actor::Child, Action::ReadOnly { root, path: beneath(path)? });
        }
        for path in linux.masked_paths().iter().flatten() {
            self.push(Actor::Child, Action::Mask { root, path: beneath(path)? });
        }
        if spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
            let action = Action::Restrict { mount: root, path: beneath("/")?, attributes: sys::RDONLY };
            self.push(Actor::Child, action);
        }
        self.push(Actor::Child, Action::PivotRoot { root });
        Ok(())
    }

    pub(super) fn names(&mut self, spec: &Spec) -> Result<()> {
        if let Some(name) = spec.hostname().as_ref().filter(|name| !name.is_empty()) {
            self.push(Actor::Child, Action::HostName { name: c_string(name.as_str(), "the host name")? });
        }
        if let Some(name) = spec.domainname().as_ref().filter(|name| !name.is_empty()) {
            self.push(Actor::Child, Action::DomainName { name: c_string(name.as_str(), "the domain name")? });
        }
        Ok(())
    }
}
