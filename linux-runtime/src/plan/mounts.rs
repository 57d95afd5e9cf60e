//! The specification's mounts as steps, in its order.

use std::ffi::CString;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::namespaces::Namespaces;
use super::{Draft, c_string};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Change, Slot, Target};
use crate::sys;

mod binds;
mod cgroups;
mod options;

pub(super) use binds::{Around, Source};
pub(super) use cgroups::View;
pub(crate) use options::mount_options;
pub(super) use options::{Options, PROPAGATION};

/// What the mounts refer to.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) root: Slot,
    /// The /dev of ours, and which of the mounts it is.
    pub(super) dev: Option<(usize, Slot)>,
    /// One for each bind mount, in the specification's order.
    pub(super) sources: &'a [Source],
    /// One for each hierarchy of v1 that the container is in.
    pub(super) views: &'a [View],
    pub(super) namespaces: &'a Namespaces,
}

/// What a bind or anything else may cover below /proc: files that lxcfs fills, and others that harm nobody, as runc has it.
const BELOW_PROC: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "net/dev",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

impl Draft {
    pub(super) fn mount_all(&mut self, spec: &Spec, at: &Places<'_>, facts: &Facts) -> Result<()> {
        let mut sources = at.sources.iter();
        for (number, mount) in spec.mounts().iter().flatten().enumerate() {
            let options = Options::parse(mount)?;
            let target = target(mount, at.root)?;
            below_proc(mount, &options, &target.path)?;
            if options.remount {
                self.change(&options, target, facts)?;
            } else if options.bind || hosts(mount, at.namespaces, facts).is_some() {
                let source = sources.next().ok_or_else(|| Error::Plan("a bind mount lost its source".into()))?;
                self.push(Actor::Child, Action::Attach { mount: source.mount, target: target.clone() });
                for change in source.late.iter().copied() {
                    self.push(Actor::Child, Action::Remount { target: target.clone(), change });
                }
            } else if let Some((_, dev)) = at.dev.filter(|(dev, _)| *dev == number) {
                if let Some(action) = self.dev.take() {
                    self.push(Actor::Child, action);
                }
                self.push(Actor::Child, Action::Attach { mount: dev, target: target.clone() });
                self.spread(&options, target, facts);
            } else {
                self.file_system(mount, &options, at, target.clone(), facts)?;
                self.spread(&options, target, facts);
            }
        }
        Ok(())
    }

    /// A file system by its type.
    fn file_system(
        &mut self,
        mount: &Mount,
        options: &Options,
        at: &Places<'_>,
        target: Target,
        facts: &Facts,
    ) -> Result<()> {
        let attributes = options.attributes();
        match mount.typ().as_deref().unwrap_or("none") {
            "none" | "" => {
                let destination = mount.destination().display();
                return Err(Error::Plan(format!("mount at `{destination}` has no type and is no bind mount")));
            }
            "cgroup" => self.cgroup_view(at, options, target, facts)?,
            "cgroup2" => self.unified_view(cgroups::HIDDEN | attributes, target)?,
            kind if options.is_old() => {
                let (kind, source) = (c_string(kind, "a file system")?, source(mount)?);
                let (flags, data) = options.old()?;
                self.push(Actor::Child, Action::MountByName { kind, source, flags, data, target });
            }
            "tmpfs" if options.copy_up || !options.data.iter().any(|(key, _)| key.as_bytes() == b"mode") => {
                let copy_up = options.copy_up;
                let options = configuration(mount, options)?;
                self.push(Actor::Child, Action::MountTmpfs { options, attributes, copy_up, target });
            }
            kind => {
                let mut configuration = configuration(mount, options)?;
                let on_disk = !["proc", "sysfs", "tmpfs", "devpts", "mqueue"].contains(&kind);
                if on_disk && attributes & sys::RDONLY != 0 {
                    // It is not to be written at all.
                    configuration.push((c_string("ro", "an option")?, None));
                }
                let (kind, options) = (c_string(kind, "a file system")?, configuration);
                self.push(Actor::Child, Action::Mount { kind, options, attributes, target, into: None });
            }
        }
        Ok(())
    }

    /// `remount`: what is mounted there already becomes different.
    fn change(&mut self, options: &Options, target: Target, facts: &Facts) -> Result<()> {
        let configuration = options.configuration()?;
        if !options.bind && !configuration.is_empty() {
            self.push(Actor::Child, Action::Reconfigure { target: target.clone(), options: configuration });
        }
        let (own, all) = (options.own, options.all);
        let own = Change { set: own.set, clear: own.clear, ..Default::default() };
        let all = Change { set: all.set, clear: all.clear, recursive: true, ..Default::default() };
        for change in [own, all].into_iter().chain(options.spread()).filter(|change| !change.is_none()) {
            self.push_change(target.clone(), change, facts);
        }
        Ok(())
    }

    fn spread(&mut self, options: &Options, target: Target, facts: &Facts) {
        if let Some(change) = options.spread() {
            self.push_change(target, change, facts);
        }
    }

    pub(super) fn push_change(&mut self, target: Target, change: Change, facts: &Facts) {
        let by_attributes = facts.changes_mounts();
        let action = if by_attributes { Action::Change { target, change } } else { Action::Remount { target, change } };
        self.push(Actor::Child, action);
    }

    /// Attributes for a mount of ours.
    pub(super) fn restrict(&mut self, mount: Slot, path: Beneath, attributes: u64, facts: &Facts) {
        if facts.changes_mounts() {
            self.push(Actor::Child, Action::Restrict { mount, path, attributes });
            return;
        }
        let target = Target { base: mount, path: Beneath::root(), no_symlinks: true };
        let change = Change { set: attributes, ..Default::default() };
        self.push(Actor::Child, Action::Remount { target, change });
    }
}

/// Whether the container gets its cgroup to write to, as the specification has it ("Cgroup ownership").
pub(super) fn may_write_cgroups(spec: &Spec) -> bool {
    let writable = |mount: &Mount| {
        let named = mount.source().as_ref().is_some_and(|source| source.as_os_str() == "cgroup");
        let read_only = mount.options().iter().flatten().any(|option| option == "ro");
        named && mount.destination().as_os_str() == "/sys/fs/cgroup" && !read_only
    };
    spec.mounts().iter().flatten().any(writable)
}

/// Where the host has a file system that a user namespace cannot mount, because it shows a namespace whose owner the
/// container is not: the host's own is what it would see.
fn hosts(mount: &Mount, namespaces: &Namespaces, facts: &Facts) -> Option<&'static str> {
    use LinuxNamespaceType::{Cgroup, Ipc, Network, Pid, User};
    let (path, kind) = match mount.typ().as_deref()? {
        "proc" => ("/proc", Pid),
        "sysfs" => ("/sys", Network),
        "mqueue" => ("/dev/mqueue", Ipc),
        "cgroup" | "cgroup2" if cgroups::is_pure(facts) => ("/sys/fs/cgroup", Cgroup),
        _ => return None,
    };
    // Somebody else's network belongs to this user namespace or not: nobody has told. The others are asked for by name, and
    // the host's would be the wrong ones.
    let own = if kind == Network { namespaces.makes(kind) } else { namespaces.has(kind) };
    (namespaces.has(User) && !own).then_some(path)
}

fn target(mount: &Mount, root: Slot) -> Result<Target> {
    let text = mount.destination().to_string_lossy();
    let path = Beneath::new(&text).map_err(|_| Error::Nul { what: "a mount's destination" })?;
    if path.names.is_empty() {
        return Err(Error::Plan("a mount's destination is the root itself".into()));
    }
    let first = path.names[0].to_bytes();
    // Kernel file systems must stand where they are called to stand, whatever the image makes of the name.
    let no_symlinks = [&b"proc"[..], b"sys", b"dev"].contains(&first);
    Ok(Target { base: root, path, no_symlinks })
}

/// On /proc stands procfs, and what is in it is covered by nothing that could make a program believe it wrote to the kernel
/// or read from it (CVE-2019-16884, CVE-2023-28642). That a bind mount on /proc is procfs is seen when it is attached.
fn below_proc(mount: &Mount, options: &Options, path: &Beneath) -> Result<()> {
    let whole = path.to_string();
    let destination = mount.destination().display();
    if whole == "/proc" {
        return match options.bind || options.remount || mount.typ().as_deref() == Some("proc") {
            true => Ok(()),
            false => Err(Error::Plan(format!("mount at `{destination}`: on /proc stands procfs alone"))),
        };
    }
    match whole.strip_prefix("/proc/") {
        Some(file) if !options.remount && !BELOW_PROC.contains(&file) => Err(Error::Plan(format!(
            "mount at `{destination}`: nothing is mounted inside /proc but what lxcfs provides"
        ))),
        _ => Ok(()),
    }
}

/// The device or whatever the file system takes for one.
/// What a file system is told besides: which disk, or the name that the table of mounts shows where there is none.
pub(super) fn configuration(mount: &Mount, options: &Options) -> Result<options::Data> {
    let mut configuration = options.configuration()?;
    configuration.insert(0, (c_string("source", "an option")?, Some(source(mount)?)));
    Ok(configuration)
}

fn source(mount: &Mount) -> Result<CString> {
    let source = mount.source().as_ref().map_or_else(|| "none".into(), |source| source.to_string_lossy());
    c_string(source.into_owned(), "a mount's source")
}
