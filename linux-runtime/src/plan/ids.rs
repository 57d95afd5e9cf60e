//! The ids of a user namespace: whose each is outside, and who may tell the kernel so.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, User};

use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, IdMap};

/// What the kernel takes (user_namespaces(7), Linux 4.15): so many ranges, in less than a page of text.
const RANGES: usize = 340;
const PAGE: usize = 4096;

/// How a user namespace translates ids; root is always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uids: Vec<IdMap>,
    pub(super) gids: Vec<IdMap>,
}

/// Who writes the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// The helper, by its own capabilities.
    Helper,
    /// The helper without any: only its own ids, and the namespace gives up setgroups(2) for good.
    Alone,
    /// newuidmap(1) and newgidmap(1), which know what /etc/subuid and /etc/subgid give to a user.
    Programs,
}

impl Ids {
    /// Those that the request forces, or else those of the specification, if it has a user namespace.
    pub(super) fn choose(forced: Option<IdMap>, linux: &Linux) -> Result<Option<Ids>> {
        if let Some(map) = forced {
            return Ok(Some(Ids { uids: vec![map], gids: vec![map] }));
        }
        let user = |one: &&LinuxNamespace| one.typ() == LinuxNamespaceType::User;
        let namespace = linux.namespaces().iter().flatten().find(user);
        let uids = ranges("linux.uidMappings", linux.uid_mappings().as_deref().unwrap_or_default())?;
        let gids = ranges("linux.gidMappings", linux.gid_mappings().as_deref().unwrap_or_default())?;
        let given = (!uids.is_empty(), !gids.is_empty());
        let sentence = match (namespace, given) {
            (None, (false, false)) => return Ok(None),
            // A namespace of others has its maps already.
            (Some(namespace), (false, false)) if namespace.path().is_some() => return Ok(None),
            (Some(_), (true, true)) => return Ok(Some(Ids { uids, gids })),
            (Some(_), _) => "a user namespace needs `linux.uidMappings` and `linux.gidMappings`",
            (None, _) => "`linux.uidMappings` and `linux.gidMappings` need a user namespace",
        };
        Err(Error::Plan(sentence.into()))
    }

    /// Whom its root is outside, user and group.
    pub(super) fn owner(&self) -> (u32, u32) {
        let outside = |maps: &[IdMap]| outside(maps, 0).unwrap_or(u32::MAX);
        (outside(&self.uids), outside(&self.gids))
    }

    /// Whom a user of it is outside.
    pub(super) fn user(&self, uid: u32) -> Option<u32> {
        outside(&self.uids, uid)
    }

    /// Whom a user and a group are outside.
    pub(super) fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((outside(&self.uids, uid)?, outside(&self.gids, gid)?))
    }

    /// Who may write these maps: whoever may change to any id, or somebody for whom they are only his own.
    pub(super) fn writer(&self, facts: &Facts) -> Writer {
        let own = |maps: &[IdMap], id: u32| matches!(maps, [IdMap { outside, count: 1, .. }] if *outside == id);
        if facts.may_map() {
            Writer::Helper
        } else if own(&self.uids, facts.uid) && own(&self.gids, facts.gid) {
            Writer::Alone
        } else {
            Writer::Programs
        }
    }

    /// The step that writes the maps.
    pub(super) fn action(&self, facts: &Facts) -> Action {
        let (uids, gids) = (self.uids.clone(), self.gids.clone());
        match self.writer(facts) {
            Writer::Programs => Action::MapIdsByPrograms { uids, gids },
            writer => Action::MapIds { uids, gids, deny_setgroups: writer == Writer::Alone },
        }
    }

    /// Refuses a user whom the namespace does not know: setresuid(2) would say no more than `invalid argument`.
    pub(super) fn check(&self, user: &User, facts: &Facts) -> Result<()> {
        let known = |field: &str, maps: &[IdMap], id: u32| match outside(maps, id) {
            Some(_) => Ok(()),
            None => Err(Error::Plan(format!("`process.user.{field}` {id} is not mapped in the user namespace"))),
        };
        let groups = user.additional_gids().as_deref().unwrap_or_default();
        known("uid", &self.uids, user.uid())?;
        known("gid", &self.gids, user.gid())?;
        groups.iter().try_for_each(|gid| known("additionalGids", &self.gids, *gid))?;
        if !groups.is_empty() && self.writer(facts) == Writer::Alone {
            let sentence =
                "`process.user.additionalGids`: a user without CAP_SETGID and newgidmap has no further groups";
            return Err(Error::Plan(sentence.into()));
        }
        Ok(())
    }
}

fn outside(maps: &[IdMap], id: u32) -> Option<u32> {
    let map = maps.iter().find(|map| id >= map.inside && id - map.inside < map.count)?;
    map.outside.checked_add(id - map.inside)
}

/// The ranges of a field, as the kernel wants them: it would refuse others by `invalid argument` alone.
fn ranges(field: &str, given: &[LinuxIdMapping]) -> Result<Vec<IdMap>> {
    let refuse = |what: &str| Err(Error::Plan(format!("`{field}` {what}")));
    let map = |one: &LinuxIdMapping| IdMap { inside: one.container_id(), outside: one.host_id(), count: one.size() };
    let maps: Vec<IdMap> = given.iter().map(map).collect();
    let text: usize = maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count).len()).sum();
    if maps.len() > RANGES || text >= PAGE {
        return refuse(&format!("are more than {RANGES} ranges or a page of text, the kernel's most"));
    }
    // The last id of all means `none` (CVE-2024-40635).
    let ends = |from: u32, count: u32| count > 0 && from.checked_add(count).is_some();
    if !maps.iter().all(|map| ends(map.inside, map.count) && ends(map.outside, map.count)) {
        return refuse("have a range that is empty or passes 4294967294");
    }
    let meet = |a: u32, b: u32, count: (u32, u32)| a < b + count.1 && b < a + count.0;
    for (at, one) in maps.iter().enumerate() {
        let others = &maps[at + 1..];
        let met = |other: &IdMap| {
            let count = (one.count, other.count);
            meet(one.inside, other.inside, count) || meet(one.outside, other.outside, count)
        };
        if others.iter().any(met) {
            return refuse("have ranges that overlap");
        }
    }
    if !maps.is_empty() && outside(&maps, 0).is_none() {
        return refuse("map no root: the container's files and mounts are made by its root");
    }
    Ok(maps)
}
