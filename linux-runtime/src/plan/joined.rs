//! One more process in a running container: a helper enters its cgroup and namespaces, the child is cloned in there.

use oci_spec::runtime::{LinuxSeccomp, Process};

use super::process::{Filter, Start};
use super::{Draft, Plan, Streams, refused};
use crate::error::Result;
use crate::facts::Facts;
use crate::step::{Action, Actor};

pub(super) fn lower(
    process: &Process,
    seccomp: Option<&LinuxSeccomp>,
    streams: Streams,
    group: &str,
    in_user: bool,
    facts: &Facts,
) -> Result<Plan> {
    refused::process(process)?;
    let mut draft = Draft::new(true);
    let container = draft.slot();
    draft.joins = Some(container);
    let groups = draft.open_cgroups(group, facts)?;
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
    let namespaces = if in_user { shared | libc::CLONE_NEWUSER } else { shared } as u64;
    draft.push(Actor::Helper, Action::Join { process: container, namespaces });
    draft.push(Actor::Helper, Action::Clone { namespaces: 0, cgroup: None });
    if in_user {
        draft.push(Actor::Child, Action::BecomeRoot);
    }
    let filter = Filter::choose(seccomp, true, process)?;
    draft.process(process, Start { streams, first: false, init: false }, filter)?;
    draft.finish(process, streams)
}
