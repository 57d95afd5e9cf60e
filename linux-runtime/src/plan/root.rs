//! The root's steps: opening its parts, cloning the child, assembling and finishing it.

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use super::cgroups::Groups;
use super::ids::Ids;
use super::namespaces::Namespaces;
use super::process::working_directory;
use super::{Draft, Files, c_path, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Lower, Slot};
use crate::sys;

/// The root's parts after the host has opened them.
#[derive(Debug)]
pub(super) enum Opened {
    Layers { lower: Vec<Slot>, scratch: Slot },
    Root(Slot),
}

impl Draft {
    pub(super) fn open_files(&mut self, files: &Files<'_>, user: Option<&Ids>) -> Result<Opened> {
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
                self.push(Actor::Host, Action::OpenRoot { path: c_path(path)?, into });
                Ok(Opened::Root(into))
            }
        }
    }

    /// The steps that make the root's mount; under a user namespace they stand before the clone, in the helper.
    pub(super) fn assemble_root(&mut self, opened: Opened, user: Option<&Ids>, facts: &Facts) -> Result<Slot> {
        let mut steps = Vec::new();
        let namespace = user.cloned().map(|Ids { uids, gids }| {
            let into = self.slot();
            steps.push((Actor::Zygote, Action::KeepUserNamespace { uids, gids, into }));
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
                // Whoever has entered a user namespace can assemble nothing any more.
                Actor::Helper => self
                    .steps
                    .iter()
                    .position(|step| matches!(step.action, Action::Clone { .. } | Action::EnterWithUser { .. })),
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
        }
        if namespaces.has(LinuxNamespaceType::User) {
            self.push(Actor::Child, Action::BecomeRoot);
        }
        if namespaces.makes(LinuxNamespaceType::Cgroup) {
            self.push(Actor::Child, Action::OwnCgroupView);
        }
    }

    pub(super) fn finish_root(
        &mut self,
        spec: &Spec,
        linux: &Linux,
        process: &Process,
        namespaces: &Namespaces,
        root: Slot,
    ) -> Result<()> {
        let beneath = |path: &str| Beneath::new(path).map_err(|_| Error::Nul { what: "a path" });
        let path = working_directory(process)?;
        if !path.names.is_empty() {
            self.push(Actor::Child, Action::MakeDirectory { root, path });
        }
        self.sysctls(spec, linux, namespaces, root)?;
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
