//! A sandbox of our own code: everything that can be taken away is taken away, in the order that works.

use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources};

use super::cgroups::Groups;
use super::{Draft, Plan, STDERR, STDIN, STDOUT, Streams, WORKER_ID, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::seccomp;
use crate::step::{Action, Actor, IdMap, Slot};

/// What a confined sandbox is made from.
#[derive(Debug, Clone, Copy)]
pub struct Confinement<'a> {
    /// Below each hierarchy's root, such as `proa-1f3c/worker-default`.
    pub group: &'a str,
    /// The entry's name, as registered with the zygote.
    pub entry: &'a str,
    /// What its first half is given.
    pub argument: &'a [u8],
    /// How many descriptors its second half is given.
    pub descriptors: u16,
    /// The system calls it keeps.
    pub syscalls: &'a [&'a str],
    /// Bytes.
    pub memory: Option<u64>,
    /// Microseconds of CPU per period, and the period.
    pub cpu_quota: Option<(i64, u64)>,
    pub pids: Option<i64>,
}

impl Confinement<'_> {
    /// The slots of the descriptors, in order; the caller fills them.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (STDERR.0 + 1..STDERR.0 + 1 + self.descriptors).map(Slot)
    }

    fn resources(&self) -> Result<LinuxResources> {
        let mut resources = LinuxResources::default();
        let wrong = |_| Error::Plan("a limit of a confined sandbox is out of range".into());
        if let Some(memory) = self.memory {
            let bytes = i64::try_from(memory).unwrap_or(i64::MAX);
            resources.set_memory(Some(LinuxMemoryBuilder::default().limit(bytes).build().map_err(wrong)?));
        }
        if let Some((quota, period)) = self.cpu_quota {
            resources.set_cpu(Some(LinuxCpuBuilder::default().quota(quota).period(period).build().map_err(wrong)?));
        }
        if let Some(pids) = self.pids {
            resources.set_pids(Some(LinuxPidsBuilder::default().limit(pids).build().map_err(wrong)?));
        }
        Ok(resources)
    }
}

pub(super) fn lower(confinement: &Confinement<'_>, facts: &Facts) -> Result<Plan> {
    let mut draft = Draft::new(false, facts);
    let keep: Vec<Slot> = confinement.slots().map(|_| draft.slot()).collect();
    let groups = bound(&mut draft, confinement, facts)?;
    let id = if facts.mapped_namespaces { Some(WORKER_ID) } else { facts.own_namespace.then_some(facts.uid) };
    clone(&mut draft, &groups, id, facts);
    if id.is_some() {
        draft.push(Actor::Child, Action::BecomeRoot);
        if !groups.tasks.is_empty() || groups.unified.is_some() {
            draft.push(Actor::Child, Action::OwnCgroupView);
        }
    }
    let entry = c_string(confinement.entry, "an entry's name")?;
    draft.push(Actor::Child, Action::Session);
    draft.push(Actor::Child, Action::Streams { stdin: STDIN, stdout: STDOUT, stderr: STDERR });
    draft.push(Actor::Child, Action::KeepDescriptors { keep });
    draft.push(Actor::Child, Action::Build { entry: entry.clone() });
    if id.is_some() {
        draft.push(Actor::Child, Action::EmptyRoot);
    }
    if id.is_some() {
        draft.push(Actor::Child, Action::BoundCapabilities { keep: 0 });
        draft.push(Actor::Child, Action::Capabilities { effective: 0, permitted: 0, inheritable: 0, ambient: 0 });
    }
    // The zygote's is 0, and what a guest writes into a host's directory is not everybody's to change.
    draft.push(Actor::Child, Action::Umask { mask: 0o022 });
    draft.push(Actor::Child, Action::NoNewPrivileges);
    draft.push(
        Actor::Child,
        Action::Filter { program: seccomp::only(confinement.syscalls)?, flags: 0, listener: false },
    );
    draft.push(Actor::Child, Action::Enter { entry });
    Ok(Plan {
        steps: draft.steps,
        streams: Streams::Confined,
        slots: draft.slots,
        arguments: Vec::new(),
        environment: Vec::new(),
        argument: confinement.argument.to_vec(),
        oom: draft.oom,
        joins: None,
        warnings: draft.warnings,
    })
}

/// Its cgroups, or none at all where this user may make none: never failing for lack of privilege.
fn bound(draft: &mut Draft, confinement: &Confinement<'_>, facts: &Facts) -> Result<Groups> {
    if facts.cgroups.with("memory").is_none() {
        // The engine bounds memory by itself; nobody else bounds CPU time.
        if confinement.cpu_quota.is_some() {
            let why = "no cgroup of the controller `cpu` can be made here by this user";
            return Err(Error::Lacks(format!("limit cpu: {why}")));
        }
        return Ok(Groups::default());
    }
    draft.create_cgroups(confinement.group, Some(&confinement.resources()?), facts)
}

fn clone(draft: &mut Draft, groups: &Groups, id: Option<u32>, facts: &Facts) {
    let others = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let namespaces = if id.is_some() { (others | libc::CLONE_NEWUSER) as u64 } else { 0 };
    draft.push(Actor::Zygote, Action::Clone { namespaces, cgroup: groups.unified });
    if let Some(outside) = id {
        let group = if facts.mapped_namespaces { WORKER_ID } else { facts.gid };
        let uids = vec![IdMap { inside: 0, outside, count: 1 }];
        let gids = vec![IdMap { inside: 0, outside: group, count: 1 }];
        draft.push(Actor::Zygote, Action::MapIds { uids, gids, deny_setgroups: !facts.mapped_namespaces });
    }
    draft.attach(Actor::Child, groups);
    if id.is_some() {
        draft.push(Actor::Child, Action::AwaitMaps);
    }
}
