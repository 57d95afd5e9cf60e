//! A workload lowered to steps: pure, printable, comparable. Executes nothing and looks at no machine but through
//! [`Facts`]; knows no images, users' names or policy.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, HookKind, IdMap, Slot, Step};

use self::devices::Owner;
use self::ids::Ids;
use self::namespaces::Namespaces;

mod bounds;
mod capabilities;
mod cgroups;
mod confined;
mod devices;
mod hooks;
mod ids;
mod joined;
mod labels;
mod mounts;
mod names;
mod namespaces;
mod net_devices;
mod process;
mod refused;
mod root;
mod scheduling;
mod sysctls;
mod unprivileged;

pub use confined::Confinement;
pub use joined::Join;
pub(crate) use mounts::mount_options;
pub(crate) use names::{CAPABILITY_NAMES, LIMIT_NAMES, NAMESPACE_NAMES};

/// The ids of everybody's user namespace: 65536 from 100000 on, which belong to no user of the node.
pub const SUBORDINATE: IdMap = IdMap { inside: 0, outside: 100_000, count: 65_536 };

/// The one id a worker or compiler runs as, where the zygote may choose it.
pub const WORKER_ID: u32 = 165_536;

/// The slots every plan has: the guest's standard streams.
pub(crate) const STDIN: Slot = Slot(0);
pub(crate) const STDOUT: Slot = Slot(1);
pub(crate) const STDERR: Slot = Slot(2);

/// Steps in the order of their execution, and what they share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub streams: Streams,
    /// How many slots the steps name.
    pub slots: u16,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
    /// What an entry of our own is given.
    pub argument: Vec<u8>,
    /// Where the zygote tells of memory kills, if it can.
    pub oom: Option<Slot>,
    /// For one more process in a container: where that container's pidfd goes.
    pub joins: Option<Slot>,
    /// What is left out of what the specification asks, a sentence each, for whoever asked; not the zygote's business.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What the zygote makes for a guest's standard streams, and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Pipes; without `stdin` the guest reads /dev/null.
    Pipes { stdin: bool },
    /// A pseudo-terminal, which the child opens and sends.
    Terminal,
    /// The zygote's caller's own (`proa-linux run`).
    Inherited,
    /// /dev/null, and a pipe for standard error.
    Confined,
}

/// The files of a container.
#[derive(Debug, Clone, Copy)]
pub enum Files<'a> {
    /// Read-only layers, lowest first, and a folder for what is written.
    Layers { lower: &'a [PathBuf], scratch: &'a Path },
    /// A ready root file system (an OCI bundle's).
    Root(&'a Path),
}

/// What a plan is made from besides the specification.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Below each hierarchy's root, such as `proa-1f3c/ID`.
    pub group: &'a str,
    pub files: Files<'a>,
    pub streams: Streams,
    /// Confine under these ids whatever the specification says.
    pub user_namespace: Option<IdMap>,
    /// Docker's filter where the specification has none.
    pub default_filter: bool,
    /// A first process of ours before the program, which reaps and passes signals on.
    pub init: bool,
    /// A session keyring of this name, so that the program does not have its starter's.
    pub keyring: Option<&'a str>,
    /// What only a maker without a zygote has.
    pub direct: Option<Direct>,
}

/// For a sandbox that its caller makes itself, without a zygote: see [`crate::Sandbox`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Direct {
    /// Another process than its maker will start it, by a socket.
    pub detached: bool,
    /// How many descriptors from 3 on the program keeps.
    pub preserve: u16,
    /// Enter the root by chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
}

impl Plan {
    /// Lowers a container.
    ///
    /// # Errors
    /// One sentence for what the specification asks and this runtime or machine does not have.
    pub fn new(spec: &Spec, request: &Request<'_>, facts: &Facts) -> Result<Plan> {
        let process = spec.process().as_ref().ok_or_else(|| Error::Plan("the specification has no process".into()))?;
        let linux = spec.linux().clone().unwrap_or_default();
        refused::container(spec, &linux, request)?;
        refused::process(process)?;
        bounds::container(spec, &linux)?;
        bounds::process(process)?;
        facts.lacks_handles().map_or(Ok(()), |sentence| Err(Error::Lacks(sentence)))?;
        let ids = Ids::choose(request.user_namespace, &linux)?;
        let namespaces = Namespaces::sort(spec, &linux, ids.is_some(), &request.files)?;
        let has = |kind| namespaces.has(kind);
        let user = ids.as_ref();
        user.map_or(Ok(()), |ids| ids.check(process.user(), facts))?;
        let unprivileged = unprivileged::is_unprivileged(&namespaces, facts)?;
        let mut draft = Draft::new(has(LinuxNamespaceType::User), facts);

        let propagation = root::propagation(&linux)?;
        let change = root::change(propagation, facts);
        let opened = draft.open_files(&request.files, user, change, facts)?;
        let shared = propagation.is_some_and(|(flag, _)| flag == libc::MS_SHARED) && !has(LinuxNamespaceType::User);
        let sources = draft.open_sources(spec, mounts::Around { facts, user, namespaces: &namespaces, shared })?;
        let owner = if unprivileged { Owner::Foreign } else { Owner::of(user, &namespaces) };
        let mut devices = draft.devices(spec, &linux, process, (owner, facts))?;
        let groups = draft.create_cgroups(request.group, linux.resources().as_ref(), facts)?;
        draft.filter_devices(request.group, linux.resources().as_ref(), facts)?;
        if namespaces.makes(LinuxNamespaceType::Cgroup) && mounts::may_write_cgroups(spec) {
            draft.delegate_cgroup(request.group, user.and_then(|ids| ids.user(process.user().uid())), facts)?;
        }
        let views = draft.open_views(spec, &namespaces, &groups, (request.group, facts))?;
        let entered = draft.open_namespaces(&namespaces);
        draft.clone_child(&namespaces, &entered, user, &groups, facts);
        draft.translate(&sources);
        let root = draft.assemble_root(opened, user, facts)?;
        draft.oom_score(process)?;
        draft.labels(process, Actor::Child, facts)?;
        draft.enter_child(&namespaces, &groups);
        if unprivileged {
            draft.open_as_child();
        }
        let dev = draft.make_dev(&mut devices)?;
        draft.enter_mounts(&entered);
        draft.attach_root(&request.files, root, change, (&namespaces, facts))?;
        let places = mounts::Places { root, dev, sources: &sources, views: &views, namespaces: &namespaces };
        draft.mount_all(spec, &places, facts)?;
        draft.place_devices(devices, root);
        draft.finish_root(spec, &linux, process, &namespaces, root, facts)?;
        draft.enter_root(root, request.direct.is_some_and(|direct| direct.no_pivot), propagation, &namespaces);
        let hooks = request.direct.is_some().then(|| draft.hooks(spec)).transpose()?.flatten();
        if has(LinuxNamespaceType::Uts) {
            draft.names(spec)?;
        }
        if namespaces.makes(LinuxNamespaceType::Network) {
            draft.push(Actor::Child, Action::Loopback);
        }
        draft.keyring(request.keyring)?;
        draft.surroundings(&linux)?;
        let filter = process::Filter::choose(linux.seccomp().as_ref(), request.default_filter, process)?;
        let start =
            process::Start { streams: request.streams, first: true, init: request.init, direct: request.direct };
        draft.process(process, start, filter)?;
        draft.hooks_before_program(hooks);
        draft.finish(process, request.streams)
    }

    /// Lowers one more process in a running container.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn join(process: &Process, join: &Join<'_>, facts: &Facts) -> Result<Plan> {
        joined::lower(process, join, facts)
    }

    /// Lowers a sandbox of our own code: a worker or a compiler.
    ///
    /// # Errors
    /// `Lacks` for a limit without its controller; never for lack of privilege alone.
    pub fn confine(confinement: &Confinement<'_>, facts: &Facts) -> Result<Plan> {
        confined::lower(confinement, facts)
    }

    /// Lets go of what only the guest may know; the steps stay, for the sentences of failures.
    pub(crate) fn forget_contents(&mut self) {
        (self.arguments, self.environment, self.argument) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Whether its process waits for what somebody else does after its birth, such as mapping its ids.
    pub(crate) fn child_waits(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::AwaitMaps | Action::AwaitHelper))
    }

    /// Whether HOME is looked up inside.
    pub(crate) fn finds_home(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::FindHome { .. }))
    }

    /// The directories of the cgroups it makes.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let path = |text: &CString| PathBuf::from(OsStr::from_bytes(text.as_bytes()));
        let groups = self.steps.iter().filter_map(|step| match &step.action {
            Action::CreateCgroup { hierarchy, group, .. } => Some(path(hierarchy).join(path(group))),
            _ => None,
        });
        groups.collect()
    }

    /// The slot of the socket that its process waits at for its start, if it does.
    pub fn listener(&self) -> Option<Slot> {
        self.steps.iter().find_map(|step| match &step.action {
            Action::AwaitConnection { listener } => Some(*listener),
            _ => None,
        })
    }

    /// The slots of the files that its hooks read the container's state from.
    pub fn states(&self) -> Vec<(HookKind, Slot)> {
        let mut states: Vec<(HookKind, Slot)> = Vec::new();
        for step in &self.steps {
            if let Action::Hook { kind, state, .. } = &step.action
                && !states.iter().any(|(_, known)| known == state)
            {
                states.push((*kind, *state));
            }
        }
        states
    }

    /// Whether its process tells of a listener of its filter (seccomp user notification), and waits until an agent has it.
    pub fn asks_agent(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Filter { listener: true, .. }))
    }

    /// The sentence that a failure of step `number` (from 1) begins with.
    pub fn describe(&self, number: usize) -> String {
        let what = self.steps.get(number.wrapping_sub(1)).map(|step| self.told(&step.action));
        let what = what.unwrap_or_else(|| "an unknown step".to_owned());
        format!("step {number} of {}: {what}", self.steps.len())
    }
}

impl Plan {
    /// An action as text; what is mounted within another mount of the plan with its whole path.
    fn told(&self, action: &Action) -> String {
        let text = action.to_string();
        let Action::Mount { target, .. } = action else { return text };
        let around = self.steps.iter().find_map(|step| match &step.action {
            Action::Mount { target: around, into: Some(into), .. } if *into == target.base => Some(&around.path),
            _ => None,
        });
        match around {
            Some(around) => text.replacen("at `/", &format!("at `{}/", around.to_string().trim_end_matches('/')), 1),
            None => text,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |(at, step): (usize, &Step)| writeln!(f, "{:>3} {:<6} {}", at + 1, step.actor, self.told(&step.action));
        self.steps.iter().enumerate().try_for_each(line)
    }
}

/// A plan being written.
#[derive(Debug)]
struct Draft {
    steps: Vec<Step>,
    slots: u16,
    oom: Option<Slot>,
    joins: Option<Slot>,
    /// What the helper takes from other sandboxes before it clones the child.
    borrows: Vec<Action>,
    /// What makes /dev, where the child does so when its turn comes among the mounts.
    dev: Option<Action>,
    /// Who assembles mounts: a helper where the child has fewer rights than the zygote.
    assembler: Actor,
    /// The capabilities that a process can be given.
    givable: u64,
    warnings: Vec<String>,
}

impl Draft {
    fn new(in_user_namespace: bool, facts: &Facts) -> Draft {
        Draft {
            steps: Vec::new(),
            slots: STDERR.0 + 1,
            oom: None,
            joins: None,
            borrows: Vec::new(),
            dev: None,
            assembler: if in_user_namespace && facts.administers() { Actor::Helper } else { Actor::Child },
            givable: capabilities::givable(facts, in_user_namespace),
            warnings: Vec::new(),
        }
    }

    fn push(&mut self, actor: Actor, action: Action) {
        self.steps.push(Step { actor, action });
    }

    fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }

    fn finish(self, process: &Process, streams: Streams) -> Result<Plan> {
        let list = |strings: &Option<Vec<String>>, what| -> Result<Vec<CString>> {
            strings.iter().flatten().map(|string| c_string(string.as_str(), what)).collect()
        };
        Ok(Plan {
            arguments: list(process.args(), "an argument")?,
            environment: list(process.env(), "an environment variable")?,
            argument: Vec::new(),
            steps: self.steps,
            streams,
            slots: self.slots,
            oom: self.oom,
            joins: self.joins,
            warnings: self.warnings,
        })
    }
}

fn c_string(text: impl Into<Vec<u8>>, what: &'static str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Nul { what })
}

fn c_path(path: &Path) -> Result<CString> {
    c_string(path.as_os_str().as_encoded_bytes(), "a path")
}
