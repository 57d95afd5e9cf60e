//! The root's steps: opening its parts, cloning the child, assembling and finishing it.

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use super::cgroups::Groups;
use super::ids::Ids;
use super::namespaces::Namespaces;
use super::process::working_directory;
use super::{Draft, Files, c_path, c_string, mounts};
use crate::cgroup::Hierarchy;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Change, Lower, Slot, Target};
use crate::sys;

/// The root's parts after the host has opened them.
#[derive(Debug)]
pub(super) enum Opened {
    Layers { lower: Vec<Slot>, scratch: Slot },
    Root(Slot),
}

/// `linux.rootfsPropagation`: one of `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, and whether it goes for what is
/// mounted below as well.
pub(super) fn propagation(linux: &Linux) -> Result<Option<(u64, bool)>> {
    let asked = linux.rootfs_propagation().as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Ok(None);
    }
    let known = mounts::PROPAGATION.iter().find_map(|(name, flag)| match asked.strip_suffix(name)? {
        "" => Some((*flag, false)),
        "r" => Some((*flag, true)),
        _ => None,
    });
    match known {
        None => Err(Error::Plan(format!("`linux.rootfsPropagation` `{asked}` is no way for mounts to spread"))),
        known => Ok(known),
    }
}

/// What a ready root becomes when it is opened. Only a slave hears of the host's mounts, and nobody tells the host of his:
/// `shared` begins with peers of its own. As with runc the bundle's devices can be opened where a controller bounds which;
/// where there is none, no node that comes with the files may open the machine's disk.
pub(super) fn change(propagation: Option<(u64, bool)>, facts: &Facts) -> Change {
    let slave = propagation.is_some_and(|(flag, _)| flag == libc::MS_SLAVE);
    let propagation = if slave { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    Change { set: if guarded(facts) { 0 } else { sys::NODEV }, clear: 0, propagation, recursive: true }
}

/// Whether a controller of v1 or a program of v2 bounds which devices a container opens.
fn guarded(facts: &Facts) -> bool {
    let with_program = |one: &Hierarchy| one.unified && one.writable && !one.controllers.is_empty();
    facts.cgroups.with("devices").is_some() || facts.cgroups.hierarchies.iter().any(with_program)
}

impl Draft {
    pub(super) fn open_files(
        &mut self,
        files: &Files<'_>,
        user: Option<&Ids>,
        change: Change,
        facts: &Facts,
    ) -> Result<Opened> {
        let (owner, _) = user.map_or((0, 0), Ids::owner);
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
                let changes = if facts.changes_mounts() { vec![change] } else { Vec::new() };
                self.push(Actor::Host, Action::OpenRoot { path: c_path(path)?, changes, into });
                Ok(Opened::Root(into))
            }
        }
    }

    /// The steps that make the root's mount; under a user namespace they stand before the clone, in the helper.
    pub(super) fn assemble_root(&mut self, opened: Opened, user: Option<&Ids>, facts: &Facts) -> Result<Slot> {
        let mut steps = Vec::new();
        let root = match opened {
            // A bundle's owners are as its maker left them: already those of the container's users.
            Opened::Root(root) => root,
            Opened::Layers { lower, scratch } => {
                let namespace = user.cloned().map(|Ids { uids, gids }| {
                    let into = self.slot();
                    steps.push((Actor::Zygote, Action::KeepUserNamespace { uids, gids, into }));
                    into
                });
                let place = facts.overlay.ok_or_else(|| Error::Lacks("this kernel mounts no overlay here".into()))?;
                if place == Lower::Attached && user.is_some() {
                    steps.push((Actor::Helper, Action::OwnMounts));
                }
                // The upper folder is not translated: what the guest writes belongs to an unprivileged uid outside.
                let actor = self.assembler;
                let translate = |(mount, user_namespace)| {
                    (actor, Action::TranslateOwners { mount, user_namespace, recursive: false })
                };
                steps.extend(
                    namespace.into_iter().flat_map(|ns| lower.iter().map(move |mount| translate((*mount, ns)))),
                );
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
                // Whoever has entered a user namespace can assemble nothing any more.
                Actor::Helper => self
                    .steps
                    .iter()
                    .position(|step| matches!(step.action, Action::Clone { .. } | Action::EnterWithUser { .. })),
                Actor::Zygote => self.steps.iter().position(|step| step.actor == Actor::Zygote && step.makes_process()),
                Actor::Host | Actor::Child => None,
            };
            self.steps.insert(before.unwrap_or(self.steps.len()), step);
        }
    }

    /// Puts a step of whoever assembles where that one reaches it, or at the end of a plan that clones nobody yet.
    pub(super) fn insert_or_push(&mut self, action: Action) {
        let actor = self.assembler;
        if self.steps.iter().any(|step| matches!(step.action, Action::Clone { .. })) {
            self.insert_assembly(vec![(actor, action)]);
        } else {
            self.push(actor, action);
        }
    }

    pub(super) fn enter_child(&mut self, namespaces: &Namespaces, groups: &Groups) {
        self.attach(Actor::Child, groups);
        if namespaces.makes(LinuxNamespaceType::User) {
            self.push(Actor::Child, Action::AwaitMaps);
        } else if !namespaces.devices.is_empty() {
            self.push(Actor::Child, Action::AwaitHelper);
        }
        if namespaces.has(LinuxNamespaceType::User) {
            self.push(Actor::Child, Action::BecomeRoot);
        }
        if namespaces.makes(LinuxNamespaceType::Cgroup) {
            self.push(Actor::Child, Action::OwnCgroupView);
        }
    }

    pub(super) fn attach_root(
        &mut self,
        files: &Files<'_>,
        root: Slot,
        change: Change,
        (namespaces, facts): (&Namespaces, &Facts),
    ) -> Result<()> {
        let ready = matches!(files, Files::Root(_));
        if let Files::Root(path) = files
            && namespaces.joins(LinuxNamespaceType::Mount)
        {
            self.push(Actor::Child, Action::AttachRootAt { root, path: c_path(path)? });
            return Ok(());
        }
        if ready {
            // A zygote has a mount namespace of its own; other makers have a copy of the host's, whose mounts are its peers.
            self.push(Actor::Child, Action::PrivateMounts);
        }
        self.push(Actor::Child, Action::AttachRoot { root });
        if ready && !facts.changes_mounts() {
            let target = Target { base: root, path: Beneath::root(), no_symlinks: true };
            self.push(Actor::Child, Action::Remount { target, change });
        }
        Ok(())
    }

    /// Enters the finished root.
    pub(super) fn enter_root(
        &mut self,
        root: Slot,
        no_pivot: bool,
        propagation: Option<(u64, bool)>,
        namespaces: &Namespaces,
    ) {
        let action = match no_pivot {
            _ if namespaces.joins(LinuxNamespaceType::Mount) => Action::EnterRoot { root },
            true => Action::ChangeRoot { root },
            false => Action::PivotRoot { root },
        };
        self.push(Actor::Child, action);
        // Only now: pivot_root(2) wants no peers around, and what was asked goes for the container's mounts alone.
        if let Some((propagation, recursive)) = propagation.filter(|(flag, _)| *flag != libc::MS_PRIVATE) {
            let change = Change { propagation, recursive, ..Default::default() };
            self.push(Actor::Child, Action::Spread { mount: root, change });
        }
    }

    pub(super) fn finish_root(
        &mut self,
        spec: &Spec,
        linux: &Linux,
        process: &Process,
        namespaces: &Namespaces,
        root: Slot,
        facts: &Facts,
    ) -> Result<()> {
        let beneath = |path: &str| Beneath::new(path).map_err(|_| Error::Nul { what: "a path" });
        let path = working_directory(process)?;
        if !path.names.is_empty() {
            self.push(Actor::Child, Action::MakeDirectory { root, path });
        }
        self.sysctls(spec, linux, namespaces, root)?;
        for path in linux.readonly_paths().iter().flatten() {
            let path = beneath(path)?;
            let by_attributes = facts.changes_mounts();
            let action =
                if by_attributes { Action::ReadOnly { root, path } } else { Action::ReadOnlyByRemount { root, path } };
            self.push(Actor::Child, action);
        }
        for path in linux.masked_paths().iter().flatten() {
            self.push(Actor::Child, Action::Mask { root, path: beneath(path)? });
        }
        if spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
            self.restrict(root, Beneath::root(), sys::RDONLY, facts);
        }
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
