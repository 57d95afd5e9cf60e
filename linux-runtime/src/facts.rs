//! What this machine allows this user, found by trying, once. Plans are lowered with facts, so that lowering is pure.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::{getgid, getuid};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use crate::cgroup::Layout;
use crate::step::Lower;

mod probe;

/// What was found. Privilege is decided by trying, never by uid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The user the zygote runs as.
    pub uid: u32,
    pub gid: u32,
    /// Mount, pid, network, ipc and uts namespaces without a user namespace.
    pub namespaces: bool,
    /// A user namespace with 65536 mapped ids, and idmapped mounts of a common file system.
    pub mapped_namespaces: bool,
    /// A user namespace with only the caller's own id, in which a file system can be mounted.
    pub own_namespace: bool,
    /// How an overlay can be mounted, if it can.
    pub overlay: Option<Lower>,
    /// The cgroup hierarchies.
    pub cgroups: Layout,
    /// The capabilities that can be given or used, a bit each (linux/capability.h).
    pub capabilities: u64,
    /// Security modules that confine by label.
    pub apparmor: bool,
    pub selinux: bool,
    /// Device nodes can be made and then opened: not from a user namespace.
    pub devices: bool,
}

impl Facts {
    /// Tries everything. The caller must be single-threaded: attempts are made in forked children.
    pub fn probe() -> Facts {
        let namespaces = probe::namespaces();
        Facts {
            kernel: kernel_version(),
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            namespaces,
            mapped_namespaces: namespaces && probe::mapped_namespaces(),
            own_namespace: probe::own_namespace(),
            overlay: if namespaces { probe::overlay() } else { None },
            cgroups: Layout::here(),
            apparmor: apparmor(),
            selinux: selinux(),
            capabilities: rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits()),
            devices: devices(),
        }
    }

    /// What can be known without trying, for who makes one sandbox and hears of every step that fails: probing costs more than
    /// such a start.
    pub fn assumed() -> Facts {
        Facts {
            kernel: kernel_version(),
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            namespaces: true,
            mapped_namespaces: true,
            own_namespace: true,
            overlay: None,
            cgroups: Layout::here(),
            apparmor: apparmor(),
            selinux: selinux(),
            capabilities: rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits()),
            devices: devices(),
        }
    }

    /// Whether this process is in another user namespace than the machine's first.
    pub fn in_user_namespace() -> bool {
        fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() != FIRST_USER_NAMESPACE)
    }

    /// Whether namespaces and mounts can be made without a user namespace.
    pub(crate) fn administers(&self) -> bool {
        self.namespaces && self.capabilities & CapabilitySet::SYS_ADMIN.bits() != 0
    }

    /// Whether any ids may be mapped, not only the caller's own.
    pub(crate) fn may_map(&self) -> bool {
        let both = (CapabilitySet::SETUID | CapabilitySet::SETGID).bits();
        self.capabilities & both == both
    }

    /// Whether mount_setattr(2) is there (Linux 5.12); without it only attached mounts change.
    pub(crate) fn changes_mounts(&self) -> bool {
        self.kernel >= (5, 12)
    }

    /// Why no path inside a container could be resolved safely, in one sentence.
    pub(crate) fn lacks_handles(&self) -> Option<String> {
        (self.kernel < (5, 6)).then(|| "this kernel has no openat2(2): Linux 5.6 is needed".to_owned())
    }

    /// Why native containers cannot run here, in one sentence.
    pub fn lacks_native(&self) -> Option<String> {
        if !self.namespaces {
            return Some("this user may not make namespaces: CAP_SYS_ADMIN is missing".to_owned());
        }
        if self.overlay.is_none() {
            return Some("this kernel mounts no overlay here".to_owned());
        }
        None
    }

    /// Why native containers under a user namespace cannot run here, in one sentence.
    pub fn lacks_user_namespace(&self) -> Option<String> {
        self.lacks_native().or_else(|| {
            (!self.mapped_namespaces)
                .then(|| "this kernel or user has no user namespaces with idmapped mounts (Linux 5.19)".to_owned())
        })
    }
}

fn apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// selinuxfs is mounted where it is enabled.
fn selinux() -> bool {
    fs::exists("/sys/fs/selinux/enforce").unwrap_or(false)
}

/// The first user namespace (linux/proc_ns.h).
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

fn devices() -> bool {
    let capable = rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::MKNOD));
    capable && !Facts::in_user_namespace()
}

fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
