//! A step as one line of text.

use std::ffi::CString;
use std::fmt;

use super::{Action, Actor, Change, HookKind, IdMap, Lower, Node, Scheduling, SecurityModule, Slot, Step};
use crate::sys;

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Actor::Host => "host",
            Actor::Zygote => "zygote",
            Actor::Helper => "helper",
            Actor::Child => "child",
        })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{} x{}", self.inside, self.outside, self.count)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {}", self.actor, self.action)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::OpenLayer { path, into } => write!(f, "open layer {} as {into}", text(path)),
            Action::OpenScratch { path, owner, into, .. } => {
                write!(f, "open scratch folder {} for uid {owner} as {into}", text(path))
            }
            Action::OpenRoot { path, changes, into } => {
                write!(f, "open root {} as {into}", text(path))?;
                changes.iter().try_for_each(|change| write!(f, "{change}"))
            }
            Action::OpenSource { path, changes, into, .. } => {
                write!(f, "open bind source {} as {into}", text(path))?;
                changes.iter().try_for_each(|change| write!(f, "{change}"))
            }
            Action::CreateCgroup { hierarchy, group, settings, .. } => {
                write!(f, "create cgroup `{}/{}`", bare(hierarchy), bare(group))?;
                settings.iter().try_for_each(|setting| write!(f, " {setting}"))
            }
            Action::FilterDevices { hierarchy, group, program } => {
                let (hierarchy, group) = (bare(hierarchy), bare(group));
                write!(f, "filter devices of cgroup `{hierarchy}/{group}` by {} instructions", program.len())
            }
            Action::OpenCgroup { hierarchy, group, .. } => {
                write!(f, "open cgroup `{}/{}`", bare(hierarchy), bare(group))
            }
            Action::OpenOomEvents { path, .. } => write!(f, "watch {}", text(path)),
            Action::KeepUserNamespace { uids, gids, into } if uids == gids => {
                write!(f, "keep a user namespace{} as {into}", Maps(uids))
            }
            Action::KeepUserNamespace { uids, gids, into } => {
                write!(f, "keep a user namespace of uids{}, gids{} as {into}", Maps(uids), Maps(gids))
            }
            Action::Fork { .. } => f.write_str("fork a helper"),
            Action::Clone { namespaces, .. } => write!(f, "clone the child into{}", Namespaces(*namespaces)),
            Action::MapIds { uids, gids, deny_setgroups } => {
                let groups = if *deny_setgroups { ", groups denied" } else { "" };
                write!(f, "map uids{}, gids{}{groups}", Maps(uids), Maps(gids))
            }
            Action::AttachCgroup { tasks } => write!(f, "attach to cgroup {tasks}"),
            Action::Join { namespaces, .. } => write!(f, "join the container's{}", Namespaces(*namespaces)),
            Action::OwnMounts => f.write_str("unshare the mount namespace"),
            Action::TranslateOwners { mount, user_namespace, recursive } => {
                let below = if *recursive { " and below" } else { "" };
                write!(f, "translate owners of {mount}{below} by {user_namespace}")
            }
            Action::Overlay { lower, scratch, place, into } => {
                let place = if *place == Lower::Attached { ", layers attached first" } else { "" };
                write!(f, "overlay {} layers on {scratch} as {into}{place}", lower.len())
            }
            Action::MakeDev { nodes, into, .. } => {
                write!(f, "make a tmpfs for /dev as {into} with")?;
                nodes.iter().try_for_each(|node| write!(f, " {node}"))
            }
            Action::OomScore { value } => write!(f, "set oom_score_adj {}", bare(value)),
            Action::AwaitMaps => f.write_str("wait for id maps"),
            Action::BecomeRoot => f.write_str("become root of the user namespace"),
            Action::OwnCgroupView => f.write_str("unshare the cgroup namespace"),
            Action::AttachRoot { root } => write!(f, "attach root {root}"),
            Action::Mount { kind, options, attributes, target, .. } => {
                write!(f, "mount {} at `{}`{}{}", text(kind), target.path, Attributes(*attributes), Options(options))
            }
            Action::Attach { mount, target } => write!(f, "attach {mount} at `{}`", target.path),
            Action::MakeDirectory { path, .. } => write!(f, "make directory `{path}` if it is missing"),
            Action::Mask { path, .. } => write!(f, "mask `{path}`"),
            Action::ReadOnly { path, .. } => write!(f, "make `{path}` read-only"),
            Action::Restrict { path, attributes, .. } => write!(f, "restrict `{path}` to{}", Attributes(*attributes)),
            Action::Sysctl { path, value, .. } => write!(f, "write {} to `{path}`", text(value)),
            Action::PivotRoot { root } => write!(f, "pivot to root {root}"),
            Action::HostName { name } => write!(f, "set host name {}", text(name)),
            Action::DomainName { name } => write!(f, "set domain name {}", text(name)),
            Action::Loopback => f.write_str("bring loopback up"),
            Action::Session => f.write_str("start a session"),
            Action::Terminal { rows, columns, .. } => write!(f, "open a terminal of {rows} rows, {columns} columns"),
            Action::Streams { .. } => f.write_str("take the standard streams"),
            Action::Limit { resource, soft, hard } => write!(f, "limit {} to {soft}, {hard}", limit_name(*resource)),
            Action::BoundCapabilities { keep } => write!(f, "bound capabilities to{}", Capabilities(*keep)),
            Action::User { uid, gid, groups } => write!(f, "become uid {uid}, gid {gid}, groups {groups:?}"),
            Action::Capabilities { effective, ambient, .. } => {
                write!(f, "keep capabilities{}, ambient{}", Capabilities(*effective), Capabilities(*ambient))
            }
            Action::Umask { mask } => write!(f, "set umask {mask:04o}"),
            Action::NoNewPrivileges => f.write_str("forbid new privileges"),
            Action::Filter { program, flags, listener } => {
                write!(f, "load a seccomp filter of {} instructions{}", program.len(), FilterFlags(*flags))?;
                f.write_str(if *listener { ", and tell of its listener" } else { "" })
            }
            Action::WorkingDirectory { path } => write!(f, "change directory to `{path}`"),
            Action::SealDescriptors => f.write_str("seal every other descriptor"),
            Action::AwaitStart => f.write_str("wait for start"),
            Action::Execute { name, .. } => write!(f, "execute {}", text(name)),
            Action::Build { entry } => write!(f, "build {}", text(entry)),
            Action::EmptyRoot => f.write_str("pivot to an empty read-only root"),
            Action::KeepDescriptors { keep } => write!(f, "close every descriptor but {}", keep.len()),
            Action::Enter { entry } => write!(f, "enter {}", text(entry)),
            Action::OpenFurtherCgroup { hierarchy, group, .. } => {
                write!(f, "open cgroup `{}/{}` if there is one", bare(hierarchy), bare(group))
            }
            Action::OpenNamespace { path, kind, into } => {
                write!(f, "open the{} namespace {} as {into}", Kinds(*kind), text(path))
            }
            Action::EnterNamespace { namespace, kind } => write!(f, "enter the{} namespace {namespace}", Kinds(*kind)),
            Action::DelegateCgroup { hierarchy, group, owner } => {
                write!(f, "give cgroup `{}/{}` to uid {owner}", bare(hierarchy), bare(group))
            }
            Action::BorrowMount { namespace, path, into } => {
                write!(f, "borrow the mount at `{path}` of {namespace} as {into}")
            }
            Action::MapIdsByPrograms { uids, gids } => {
                write!(f, "map uids{} by newuidmap, gids{} by newgidmap", Maps(uids), Maps(gids))
            }
            Action::OwnTime { offsets } => {
                let offsets = bare(offsets);
                write!(f, "unshare the time namespace at {}", offsets.trim_end().replace('\n', ", "))
            }
            Action::EnterWithUser { user, others } => {
                let kinds = others.iter().fold(libc::CLONE_NEWUSER as u64, |all, (_, kind)| all | kind);
                write!(f, "enter{} {user}", Namespaces(kinds))?;
                others.iter().try_for_each(|(namespace, _)| write!(f, " {namespace}"))
            }
            Action::Affinity { cpus } if cpus.iter().all(|word| *word == u64::MAX) => f.write_str("run on every CPU"),
            Action::Affinity { cpus } => write!(f, "run on CPUs{}", Numbers(cpus)),
            Action::Label { module: SecurityModule::AppArmor, label } => {
                write!(f, "be confined by AppArmor at {}", text(label))
            }
            Action::Label { module: SecurityModule::SeLinux, label } => {
                write!(f, "be labelled {} by SELinux at exec", text(label))
            }
            Action::SessionKeyring { name } => write!(f, "join the session keyring {}", text(name)),
            Action::Personality { domain } => write!(f, "set personality {domain:#06x}"),
            Action::MemoryPolicy { mode, nodes } => {
                write!(f, "set memory policy {mode:#x} of nodes{}", Numbers(nodes))
            }
            Action::Scheduler(Scheduling { policy, nice, priority, .. }) => {
                write!(f, "set scheduler {policy}, nice {nice}, priority {priority}")
            }
            Action::IoPriority { value } => write!(f, "set I/O class {}, level {}", value >> 13, value & 7),
            Action::OpenDevice { path, block, major, minor, into } => {
                let kind = if *block { "block" } else { "character" };
                write!(f, "open {kind} device {} {major}:{minor} as {into}", text(path))
            }
            Action::PrivateMounts => f.write_str("cut the mount namespace off from others"),
            Action::MountTmpfs { options, attributes, copy_up, target } => {
                let copied = if *copy_up { " with what it covers" } else { " with the mode of what it covers" };
                let (attributes, options) = (Attributes(*attributes), Options(options));
                write!(f, "mount `tmpfs` at `{}`{attributes}{options}{copied}", target.path)
            }
            Action::MountByName { kind, source, flags, data, target } => {
                write!(
                    f,
                    "mount {} of {} at `{}` by mount(2), flags {flags:#x}",
                    text(kind),
                    text(source),
                    target.path
                )?;
                if data.is_empty() { Ok(()) } else { write!(f, ", {}", bare(data)) }
            }
            Action::Change { target, change } => write!(f, "change the mount at `{}`{change}", target.path),
            Action::Remount { target, change } => write!(f, "remount `{}`{change}", target.path),
            Action::Reconfigure { target, options } => {
                write!(f, "configure the file system at `{}`{}", target.path, Options(options))
            }
            Action::MakeNodes { folder, nodes, .. } => {
                write!(f, "make in `{folder}`")?;
                nodes.iter().try_for_each(|node| write!(f, " {node}"))
            }
            Action::ReadOnlyByRemount { path, .. } => write!(f, "make `{path}` read-only by a remount"),
            Action::Spread { mount, change } => write!(f, "let mounts spread from {mount}{change}"),
            Action::ChangeRoot { root } => write!(f, "change to root {root}"),
            Action::AttachRootAt { root, path } => write!(f, "attach root {root} at {}", text(path)),
            Action::EnterRoot { root } => write!(f, "change root to {root} beside others"),
            Action::TakeNetDevice { name, new, .. } => {
                write!(f, "move network device {} into the container as {}", text(name), text(new))
            }
            Action::LetGo => f.write_str("let the child go on"),
            Action::AwaitHelper => f.write_str("wait for the helper"),
            Action::FindHome { uid } => write!(f, "find the home of uid {uid}"),
            Action::StayAsInit => f.write_str("stay as init, with the program as a child"),
            Action::AwaitHooks => f.write_str("wait for the runtime's hooks"),
            Action::Hook { kind, path, .. } => write!(f, "run {kind} hook {}", text(path)),
            Action::FindProgram { name, .. } => write!(f, "find {}", text(name)),
            Action::AwaitConnection { .. } => f.write_str("wait for start at a socket"),
            Action::SealFrom { first } => write!(f, "seal every descriptor from {first} on"),
        }
    }
}

impl fmt::Display for HookKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HookKind::CreateContainer => "createContainer",
            HookKind::StartContainer => "startContainer",
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Node::Character { name, .. }
            | Node::Block { name, .. }
            | Node::Fifo { name, .. }
            | Node::Link { name, .. }
            | Node::File { name } => bare(name),
            Node::Directory { name } => bare(name) + "/",
        })
    }
}

fn text(string: &CString) -> String {
    format!("`{}`", string.to_string_lossy())
}

fn bare(string: &CString) -> String {
    string.to_string_lossy().into_owned()
}

struct Attributes(u64);

/// What each attribute is called when it is set and when it is cleared.
const ATTRIBUTES: [(u64, &str, &str); 8] = [
    (sys::RDONLY, "ro", "rw"),
    (sys::NOSUID, "nosuid", "suid"),
    (sys::NODEV, "nodev", "dev"),
    (sys::NOEXEC, "noexec", "exec"),
    (sys::NOATIME, "noatime", ""),
    (sys::STRICTATIME, "strictatime", ""),
    (sys::NODIRATIME, "nodiratime", "diratime"),
    (sys::NOSYMFOLLOW, "nosymfollow", "symfollow"),
];

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ATTRIBUTES.iter().filter(|(bit, ..)| self.0 & bit != 0).try_for_each(|(_, name, _)| write!(f, " {name}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = match self.propagation {
            libc::MS_PRIVATE => "private",
            libc::MS_SLAVE => "slave",
            libc::MS_SHARED => "shared",
            libc::MS_UNBINDABLE => "unbindable",
            _ => "",
        };
        let times = if self.clear & sys::ATIME != 0 && self.set & sys::ATIME == 0 { "relatime" } else { "" };
        let cleared = ATTRIBUTES.iter().filter(|(bit, ..)| self.clear & bit != 0).map(|(.., name)| *name);
        let set = ATTRIBUTES.iter().filter(|(bit, ..)| self.set & bit != 0).map(|(_, name, _)| *name);
        let words = [spread].into_iter().chain(cleared).chain([times]).chain(set).filter(|word| !word.is_empty());
        f.write_str(",")?;
        words.into_iter().try_for_each(|word| write!(f, " {word}"))?;
        f.write_str(if self.recursive { " and below" } else { "" })
    }
}

struct Options<'a>(&'a [(CString, Option<CString>)]);

impl fmt::Display for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, value)| match value {
            Some(value) => write!(f, " {}={}", bare(key), bare(value)),
            None => write!(f, " {}", bare(key)),
        })
    }
}

struct Maps<'a>(&'a [IdMap]);

impl fmt::Display for Maps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|map| write!(f, " {map}"))
    }
}

struct FilterFlags(u64);

impl fmt::Display for FilterFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (libc::SECCOMP_FILTER_FLAG_LOG, "log"),
            (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, "spec_allow"),
            (libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, "wait_killable_recv"),
        ];
        names.iter().filter(|(bit, _)| self.0 & bit != 0).try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}

struct Namespaces(u64);

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str(" no namespaces of its own"),
            kinds => write!(f, "{} namespaces", Kinds(kinds)),
        }
    }
}

/// The numbers of the bits that are set.
struct Numbers<'a>(&'a [u64]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = (0..self.0.len() * 64).filter(|number| self.0[number / 64] >> (number % 64) & 1 == 1);
        numbers.into_iter().try_for_each(|number| write!(f, " {number}"))
    }
}

/// The names of kinds of namespaces.
struct Kinds(u64);

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = crate::plan::NAMESPACE_NAMES.iter().filter(|(bit, _)| self.0 & bit != 0);
        used.enumerate().try_for_each(|(at, (_, name))| write!(f, "{} {name}", if at == 0 { "" } else { "," }))
    }
}

struct Capabilities(u64);

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str(" none");
        }
        let names = crate::plan::CAPABILITY_NAMES.iter().enumerate();
        names.filter(|(bit, _)| self.0 >> bit & 1 != 0).try_for_each(|(_, name)| write!(f, " {name}"))
    }
}

fn limit_name(resource: u8) -> &'static str {
    crate::plan::LIMIT_NAMES.get(usize::from(resource)).copied().unwrap_or("an unknown resource")
}
