//! Cgroup steps: groups are made by the host beforehand; the child attaches itself the quick way (FLOORS).

use oci_spec::runtime::LinuxResources;

use super::{Draft, c_path, c_string};
use crate::cgroup::{self, Bound};
use crate::error::Result;
use crate::facts::Facts;
use crate::step::{Action, Actor, Slot};

/// Controllers of v1 in which only a container that asked for their limits has a group.
const FURTHER: [&str; 6] = ["cpuset", "blkio", "hugetlb", "net_cls", "net_prio", "rdma"];

/// Where a plan's groups are attached.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// v1: a `tasks` file each, and the controllers of its hierarchy.
    pub(super) tasks: Vec<(Slot, String, Vec<String>)>,
    /// v2: the group's directory, for CLONE_INTO_CGROUP.
    pub(super) unified: Option<Slot>,
}

impl Draft {
    pub(super) fn create_cgroups(
        &mut self,
        group: &str,
        resources: Option<&LinuxResources>,
        facts: &Facts,
    ) -> Result<Groups> {
        let mut groups = Groups::default();
        for bound in cgroup::lower(&facts.cgroups, resources)? {
            let attach = self.note(&mut groups, &bound);
            let action = Action::CreateCgroup {
                hierarchy: c_path(&bound.hierarchy.mount)?,
                group: c_string(group, "an id")?,
                settings: bound.settings,
                attach,
                unified: bound.hierarchy.unified,
            };
            self.push(Actor::Host, action);
        }
        if let Some(hierarchy) = facts.cgroups.with("memory") {
            let file = if hierarchy.unified { "memory.events" } else { "memory.oom_control" };
            let into = self.slot();
            let path = c_path(&hierarchy.mount.join(group).join(file))?;
            self.push(Actor::Host, Action::OpenOomEvents { path, into });
            self.oom = Some(into);
        }
        Ok(groups)
    }

    /// Which devices the group may open, where that is a program (v2).
    pub(super) fn filter_devices(
        &mut self,
        group: &str,
        resources: Option<&LinuxResources>,
        facts: &Facts,
    ) -> Result<()> {
        let unified = cgroup::lower(&facts.cgroups, resources)?.into_iter().find(|bound| bound.hierarchy.unified);
        if let Some((bound, program)) = unified.zip(cgroup::device_program(&facts.cgroups, resources)) {
            let hierarchy = c_path(&bound.hierarchy.mount)?;
            self.push(Actor::Host, Action::FilterDevices { hierarchy, group: c_string(group, "an id")?, program });
        }
        Ok(())
    }

    /// Gives the group on v2 to the container's user, who then may make groups below it; v1 is no safe place for that.
    pub(super) fn delegate_cgroup(&mut self, group: &str, owner: Option<u32>, facts: &Facts) -> Result<()> {
        let unified = facts.cgroups.with("pids").filter(|hierarchy| hierarchy.unified);
        if let Some((owner, hierarchy)) = owner.zip(unified) {
            let hierarchy = c_path(&hierarchy.mount)?;
            self.push(Actor::Host, Action::DelegateCgroup { hierarchy, group: c_string(group, "an id")?, owner });
        }
        Ok(())
    }

    /// The groups of a running container.
    pub(super) fn open_cgroups(&mut self, group: &str, facts: &Facts) -> Result<Groups> {
        let mut groups = Groups::default();
        for bound in cgroup::lower(&facts.cgroups, None)? {
            let attach = self.note(&mut groups, &bound);
            let hierarchy = c_path(&bound.hierarchy.mount)?;
            let unified = bound.hierarchy.unified;
            let action = Action::OpenCgroup { hierarchy, group: c_string(group, "an id")?, attach, unified };
            self.push(Actor::Host, action);
        }
        let further = FURTHER.into_iter().filter_map(|name| facts.cgroups.with(name));
        for hierarchy in further.filter(|one| !one.unified) {
            let attach = self.slot();
            let path = c_path(&hierarchy.mount)?;
            let group = c_string(group, "an id")?;
            self.push(Actor::Host, Action::OpenFurtherCgroup { hierarchy: path, group, attach });
            groups.tasks.push((attach, String::new(), hierarchy.controllers.clone()));
        }
        Ok(groups)
    }

    fn note(&mut self, groups: &mut Groups, bound: &Bound<'_>) -> Slot {
        let attach = self.slot();
        if bound.hierarchy.unified {
            groups.unified = Some(attach);
        } else {
            let name = bound.hierarchy.mount.file_name().unwrap_or_default().to_string_lossy().into_owned();
            groups.tasks.push((attach, name, bound.hierarchy.controllers.clone()));
        }
        attach
    }

    pub(super) fn attach(&mut self, actor: Actor, groups: &Groups) {
        for (tasks, _, _) in &groups.tasks {
            self.push(actor, Action::AttachCgroup { tasks: *tasks });
        }
    }
}
