//! From a plan and its descriptors to a cloned process: the zygote's own steps, none of which waits.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, Result, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::record::Ends;
use super::{Entry, user_namespace};
use crate::init::{self, Context, write_maps};
use crate::plan::{Plan, STDERR, STDIN, STDOUT, Streams};
use crate::step::{Action, Actor, IdMap, Slot};
use crate::sys::{self, Clone, Cloned, Pointers};

/// User namespaces that translate owners, kept for the next who needs the same.
#[derive(Debug, Default)]
pub(crate) struct Namespaces(HashMap<(Vec<IdMap>, Vec<IdMap>), OwnedFd>);

/// More translations than this are not kept.
const KEPT: usize = 64;

impl Namespaces {
    /// The namespace with these maps.
    pub(super) fn get(&mut self, uids: &[IdMap], gids: &[IdMap]) -> Result<&OwnedFd> {
        let maps = (uids.to_vec(), gids.to_vec());
        if !self.0.contains_key(&maps) {
            if self.0.len() >= KEPT {
                self.0.clear();
            }
            self.0.insert(maps.clone(), user_namespace(uids, gids)?);
        }
        self.0.get(&maps).ok_or(Errno::NOENT)
    }
}

/// A process on its way.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Unknown until the helper tells.
    pub(crate) child: Option<(Pid, OwnedFd)>,
    pub(crate) helper: Option<OwnedFd>,
    pub(crate) talk: OwnedFd,
    pub(super) ends: Ends,
    pub(super) oom: Option<OwnedFd>,
}

/// Executes the zygote's steps; an error comes with the step's number, 0 for what stands before the first.
pub(crate) fn launch(
    plan: &Plan,
    mut table: Vec<Option<OwnedFd>>,
    mut foreign: Vec<RawFd>,
    namespaces: &mut Namespaces,
    entries: &'static [Entry],
) -> std::result::Result<Launched, (usize, Errno)> {
    let before = |errno| (0, errno);
    let ends = streams(plan.streams, &mut table).map_err(before)?;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (talk, child_talk) = pair.map_err(before)?;
    // A child that held our side would never learn that we are gone.
    foreign.push(talk.as_raw_fd());
    let oom = plan.oom.and_then(|slot| table.get_mut(usize::from(slot.0)).and_then(Option::take));
    let arguments = Pointers::new(plan.arguments.clone());
    let environment = plan.environment.clone();
    let environment = if plan.finds_home() { Pointers::with_home(environment) } else { Pointers::new(environment) };
    let mut context = Context {
        plan,
        arguments: &arguments,
        environment: &environment,
        table,
        talk: child_talk,
        maps: None,
        child: None,
        entries,
        built: None,
        kept: 0,
        foreign,
    };
    let (mut child, mut helper) = (None, None);
    for (at, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Zygote) {
        let failed = |errno| (at + 1, errno);
        match &step.action {
            Action::KeepUserNamespace { uids, gids, into } => {
                let namespace = namespaces.get(uids, gids).and_then(|fd| fcntl_dupfd_cloexec(fd, 3));
                let slot = context.table.get_mut(usize::from(into.0)).ok_or((at + 1, Errno::BADF))?;
                *slot = Some(namespace.map_err(failed)?);
            }
            Action::Fork { cgroup } => match clone(&context, 0, *cgroup).map_err(failed)? {
                Cloned::Child => init::help(context),
                // The child's pid comes from the helper; the helper's own end is seen by its closing the socket.
                Cloned::Parent { pidfd, .. } => helper = Some(pidfd),
            },
            Action::Clone { namespaces, cgroup } => {
                let pipe = plan.child_waits().then(|| pipe_with(PipeFlags::CLOEXEC)).transpose();
                context.maps = pipe.map_err(failed)?;
                match clone(&context, *namespaces, *cgroup).map_err(failed)? {
                    Cloned::Child => init::become_guest(context),
                    Cloned::Parent { pid, pidfd } => child = Some((pid, pidfd)),
                }
            }
            Action::MapIds { uids, gids, deny_setgroups } => {
                let (pid, _) = child.as_ref().ok_or((at + 1, Errno::SRCH))?;
                write_maps(*pid, uids, gids, *deny_setgroups).map_err(failed)?;
                if let Some((_, go)) = &context.maps {
                    rustix::io::write(go, b"m").map_err(failed)?;
                }
            }
            _ => return Err((at + 1, Errno::INVAL)),
        }
    }
    Ok(Launched { child, helper, talk, ends, oom })
}

fn clone(context: &Context<'_>, flags: u64, cgroup: Option<Slot>) -> Result<Cloned> {
    let cgroup = match cgroup {
        Some(slot) => Some(context.table.get(usize::from(slot.0)).and_then(Option::as_ref).ok_or(Errno::BADF)?.as_fd()),
        None => None,
    };
    sys::clone3(Clone { flags, cgroup })
}

/// Makes the guest's streams, puts its ends into the table, and gives back ours.
fn streams(kind: Streams, table: &mut [Option<OwnedFd>]) -> Result<Ends> {
    let mut ends = Ends::default();
    let mut put = |slot: Slot, fd: OwnedFd| match table.get_mut(usize::from(slot.0)) {
        Some(place) => {
            *place = Some(fd);
            Ok(())
        }
        None => Err(Errno::BADF),
    };
    // The zygote's own standard input and output are /dev/null.

    match kind {
        Streams::Terminal | Streams::Inherited => {}
        Streams::Pipes { stdin } => {
            if stdin {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                fcntl_setfl(&write, OFlags::NONBLOCK)?;
                put(STDIN, read)?;
                ends.stdin = Some(write);
            } else {
                put(STDIN, fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?)?;
            }
            let (read, write) = output()?;
            put(STDOUT, write)?;
            ends.stdout = Some(read);
            let (read, write) = output()?;
            put(STDERR, write)?;
            ends.stderr = Some(read);
        }
        Streams::Confined => {
            put(STDIN, fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?)?;
            put(STDOUT, fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?)?;
            let (read, write) = output()?;
            put(STDERR, write)?;
            ends.stderr = Some(read);
        }
    }
    Ok(ends)
}

/// A pipe whose read end never waits: that end is ours and the host's.
fn output() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read, write))
}
