//! One step of a plan, as plain data: who does it and what is done. Steps name descriptors by slot, so that a plan can
//! be printed, compared and sent; executing them is [`crate::prepare`], [`crate::zygote`] and [`crate::init`].

use std::ffi::CString;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cgroup::Setting;
use crate::sys::Instruction;

mod display;

/// A place in the table of descriptors that host, zygote and child fill and use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot(pub u16);

/// Who executes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The caller, before the zygote hears of it: what is missing fails here.
    Host,
    /// The zygote itself: never waits.
    Zygote,
    /// A short-lived process between zygote and child, in the zygote's user namespace.
    Helper,
    /// The process that becomes the guest.
    Child,
}

/// One step of a [`Plan`](crate::Plan).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub actor: Actor,
    pub action: Action,
}

/// A path inside the root as its prefixes: `a`, `a/b`, `a/b/c`; resolved beneath the root's handle, never as a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneath {
    /// Every prefix, the whole path last; empty for the root itself.
    pub prefixes: Vec<CString>,
    /// The last component of each prefix.
    pub names: Vec<CString>,
}

/// `count` ids from `inside` on are those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMap {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// What changes about a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `MOUNT_ATTR_*`.
    pub set: u64,
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`; 0 leaves it as it is.
    pub propagation: u64,
    /// Also of what is mounted below it.
    pub recursive: bool,
}

impl Change {
    /// Mounts that nothing spreads from or to.
    pub(crate) const PRIVATE: Change = Change { set: 0, clear: 0, propagation: libc::MS_PRIVATE, recursive: true };

    pub(crate) fn is_none(&self) -> bool {
        (self.set, self.clear, self.propagation) == (0, 0, 0)
    }
}

/// Where a lower directory's mounts stand when the overlay is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lower {
    /// Detached mounts named by descriptor (the kernel accepts them as layers: found by trying).
    Detached,
    /// Attached on a scratch tmpfs in the child's own mount namespace first (Linux before 6.15).
    Attached,
}

/// What is done. The CVE or kernel version that shaped an action stands where it is executed, and in its sentence here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    // Host: what needs today's machine.
    /// A detached, non-recursive clone of a layer's folder.
    OpenLayer { path: CString, into: Slot },
    /// The container's own folder with `upper` and `work` in it, owned by `owner`, as a detached clone.
    OpenScratch { path: CString, owner: u32, like: Option<CString>, into: Slot },
    /// A ready root file system as a detached clone.
    OpenRoot { path: CString, changes: Vec<Change>, into: Slot },
    /// A bind source as a detached clone.
    OpenSource { path: CString, recursive: bool, changes: Vec<Change>, into: Slot },
    /// One cgroup directory with its limits.
    CreateCgroup { hierarchy: CString, group: CString, settings: Vec<Setting>, attach: Slot, unified: bool },
    /// Which devices a v2 group may open, as a program of eBPF: there the controller of v1 is none (Linux 4.15).
    FilterDevices { hierarchy: CString, group: CString, program: Vec<u64> },
    /// The cgroup of a running container, for one more process in it.
    OpenCgroup { hierarchy: CString, group: CString, attach: Slot, unified: bool },
    /// A file of that cgroup that tells of out-of-memory kills.
    OpenOomEvents { path: CString, into: Slot },

    // Zygote and helper.
    /// A user namespace that translates owners of layers.
    KeepUserNamespace { uids: Vec<IdMap>, gids: Vec<IdMap>, into: Slot },
    /// A helper process, born in a v2 cgroup where there is one.
    Fork { cgroup: Option<Slot> },
    /// The guest's process in its namespaces (`CLONE_NEW*`).
    Clone { namespaces: u64, cgroup: Option<Slot> },
    /// The user namespace's maps.
    MapIds { uids: Vec<IdMap>, gids: Vec<IdMap>, deny_setgroups: bool },

    // Helper or child.
    /// Moves itself by writing `0` to the v1 `tasks` file: no write lock, 75 to 100 µs against 11 to 16 ms.
    AttachCgroup { tasks: Slot },
    /// Enters the namespaces (`CLONE_NEW*`) of a running container.
    Join { process: Slot, namespaces: u64 },
    /// A mount namespace of the helper's own.
    OwnMounts,
    /// Gives a layer's detached clone the translated owners.
    TranslateOwners { mount: Slot, user_namespace: Slot, recursive: bool },
    /// The root from layers.
    Overlay { lower: Vec<Slot>, scratch: Slot, place: Lower, into: Slot },
    /// A /dev of our own: tmpfs, default nodes, links.
    MakeDev { options: Vec<(CString, Option<CString>)>, attributes: u64, nodes: Vec<Node>, owner: u32, into: Slot },
    /// How this process fares when memory is short; a value below the inherited one may be refused, then it stays.
    OomScore { value: CString },

    // Child.
    /// Waits until its ids are mapped.
    AwaitMaps,
    /// Becomes root of its own user namespace.
    BecomeRoot,
    /// A cgroup namespace rooted where the child now stands.
    OwnCgroupView,
    /// Attaches the root.
    AttachRoot { root: Slot },
    /// A new file system.
    Mount {
        kind: CString,
        options: Vec<(CString, Option<CString>)>,
        attributes: u64,
        target: Target,
        into: Option<Slot>,
    },
    /// A descriptor's tree: a bind source or a prepared mount.
    Attach { mount: Slot, target: Target },
    /// A directory that is made if it is missing, while the root can still be written.
    MakeDirectory { root: Slot, path: Beneath },
    /// A path hidden by an empty directory or by /dev/null, if it is there.
    Mask { root: Slot, path: Beneath },
    /// A path made read-only, if it is there.
    ReadOnly { root: Slot, path: Beneath },
    /// Further attributes of a finished mount, such as a read-only root.
    Restrict { mount: Slot, path: Beneath, attributes: u64 },
    /// A kernel parameter of the child's namespaces, beneath /proc/sys.
    Sysctl { root: Slot, path: Beneath, value: CString },
    /// Enters the root and lets go of the zygote's.
    PivotRoot { root: Slot },
    /// The name in the UTS namespace.
    HostName { name: CString },
    /// The NIS domain name.
    DomainName { name: CString },
    /// Loopback up in its own network namespace.
    Loopback,
    /// A new session.
    Session,
    /// A pseudo-terminal of the container's own devpts; the master goes to the zygote.
    Terminal { rows: u16, columns: u16, uid: u32, gid: u32, console: bool },
    /// Standard streams from the zygote's pipes.
    Streams { stdin: Slot, stdout: Slot, stderr: Slot },
    /// A resource limit.
    Limit { resource: u8, soft: u64, hard: u64 },
    /// The capability bounding set.
    BoundCapabilities { keep: u64 },
    /// Groups and user.
    User { uid: u32, gid: u32, groups: Vec<u32> },
    /// The four other capability sets.
    Capabilities { effective: u64, permitted: u64, inheritable: u64, ambient: u64 },
    /// The mask of new files' modes.
    Umask { mask: u32 },
    /// No gain of privilege by execve.
    NoNewPrivileges,
    /// What it may ask the kernel, with `SECCOMP_FILTER_FLAG_*`. Where some calls have a `listener`, the maker of the
    /// process is told of its descriptor and hands it on before the process goes on.
    Filter { program: Vec<Instruction>, flags: u64, listener: bool },
    /// The working directory, verified to be inside the root (CVE-2024-21626).
    WorkingDirectory { path: Beneath },
    /// Every other descriptor closes at execve (CVE-2016-9962, CVE-2024-21626).
    SealDescriptors,
    /// Tells the zygote it is created and waits for `start`.
    AwaitStart,
    /// The program: the first candidate that exists.
    Execute { name: CString, candidates: Vec<CString> },

    // Child, for code of our own instead of a program.
    /// Calls an entry's first half, while /proc can still be reached.
    Build { entry: CString },
    /// An empty root: read-only, nothing executable, no /proc.
    EmptyRoot,
    /// Everything but the standard streams and what was given closes now.
    KeepDescriptors { keep: Vec<Slot> },
    /// Calls the entry's second half; its return value is the exit status.
    Enter { entry: CString },

    // Later additions stand at the end: the wire numbers the variants.
    /// Host: a namespace of another process, to be entered, of the kind (`CLONE_NEW*`) that is expected.
    OpenNamespace { path: CString, kind: u64, into: Slot },
    /// Helper: enters one namespace (its `CLONE_NEW*`), so that the child is born there.
    EnterNamespace { namespace: Slot, kind: u64 },
    /// Host: the cgroup of a running container in a hierarchy that only some containers are bounded in; where it has none,
    /// the hierarchy's root.
    OpenFurtherCgroup { hierarchy: CString, group: CString, attach: Slot },
    /// Child: a copy goes on to be the program; what stays is the first process, which passes signals on to it and reaps
    /// whom nobody else does. No file of ours appears in the root for it.
    StayAsInit,
    /// Helper: a detached copy of what is mounted at `path` in another process's mount namespace, if it is a tmpfs.
    BorrowMount { namespace: Slot, path: Beneath, into: Slot },
    /// Helper: the user namespace's maps by newuidmap(1) and newgidmap(1), for a user who may map more than himself only by
    /// /etc/subuid and /etc/subgid.
    MapIdsByPrograms { uids: Vec<IdMap>, gids: Vec<IdMap> },
    /// Helper: a time namespace for whom it clones, with offsets, which the kernel takes before anybody enters (Linux 5.6).
    OwnTime { offsets: CString },
    /// Helper: enters a user namespace and others (`CLONE_NEW*`), whichever of them belong to it.
    EnterWithUser { user: Slot, others: Vec<(Slot, u64)> },
    /// Child: tells its maker that its namespaces and mounts stand, and waits until the maker's hooks have run.
    AwaitHooks,
    /// Child: a hook of the specification, with the container's state as its standard input. It allocates: a program that
    /// somebody else wrote runs here anyway.
    Hook {
        kind: HookKind,
        path: CString,
        arguments: Vec<CString>,
        environment: Vec<CString>,
        timeout: Option<u32>,
        state: Slot,
    },
    /// Child: fails as `Execute` would, while whoever creates it still listens.
    FindProgram { name: CString, candidates: Vec<CString> },
    /// Child: tells its maker that it is created and waits until somebody connects to the socket; what happens from then on
    /// is told there.
    AwaitConnection { listener: Slot },
    /// Every descriptor from `first` on closes at execve: what stands below was asked to be kept.
    SealFrom { first: u32 },
    /// Helper or child: the CPUs it runs on, a bit each; the kernel takes from them those of its cpuset.
    Affinity { cpus: Vec<u64> },
    /// Helper or child: the label of the next execve, written while /proc is the runtime's own.
    Label { module: SecurityModule, label: CString },
    /// Child: a session keyring of its own, or the one of that name that its container has.
    SessionKeyring { name: CString },
    /// Child: which kernel it takes this one for (personality(2)).
    Personality { domain: u32 },
    /// Child: from which nodes its memory comes (set_mempolicy(2)).
    MemoryPolicy { mode: u32, nodes: Vec<u64> },
    /// Child: its scheduler (sched_setattr(2)).
    Scheduler(Scheduling),
    /// Child: class and level of its I/O (ioprio_set(2)).
    IoPriority { value: u16 },
    /// Host: a v2 group becomes a user's, who may make groups below it.
    DelegateCgroup { hierarchy: CString, group: CString, owner: u32 },
    /// Child: attaches the root where it stands on the host, in a mount namespace that others live in: their `/` stays.
    AttachRootAt { root: Slot, path: CString },
    /// Child: enters the root by chroot(2) and leaves the namespace's own root to whom it belongs.
    EnterRoot { root: Slot },
    /// Helper: moves a network device, with its addresses, into the child's network namespace or into that one.
    TakeNetDevice { name: CString, new: CString, network: Option<Slot> },
    /// Helper: lets the child go on that waits for what the helper does after its birth.
    LetGo,
    /// Child: waits for that.
    AwaitHelper,
    /// Child: HOME by the root's /etc/passwd, where the specification has none.
    FindHome { uid: u32 },
    /// Host: the host's own node of a device, verified to be that device, as a detached clone.
    OpenDevice { path: CString, block: bool, major: u32, minor: u32, into: Slot },
    /// Child: cuts its mount namespace off from the one it is a copy of: nothing of what follows spreads to the host.
    PrivateMounts,
    /// Child: a tmpfs that has the mode of the directory it covers unless its options say otherwise, and its content if
    /// that is asked.
    MountTmpfs { options: Vec<(CString, Option<CString>)>, attributes: u64, copy_up: bool, target: Target },
    /// Child: a file system by mount(2), for what fsconfig(2) does not know: `iversion`, `silent`, values of more than 255
    /// bytes.
    MountByName { kind: CString, source: CString, flags: u64, data: CString, target: Target },
    /// Child: changes what is mounted at a place (Linux 5.12).
    Change { target: Target, change: Change },
    /// Child: the same by mount(2).
    Remount { target: Target, change: Change },
    /// Child: other options for a file system that is mounted.
    Reconfigure { target: Target, options: Vec<(CString, Option<CString>)> },
    /// Child: nodes and links in a directory of the root, where there is no /dev of ours.
    MakeNodes { root: Slot, folder: Beneath, nodes: Vec<Node> },
    /// Child: `ReadOnly` by mount(2), for kernels before 5.12.
    ReadOnlyByRemount { root: Slot, path: Beneath },
    /// Child: how mounts below the finished root spread between mount namespaces.
    Spread { mount: Slot, change: Change },
    /// Child: enters the root by chroot(2), where the host's is none that pivot_root(2) could put away (an initramfs).
    ChangeRoot { root: Slot },
}

/// Which hooks of the specification a process runs inside the container (config.md, "POSIX-platform Hooks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookKind {
    /// In the container's namespaces, before its root is entered: the program is the runtime's.
    CreateContainer,
    /// After start, before the container's program: the program is the container's.
    StartContainer,
}

/// Who confines a program by labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityModule {
    AppArmor,
    SeLinux,
}

/// What sched_setattr(2) is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    pub nice: i32,
    pub priority: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nanoseconds, as the next two.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Where a mount goes: beneath the root or directly beneath a mount made before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub base: Slot,
    pub path: Beneath,
    /// Refuse symbolic links on the way: /proc, /sys and /dev must be what they are called
    /// (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
    pub no_symlinks: bool,
}

/// A device node or link in /dev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    Character {
        name: CString,
        major: u32,
        minor: u32,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Block {
        name: CString,
        major: u32,
        minor: u32,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Fifo {
        name: CString,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Link {
        name: CString,
        to: CString,
    },
    Directory {
        name: CString,
    },
    /// An empty file, to be mounted over.
    File {
        name: CString,
    },
}

impl Node {
    /// Its path below /dev.
    pub(crate) fn name(&self) -> &CString {
        match self {
            Node::Character { name, .. }
            | Node::Block { name, .. }
            | Node::Fifo { name, .. }
            | Node::Link { name, .. }
            | Node::Directory { name }
            | Node::File { name } => name,
        }
    }

    /// The same by another name.
    pub(crate) fn named(mut self, new: CString) -> Node {
        match &mut self {
            Node::Character { name, .. }
            | Node::Block { name, .. }
            | Node::Fifo { name, .. }
            | Node::Link { name, .. }
            | Node::Directory { name }
            | Node::File { name } => *name = new,
        }
        self
    }

    /// The same with other owners.
    pub(crate) fn owned(mut self, other: impl Fn(u32, u32) -> Option<(u32, u32)>) -> Option<Node> {
        if let Node::Character { uid, gid, .. } | Node::Block { uid, gid, .. } | Node::Fifo { uid, gid, .. } = &mut self
        {
            (*uid, *gid) = other(*uid, *gid)?;
        }
        Some(self)
    }

    /// Whether it is a block device, and its major and minor number.
    pub(crate) fn numbers(&self) -> Option<(bool, u32, u32)> {
        match self {
            Node::Character { major, minor, .. } => Some((false, *major, *minor)),
            Node::Block { major, minor, .. } => Some((true, *major, *minor)),
            _ => None,
        }
    }
}

impl Step {
    pub(crate) fn makes_process(&self) -> bool {
        matches!(self.action, Action::Fork { .. } | Action::Clone { .. })
    }
}

impl Beneath {
    /// The root itself.
    pub(crate) fn root() -> Beneath {
        Beneath { prefixes: Vec::new(), names: Vec::new() }
    }

    /// The components of a path that begins at the root; `.` and empty ones vanish, `..` stops at the root.
    pub(crate) fn new(path: &str) -> Result<Beneath, std::ffi::NulError> {
        let mut names: Vec<&str> = Vec::new();
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        let prefixes = (1..=names.len()).map(|count| CString::new(names[..count].join("/")));
        Ok(Beneath {
            prefixes: prefixes.collect::<Result<_, _>>()?,
            names: names.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Beneath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.prefixes.last().map_or("".into(), |path| path.to_string_lossy()))
    }
}
