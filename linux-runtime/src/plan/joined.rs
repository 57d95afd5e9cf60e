//! One more process in a running container: a helper enters its cgroup and namespaces, the child is cloned in there.

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxSeccomp, Process};

use super::process::{Filter, Start};
use super::{Direct, Draft, Plan, Streams, bounds, capabilities, refused};
use crate::error::Result;
use crate::facts::Facts;
use crate::step::{Action, Actor};

/// What one more process is made from besides its own part of the specification.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// The container's own filter.
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// Docker's filter where the container has none.
    pub default_filter: bool,
    pub streams: Streams,
    /// The container's group, below each hierarchy's root.
    pub group: &'a str,
    /// Whether the container has a user namespace of its own.
    pub in_user: bool,
    /// The container's own part of the specification, for the kernel and the memory that its processes see.
    pub linux: Option<&'a Linux>,
    /// The container's session keyring, by name.
    pub keyring: Option<&'a str>,
    /// What only a maker without a zygote has.
    pub direct: Option<Direct>,
}

pub(super) fn lower(process: &Process, join: &Join<'_>, facts: &Facts) -> Result<Plan> {
    refused::process(process)?;
    bounds::process(process)?;
    let mut draft = Draft::new(true, facts);
    draft.assembler = Actor::Helper;
    draft.givable = capabilities::givable(facts, join.in_user);
    let container = draft.slot();
    draft.joins = Some(container);
    let groups = draft.open_cgroups(join.group, facts)?;
    draft.push(Actor::Zygote, Action::Fork { cgroup: groups.unified });
    draft.oom_score(process)?;
    draft.labels(process, Actor::Helper, facts)?;
    draft.affinity_on_the_way(process, |draft| draft.attach(Actor::Helper, &groups))?;
    let namespaces = namespaces(join);
    draft.push(Actor::Helper, Action::Join { process: container, namespaces });
    draft.push(Actor::Helper, Action::Clone { namespaces: 0, cgroup: None });
    if join.in_user {
        draft.push(Actor::Child, Action::BecomeRoot);
    }
    draft.keyring(join.keyring)?;
    if let Some(linux) = join.linux {
        draft.surroundings(linux)?;
    }
    let filter = Filter::choose(join.seccomp, join.default_filter, process)?;
    let start = Start { streams: join.streams, first: false, init: false, direct: join.direct };
    draft.process(process, start, filter)?;
    draft.finish(process, join.streams)
}

/// The kinds of namespaces (`CLONE_NEW*`) that the container may have of its own. What it inherited is not entered: it is
/// the joining process's as well, and often nobody's to enter who has no rights over the machine.
fn namespaces(join: &Join<'_>) -> u64 {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let all = |kinds: &mut dyn Iterator<Item = LinuxNamespaceType>| kinds.fold(0, |all, kind| all | kind as u64);
    let listed = join.linux.and_then(|linux| linux.namespaces().as_ref());
    let namespaces = match listed {
        Some(listed) => all(&mut listed.iter().map(|one| one.typ())),
        None => all(&mut [Mount, Pid, Network, Ipc, Uts, Cgroup].into_iter()),
    };
    // setns(2) refuses the user namespace one is already in, so it is named only where there is another.
    let user = LinuxNamespaceType::User as u64;
    if join.in_user { namespaces | user } else { namespaces & !user }
}
