//! One more process in a running container: a helper enters its cgroup and namespaces, the child is cloned in there.

use oci_spec::runtime::{LinuxSeccomp, Process};

use super::process::{Filter, Start};
use super::{Direct, Draft, Plan, Streams, refused};
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
    /// What only a maker without a zygote has.
    pub direct: Option<Direct>,
}

pub(super) fn lower(process: &Process, join: &Join<'_>, facts: &Facts) -> Result<Plan> {
    refused::process(process)?;
    let mut draft = Draft::new(true);
    let container = draft.slot();
    draft.joins = Some(container);
    let groups = draft.open_cgroups(join.group, facts)?;
    draft.push(Actor::Zygote, Action::Fork { cgroup: groups.unified });
    draft.oom_score(process)?;
    draft.attach(Actor::Helper, &groups);
    let shared = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // setns(2) refuses the user namespace one is already in, so it is named only where there is another.
    let namespaces = if join.in_user { shared | libc::CLONE_NEWUSER } else { shared } as u64;
    draft.push(Actor::Helper, Action::Join { process: container, namespaces });
    draft.push(Actor::Helper, Action::Clone { namespaces: 0, cgroup: None });
    if join.in_user {
        draft.push(Actor::Child, Action::BecomeRoot);
    }
    let filter = Filter::choose(join.seccomp, join.default_filter, process)?;
    let start = Start { streams: join.streams, first: false, init: false, direct: join.direct };
    draft.process(process, start, filter)?;
    draft.finish(process, join.streams)
}
