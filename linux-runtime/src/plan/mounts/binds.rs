//! Bind mounts: sources are opened by the host before anything is made, so that what is missing fails there and the place
//! a source stands at can no longer be exchanged; they arrive as detached copies.

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};

use super::super::ids::Ids;
use super::super::namespaces::Namespaces;
use super::super::{Draft, c_path, c_string};
use super::Options;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Change, IdMap, Slot};

/// An opened source.
#[derive(Debug)]
pub(in crate::plan) struct Source {
    pub(super) mount: Slot,
    /// What is left to change where it is attached: kernels before 5.12 change no detached mount.
    pub(super) late: Vec<Change>,
    /// Whose ids its owners are, and whether those of what is mounted below too.
    translated: Option<(Maps, bool)>,
}

/// Ranges for users and for groups.
type Maps = (Vec<IdMap>, Vec<IdMap>);

/// What bind mounts depend on besides themselves.
#[derive(Debug, Clone, Copy)]
pub(in crate::plan) struct Around<'a> {
    pub(in crate::plan) facts: &'a Facts,
    /// The container's own ids.
    pub(in crate::plan) user: Option<&'a Ids>,
    pub(in crate::plan) namespaces: &'a Namespaces,
    /// Whether its mounts may be told to the host, where that is asked.
    pub(in crate::plan) shared: bool,
}

impl Draft {
    /// One for each bind mount and whatever else is the host's, in the specification's order.
    pub(in crate::plan) fn open_sources(&mut self, spec: &Spec, around: Around<'_>) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for mount in spec.mounts().iter().flatten() {
            let mut options = Options::parse(mount)?;
            let translated = translation(mount, &options, around.user)?;
            let hosts = super::hosts(mount, around.namespaces, around.facts).map(Path::new);
            if (!options.bind && hosts.is_none()) || options.remount {
                continue;
            }
            let destination = mount.destination().display();
            let source = hosts.or(mount.source().as_deref());
            let source = source.ok_or_else(|| Error::Plan(format!("bind mount at `{destination}` has no source")))?;
            if hosts.is_some() {
                options = options.of_hosts();
            }
            let into = self.slot();
            if let Some((namespace, path)) = elsewhere(source)? {
                let opened = self.slot();
                self.push(
                    Actor::Host,
                    Action::OpenNamespace { path: namespace, kind: LinuxNamespaceType::Mount as u64, into: opened },
                );
                self.borrows.push(Action::BorrowMount { namespace: opened, path, into });
                sources.push(Source { mount: into, late: Vec::new(), translated });
                continue;
            }
            let (recursive, mut changes) = (options.recursive, changes(&options, around));
            let late = if around.facts.changes_mounts() { Vec::new() } else { std::mem::take(&mut changes) };
            refuse_late(mount, &late, translated.is_some())?;
            let path = c_path(source)?;
            self.push(Actor::Host, Action::OpenSource { path, recursive, changes, into });
            sources.push(Source { mount: into, late, translated });
        }
        Ok(sources)
    }

    /// Gives sources the owners that were asked for them, each by a user namespace with those maps.
    pub(in crate::plan) fn translate(&mut self, sources: &[Source]) {
        let mut kept: Vec<(&Maps, Slot)> = Vec::new();
        for source in sources {
            let Some((maps, recursive)) = &source.translated else { continue };
            let known = kept.iter().find(|(known, _)| *known == maps).map(|(_, slot)| *slot);
            let user_namespace = known.unwrap_or_else(|| {
                let into = self.slot();
                let (uids, gids) = maps.clone();
                self.insert_assembly(vec![(Actor::Zygote, Action::KeepUserNamespace { uids, gids, into })]);
                kept.push((maps, into));
                into
            });
            let (mount, recursive) = (source.mount, *recursive);
            let actor = self.assembler;
            self.insert_assembly(vec![(actor, Action::TranslateOwners { mount, user_namespace, recursive })]);
        }
    }
}

/// From a copy that is still its original's peer to what was asked, in as few calls as that takes.
fn changes(options: &Options, around: Around<'_>) -> Vec<Change> {
    let mut changes = spread(options, around);
    let (own, all) = (options.own, options.all);
    let own = Change { set: own.set, clear: own.clear, ..Default::default() };
    let all = Change { set: all.set, clear: all.clear, recursive: true, ..Default::default() };
    for change in [own, all] {
        if change.is_none() {
            continue;
        }
        // Where there is nothing below, "also below" is the same as "alone".
        let alike = |one: &&mut Change| one.recursive == change.recursive || !options.recursive;
        match changes.last_mut().filter(alike) {
            Some(last) => {
                last.set = last.set & !change.clear | change.set;
                last.clear |= change.clear;
            }
            None => changes.push(change),
        }
    }
    changes.iter_mut().for_each(|change| change.recursive &= options.recursive);
    changes
}

/// How a copy spreads. Nothing comes from the host or goes there unless that is asked: `slave` hears of the host's mounts,
/// `shared` tells the host of its own where the root does so too, and never from a user namespace.
fn spread(options: &Options, around: Around<'_>) -> Vec<Change> {
    let change = |propagation, recursive| Change { propagation, recursive, ..Default::default() };
    let Some((flag, below)) = options.propagation else { return vec![Change::PRIVATE] };
    match flag {
        libc::MS_SLAVE => vec![change(flag, true)],
        libc::MS_SHARED if around.shared => vec![change(flag, below)],
        libc::MS_SHARED => vec![change(libc::MS_SLAVE, true), change(flag, below)],
        libc::MS_UNBINDABLE => vec![Change::PRIVATE, change(flag, below)],
        _ => vec![Change::PRIVATE],
    }
}

fn refuse_late(mount: &Mount, late: &[Change], translated: bool) -> Result<()> {
    let below = late.iter().any(|change| change.recursive && (change.set, change.clear) != (0, 0));
    let what = match (below, translated && !late.is_empty()) {
        (false, false) => return Ok(()),
        (true, _) => "attributes of what is mounted below",
        (false, true) => "translated owners",
    };
    let destination = mount.destination().display();
    Err(Error::Lacks(format!("mount at `{destination}`: {what} need Linux 5.12")))
}

/// The owners of an idmapped mount: those the mount names, or the container's.
fn translation(mount: &Mount, options: &Options, user: Option<&Ids>) -> Result<Option<(Maps, bool)>> {
    let given = [mount.uid_mappings(), mount.gid_mappings()].map(|list| list.as_deref().unwrap_or_default());
    if options.translated.is_none() && given.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    let destination = mount.destination().display();
    let refuse = |what: &str| Err(Error::Plan(format!("mount at `{destination}`: {what}")));
    if !options.bind || options.remount {
        return refuse("only a bind mount translates owners");
    }
    let maps = match (given.map(|list| list.iter().map(map).collect::<Vec<_>>()), user) {
        ([uids, gids], _) if !uids.is_empty() && !gids.is_empty() => (uids, gids),
        ([uids, gids], Some(user)) if uids.is_empty() && gids.is_empty() => (user.uids.clone(), user.gids.clone()),
        ([uids, gids], None) if uids.is_empty() && gids.is_empty() => {
            return refuse("`idmap` without mappings needs a user namespace");
        }
        _ => return refuse("`uidMappings` and `gidMappings` go together"),
    };
    Ok(Some((maps, options.translated.unwrap_or(false))))
}

fn map(one: &LinuxIdMapping) -> IdMap {
    IdMap { inside: one.container_id(), outside: one.host_id(), count: one.size() }
}

/// What `/proc/PID/root/dev/shm` means: the mount namespace of another process, and the place in it. The kernel copies no
/// mount of another namespace by such a name, and shared memory is the one thing that sandboxes share so.
fn elsewhere(source: &Path) -> Result<Option<(CString, Beneath)>> {
    let text = source.to_string_lossy();
    let Some((pid, path)) = text.strip_prefix("/proc/").and_then(|rest| rest.split_once("/root/")) else {
        return Ok(None);
    };
    if path != "dev/shm" || pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let path = Beneath::new(path).map_err(|_| Error::Nul { what: "a path" })?;
    Ok(Some((c_string(format!("/proc/{pid}/ns/mnt"), "a path")?, path)))
}
