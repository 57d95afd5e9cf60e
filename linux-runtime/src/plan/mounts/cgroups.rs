//! What a container sees of cgroups: its own groups and those below, in whatever way the machine has them.

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::super::cgroups::Groups;
use super::super::namespaces::Namespaces;
use super::super::{Draft, c_path, c_string};
use super::{Options, Places};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Change, Node, Slot, Target};
use crate::sys;

/// Attributes every mount of cgroups has.
pub(super) const HIDDEN: u64 = sys::NOSUID | sys::NODEV | sys::NOEXEC;

/// A view of one hierarchy of v1: in a cgroup namespace the hierarchy, whose root is the container's group there, else
/// that group as the host sees it.
#[derive(Debug)]
pub(in crate::plan) struct View {
    /// The folder it stands in.
    name: String,
    controllers: Vec<String>,
    opened: Option<Slot>,
}

impl Draft {
    /// Opens the container's groups where it has no cgroup namespace, in which they would be roots: v1 alone, since v2
    /// shows the whole tree then, as it is called to.
    pub(in crate::plan) fn open_views(
        &mut self,
        spec: &Spec,
        namespaces: &Namespaces,
        groups: &Groups,
        (group, facts): (&str, &Facts),
    ) -> Result<Vec<View>> {
        let mut views = Vec::new();
        let seen = spec.mounts().iter().flatten().find(|mount| mount.typ().as_deref() == Some("cgroup"));
        let Some(seen) = seen else { return Ok(views) };
        let set = HIDDEN | Options::parse(seen)?.attributes();
        for (_, name, controllers) in &groups.tasks {
            let hierarchy =
                facts.cgroups.hierarchies.iter().find(|one| !one.unified && one.controllers == *controllers);
            let opened = match hierarchy.filter(|_| !namespaces.has(LinuxNamespaceType::Cgroup)) {
                Some(hierarchy) => {
                    let into = self.slot();
                    let path = c_path(&hierarchy.mount.join(group))?;
                    let changes = vec![Change { set, recursive: false, ..Change::PRIVATE }];
                    let changes = if facts.changes_mounts() { changes } else { Vec::new() };
                    self.push(Actor::Host, Action::OpenSource { path, recursive: false, changes, into });
                    Some(into)
                }
                None => None,
            };
            views.push(View { name: name.clone(), controllers: controllers.clone(), opened });
        }
        Ok(views)
    }

    pub(super) fn cgroup_view(
        &mut self,
        at: &Places<'_>,
        options: &Options,
        target: Target,
        facts: &Facts,
    ) -> Result<()> {
        let attributes = HIDDEN | options.attributes();
        if is_pure(facts) && at.views.is_empty() {
            return self.unified_view(attributes, target);
        }
        let tree = self.slot();
        let root = target.path.clone();
        let mode = (c_string("mode", "an option")?, Some(c_string("755", "an option")?));
        let kind = c_string("tmpfs", "a file system")?;
        let action = Action::Mount { kind, options: vec![mode], attributes: HIDDEN, target, into: Some(tree) };
        self.push(Actor::Child, action);
        for view in at.views {
            self.hierarchy(view, tree, attributes, facts)?;
        }
        if attributes & sys::RDONLY != 0 {
            self.restrict(tree, root, sys::RDONLY, facts);
        }
        Ok(())
    }

    /// The tree of v2.
    pub(super) fn unified_view(&mut self, attributes: u64, target: Target) -> Result<()> {
        let kind = c_string("cgroup2", "a file system")?;
        self.push(Actor::Child, Action::Mount { kind, options: Vec::new(), attributes, target, into: None });
        Ok(())
    }

    fn hierarchy(&mut self, view: &View, tree: Slot, attributes: u64, facts: &Facts) -> Result<()> {
        let path = Beneath::new(&view.name).map_err(|_| Error::Nul { what: "a controller" })?;
        let target = Target { base: tree, path, no_symlinks: true };
        match view.opened {
            Some(mount) => {
                self.push(Actor::Child, Action::Attach { mount, target: target.clone() });
                if !facts.changes_mounts() {
                    let change = Change { set: attributes, ..Default::default() };
                    self.push(Actor::Child, Action::Remount { target, change });
                }
            }
            None => {
                let flags = view.controllers.iter().map(|name| Ok((c_string(name.as_str(), "a controller")?, None)));
                let (options, kind) = (flags.collect::<Result<_>>()?, c_string("cgroup", "a file system")?);
                self.push(Actor::Child, Action::Mount { kind, options, attributes, target, into: None });
            }
        }
        // Programs look for `cpu` where the hierarchy is called `cpu,cpuacct`.
        let link = |name: &String| {
            let to = c_string(view.name.as_str(), "a controller")?;
            Ok(Node::Link { name: c_string(name.as_str(), "a controller")?, to })
        };
        let others = view.controllers.iter().filter(|name| **name != view.name);
        let nodes = others.map(link).collect::<Result<Vec<Node>>>()?;
        if !nodes.is_empty() {
            self.push(Actor::Child, Action::MakeNodes { root: tree, folder: Beneath::root(), nodes });
        }
        Ok(())
    }
}

/// Whether there is v2 alone.
pub(super) fn is_pure(facts: &Facts) -> bool {
    facts.cgroups.hierarchies.iter().all(|one| one.unified || one.controllers.is_empty())
}
