//! The specification's mounts as steps, in its order.

use std::ffi::CString;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::cgroups::Groups;
use super::namespaces::Namespaces;
use super::{Draft, c_path, c_string, refused};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::step::{Action, Actor, Beneath, Slot, Target};
use crate::sys;

/// What the mounts refer to.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) root: Slot,
    pub(super) dev: Option<Slot>,
    /// One for each bind mount, in the specification's order.
    pub(super) sources: Vec<Slot>,
    pub(super) groups: &'a Groups,
}

/// A mount's options, sorted by who understands them.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `MOUNT_ATTR_*`.
    pub(super) attributes: u64,
    /// For the file system itself.
    pub(super) data: Vec<(CString, Option<CString>)>,
    pub(super) bind: bool,
    pub(super) recursive: bool,
}

/// The mount that makes /dev, if the specification has it.
pub(super) fn dev(spec: &Spec) -> Option<&Mount> {
    spec.mounts().iter().flatten().find(|mount| is_dev(mount))
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

fn is_dev(mount: &Mount) -> bool {
    mount.destination().as_os_str() == "/dev" && mount.typ().as_deref() == Some("tmpfs")
}

impl Options {
    pub(super) fn parse(mount: &Mount) -> Result<Options> {
        refused::mount(mount)?;
        let mut options = Options::default();
        for option in mount.options().iter().flatten() {
            options.take(option)?;
        }
        if mount.typ().as_deref() == Some("bind") {
            options.bind = true;
        }
        if let Some((option, _)) = options.data.first().filter(|_| options.bind) {
            let (option, destination) = (option.to_string_lossy(), mount.destination().display());
            return Err(Error::Plan(format!(
                "mount option `{option}` of the bind mount at `{destination}` is unknown"
            )));
        }
        Ok(options)
    }

    fn take(&mut self, option: &str) -> Result<()> {
        match option {
            "ro" => self.attributes |= sys::RDONLY,
            "nosuid" => self.attributes |= sys::NOSUID,
            "nodev" => self.attributes |= sys::NODEV,
            "noexec" => self.attributes |= sys::NOEXEC,
            "noatime" => self.attributes |= libc::MOUNT_ATTR_NOATIME,
            "strictatime" => self.attributes |= libc::MOUNT_ATTR_STRICTATIME,
            "nodiratime" => self.attributes |= libc::MOUNT_ATTR_NODIRATIME,
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            // The last word counts, as in mount(8).
            "rw" => self.attributes &= !sys::RDONLY,
            "suid" => self.attributes &= !sys::NOSUID,
            "dev" => self.attributes &= !sys::NODEV,
            "exec" => self.attributes &= !sys::NOEXEC,
            "atime" => self.attributes &= !libc::MOUNT_ATTR_NOATIME,
            "diratime" => self.attributes &= !libc::MOUNT_ATTR_NODIRATIME,
            // The defaults; every mount of ours is private from the start.
            "relatime" | "nostrictatime" | "defaults" | "private" | "rprivate" => {}
            "shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable" => {
                return Err(Error::Plan(format!("mount option `{option}`: only private mounts are supported yet")));
            }
            data => {
                let (key, value) = match data.split_once('=') {
                    Some((key, value)) => (key, Some(c_string(value, "a mount option")?)),
                    None => (data, None),
                };
                self.data.push((c_string(key, "a mount option")?, value));
            }
        }
        Ok(())
    }
}

impl Draft {
    pub(super) fn open_sources(&mut self, spec: &Spec) -> Result<Vec<Slot>> {
        let mut sources = Vec::new();
        for mount in spec.mounts().iter().flatten() {
            let options = Options::parse(mount)?;
            if !options.bind {
                continue;
            }
            let destination = mount.destination().display();
            let source = mount.source().as_ref();
            let source = source.ok_or_else(|| Error::Plan(format!("bind mount at `{destination}` has no source")))?;
            let into = self.slot();
            if let Some((namespace, path)) = elsewhere(source)? {
                let opened = self.slot();
                self.push(
                    Actor::Host,
                    Action::OpenNamespace { path: namespace, kind: LinuxNamespaceType::Mount as u64, into: opened },
                );
                self.borrows.push(Action::BorrowMount { namespace: opened, path, into });
                sources.push(into);
                continue;
            }
            let (recursive, attributes) = (options.recursive, options.attributes);
            self.push(Actor::Host, Action::OpenSource { path: c_path(source)?, recursive, attributes, into });
            sources.push(into);
        }
        Ok(sources)
    }

    pub(super) fn mount_all(
        &mut self,
        spec: &Spec,
        at: &Places<'_>,
        facts: &Facts,
        namespaces: &Namespaces,
    ) -> Result<()> {
        let mut sources = at.sources.iter();
        for mount in spec.mounts().iter().flatten() {
            let options = Options::parse(mount)?;
            let target = target(mount, at.root)?;
            if options.bind {
                let source = sources.next().ok_or_else(|| Error::Plan("a bind mount lost its source".into()))?;
                self.push(Actor::Child, Action::Attach { mount: *source, target });
                continue;
            }
            match mount.typ().as_deref().unwrap_or("none") {
                "tmpfs" if is_dev(mount) => {
                    let dev = at.dev.ok_or_else(|| Error::Plan("/dev was not made".into()))?;
                    self.push(Actor::Child, Action::Attach { mount: dev, target });
                }
                "cgroup" | "cgroup2" => self.cgroup_view(at.groups, &options, target, facts)?,
                "sysfs" if !may_mount_sysfs(namespaces) => {
                    self.push(Actor::Child, Action::BindSys { attributes: options.attributes, target });
                }
                kind @ ("proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue") => {
                    let (attributes, options) = (options.attributes, options.data);
                    let kind = c_string(kind, "a file system")?;
                    self.push(Actor::Child, Action::Mount { kind, options, attributes, target, into: None });
                }
                other => {
                    let destination = mount.destination().display();
                    return Err(Error::Plan(format!("mount of type `{other}` at `{destination}` is not supported")));
                }
            }
        }
        Ok(())
    }

    /// The container's own groups, read-only: one mount on v2, one for each joined hierarchy on v1.
    fn cgroup_view(&mut self, groups: &Groups, options: &Options, target: Target, facts: &Facts) -> Result<()> {
        let hidden = sys::NOSUID | sys::NODEV | sys::NOEXEC;
        let attributes = hidden | options.attributes;
        let pure = facts.cgroups.hierarchies.iter().all(|one| one.unified || one.controllers.is_empty());
        if groups.unified.is_some() && groups.tasks.is_empty() && pure {
            let kind = c_string("cgroup2", "a file system")?;
            self.push(Actor::Child, Action::Mount { kind, options: Vec::new(), attributes, target, into: None });
            return Ok(());
        }
        let tree = self.slot();
        let path = target.path.clone();
        let mode = (c_string("mode", "an option")?, Some(c_string("755", "an option")?));
        let kind = c_string("tmpfs", "a file system")?;
        let action = Action::Mount { kind, options: vec![mode], attributes: hidden, target, into: Some(tree) };
        self.push(Actor::Child, action);
        for (_, name, controllers) in &groups.tasks {
            let path = Beneath::new(name).map_err(|_| Error::Nul { what: "a controller" })?;
            let flags = controllers.iter().map(|name| Ok((c_string(name.as_str(), "a controller")?, None)));
            let options = flags.collect::<Result<_>>()?;
            let target = Target { base: tree, path, no_symlinks: true };
            let kind = c_string("cgroup", "a file system")?;
            self.push(Actor::Child, Action::Mount { kind, options, attributes, target, into: None });
        }
        if options.attributes & sys::RDONLY != 0 {
            self.push(Actor::Child, Action::Restrict { mount: tree, path, attributes: sys::RDONLY });
        }
        Ok(())
    }
}

/// What `/proc/PID/root/dev/shm` means: the mount namespace of another process, and the place in it. The kernel copies no
/// mount of another namespace by such a name, and shared memory is the one thing that sandboxes share so.
fn elsewhere(source: &std::path::Path) -> Result<Option<(CString, Beneath)>> {
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

/// The kernel mounts sysfs only for the owner of the network namespace it shows.
fn may_mount_sysfs(namespaces: &Namespaces) -> bool {
    !namespaces.has(LinuxNamespaceType::User) || namespaces.makes(LinuxNamespaceType::Network)
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
