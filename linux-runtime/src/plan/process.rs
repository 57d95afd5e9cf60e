//! The process's steps: streams, limits, identity, filter, working directory, program.

use std::ffi::CString;

use oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Process, User};

use super::names::LIMIT_NAMES;
use super::{Direct, Draft, STDERR, STDIN, STDOUT, Streams, c_string, capabilities};
use crate::error::{Error, Result};
use crate::seccomp;
use crate::step::{Action, Actor, Beneath};

/// NGROUPS_MAX (linux/limits.h).
const GROUPS: usize = 65_536;

/// Where PATH is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A compiled filter and where its origin lets it be loaded.
#[derive(Debug)]
pub(super) struct Filter {
    load: Option<Action>,
    /// It lets the process wait for its start: ours does, and so must one with a listener, which its maker wants before.
    patient: bool,
}

/// How a process begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) streams: Streams,
    /// The container's first process, not one more in it.
    pub(super) first: bool,
    /// An init of ours before the program.
    pub(super) init: bool,
    /// What only a maker without a zygote has.
    pub(super) direct: Option<Direct>,
}

impl Filter {
    pub(super) fn choose(asked: Option<&LinuxSeccomp>, default: bool, process: &Process) -> Result<Filter> {
        let kept = capabilities::bits(process, LinuxCapabilities::bounding);
        match asked {
            // A filter that allows everything is none: not even calls of other architectures are kept away.
            Some(seccomp) if seccomp::allows_everything(seccomp) => Ok(Filter { load: None, patient: true }),
            Some(seccomp) => {
                let seccomp::Profile { program, flags, listener } = seccomp::lower(seccomp)?;
                Ok(Filter { load: Some(Action::Filter { program, flags, listener }), patient: listener })
            }
            None if default => {
                let program = seccomp::default_filter(kept)?;
                Ok(Filter { load: Some(Action::Filter { program, flags: 0, listener: false }), patient: true })
            }
            None => Ok(Filter { load: None, patient: true }),
        }
    }
}

impl Draft {
    pub(super) fn oom_score(&mut self, process: &Process) -> Result<()> {
        let Some(value) = process.oom_score_adj() else { return Ok(()) };
        if !(-1000..=1000).contains(&value) {
            return Err(Error::Plan(format!("`process.oomScoreAdj` {value} is not between -1000 and 1000")));
        }
        // /proc/self belongs to the zygote's user namespace, so the helper writes it where there is one.
        self.insert_or_push(Action::OomScore { value: c_string(value.to_string(), "a number")? });
        Ok(())
    }

    pub(super) fn process(&mut self, process: &Process, start: Start, filter: Filter) -> Result<()> {
        let terminal = start.streams == Streams::Terminal;
        self.push(Actor::Child, Action::Session);
        let user = process.user();
        check_user(user)?;
        if terminal {
            let size = process.console_size();
            let clip = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
            let (rows, columns) = size.map_or((24, 80), |size| (clip(size.height()), clip(size.width())));
            let (uid, gid) = (user.uid(), user.gid());
            self.push(Actor::Child, Action::Terminal { rows, columns, uid, gid, console: start.first });
        } else {
            self.push(Actor::Child, Action::Streams { stdin: STDIN, stdout: STDOUT, stderr: STDERR });
        }
        self.push(Actor::Child, Action::WorkingDirectory { path: working_directory(process)? });
        // A zygote's callers know their images' users.
        let has_home = process.env().iter().flatten().any(|entry| entry.starts_with("HOME="));
        if start.direct.is_some() && !has_home {
            self.push(Actor::Child, Action::FindHome { uid: user.uid() });
        }
        // What still opens files stands before the limits, what drops the right to raise them behind.
        self.limits(process)?;
        self.scheduling(process, start.first)?;
        let arguments = process.args().as_deref().unwrap_or_default();
        let name = arguments.first().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::Plan("no command is given and the image has none".into()))?;
        let candidates = candidates(name, process.env().as_deref().unwrap_or_default())?;
        let barrier = self.barrier(start, name, &candidates)?;
        // Before the filter: profiles older than close_range(2) do not allow it. What is opened later closes by itself.
        let first = start.direct.map_or(0, |direct| direct.preserve);
        if first == 0 {
            self.push(Actor::Child, Action::SealDescriptors);
        } else {
            self.push(Actor::Child, Action::SealFrom { first: u32::from(first) + 3 });
        }
        self.identity(process, filter, barrier)?;
        if start.init {
            self.push(Actor::Child, Action::StayAsInit);
        }
        let name = c_string(name.as_str(), "the program")?;
        self.push(Actor::Child, Action::Execute { name, candidates });
        Ok(())
    }

    /// Identity, filter and the barrier. Without no_new_privs a filter needs CAP_SYS_ADMIN and goes first; a stranger's
    /// filter goes after the barrier, since it may forbid what the barrier needs.
    fn identity(&mut self, process: &Process, filter: Filter, barrier: Vec<Action>) -> Result<()> {
        let no_new_privileges = process.no_new_privileges().unwrap_or(false);
        let early = !no_new_privileges;
        let mut load = filter.load;
        let sets = self.sets(process);
        self.push(Actor::Child, Action::BoundCapabilities { keep: sets.bounding });
        if early && !filter.patient {
            barrier.iter().for_each(|action| self.push(Actor::Child, action.clone()));
        }
        if early && let Some(action) = load.take() {
            self.push(Actor::Child, action);
        }
        let user = process.user();
        let groups = user.additional_gids().clone().unwrap_or_default();
        self.push(Actor::Child, Action::User { uid: user.uid(), gid: user.gid(), groups });
        self.capabilities(sets);
        self.push(Actor::Child, Action::Umask { mask: user.umask().unwrap_or(0o022) });
        if no_new_privileges {
            self.push(Actor::Child, Action::NoNewPrivileges);
        }
        if !early && !filter.patient {
            barrier.iter().for_each(|action| self.push(Actor::Child, action.clone()));
        }
        if let Some(action) = load {
            self.push(Actor::Child, action);
        }
        if filter.patient {
            barrier.into_iter().for_each(|action| self.push(Actor::Child, action));
        }
        Ok(())
    }

    /// How the process waits for its start. Without a zygote, whoever creates it wants to hear of a program that cannot be
    /// executed, since whoever starts it may be somebody else.
    fn barrier(&mut self, start: Start, name: &str, candidates: &[CString]) -> Result<Vec<Action>> {
        let Some(direct) = start.direct else { return Ok(vec![Action::AwaitStart]) };
        if !direct.detached {
            return Ok(vec![Action::AwaitStart]);
        }
        let name = c_string(name, "the program")?;
        let listener = self.slot();
        let candidates = candidates.to_vec();
        Ok(vec![Action::FindProgram { name, candidates }, Action::AwaitConnection { listener }])
    }

    fn limits(&mut self, process: &Process) -> Result<()> {
        let limits = process.rlimits().as_deref().unwrap_or_default();
        for (at, limit) in limits.iter().enumerate() {
            let name = limit.typ().to_string();
            let resource = LIMIT_NAMES.iter().position(|known| name.strip_prefix("RLIMIT_") == Some(known));
            let resource = resource.ok_or_else(|| Error::Plan(format!("unknown resource limit `{name}`")))?;
            if limits[..at].iter().any(|before| before.typ() == limit.typ()) {
                return Err(Error::Plan(format!("`process.rlimits` has two of type `{name}`")));
            }
            let (soft, hard) = (limit.soft(), limit.hard());
            if soft > hard {
                return Err(Error::Plan(format!("`process.rlimits` `{name}`: soft {soft} is above hard {hard}")));
            }
            self.push(Actor::Child, Action::Limit { resource: resource as u8, soft, hard });
        }
        Ok(())
    }
}

/// -1 means "unchanged", that is root, to setresuid(2) (CVE-2024-40635).
fn check_user(user: &User) -> Result<()> {
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    if groups.iter().chain([&user.uid(), &user.gid()]).any(|id| *id == u32::MAX) {
        return Err(Error::Plan("user and group ids end at 4294967294".into()));
    }
    if groups.len() > GROUPS {
        return Err(Error::Plan(format!("`process.user.additionalGids` are more than {GROUPS}, the kernel's most")));
    }
    match user.umask() {
        Some(mask) if mask > 0o777 => {
            Err(Error::Plan(format!("`process.user.umask` {mask:o} has other bits than 777")))
        }
        _ => Ok(()),
    }
}

/// Where the program begins.
pub(super) fn working_directory(process: &Process) -> Result<Beneath> {
    let cwd = process.cwd().to_string_lossy();
    if !cwd.starts_with('/') {
        return Err(Error::Plan(format!("working directory `{cwd}` is not absolute")));
    }
    Beneath::new(&cwd).map_err(|_| Error::Nul { what: "the working directory" })
}

/// What execve is tried with, in order: the name itself if it has a slash, else below each directory of PATH.
fn candidates(name: &str, environment: &[String]) -> Result<Vec<CString>> {
    if name.contains('/') {
        return Ok(vec![c_string(name, "the program")?]);
    }
    let path = environment.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let directories = path.split(':').map(|directory| if directory.is_empty() { "." } else { directory });
    directories.map(|directory| c_string(format!("{directory}/{name}"), "the program")).collect()
}
