//! Who the guest is: ids, capabilities, limits.

use std::ffi::CStr;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::sys;

/// By the kernel's numbers (asm-generic/resource.h).
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// No kernel has more capabilities.
const CAPABILITIES: u32 = 64;

/// Root of its own user namespace. These calls concern the calling thread, which is the only one.
pub(super) fn become_root() -> Result<()> {
    match set_thread_groups(&[]) {
        // An ordinary user's namespace denies setgroups for good (user_namespaces(7)); the groups stay outsiders.
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// The guest's user; permitted capabilities outlive the change until they are set.
pub(super) fn user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    // Before the group and the user, with whom the right to goes.
    match sys::set_groups(groups) {
        // Who may change groups and is refused all the same is in a namespace that denies it for good
        // (user_namespaces(7)): an ordinary user's, whose groups are nobody's inside.
        Err(Errno::PERM) if groups.is_empty() && may_change_groups()? => {}
        other => other?,
    }
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

fn may_change_groups() -> Result<bool> {
    Ok(rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::SETGID))
}

/// Drops every other capability from the bounding set.
pub(super) fn bound(keep: u64) -> Result<()> {
    for number in (0..CAPABILITIES).filter(|number| keep >> number & 1 == 0) {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // The kernel has no more of them.
            Err(Errno::INVAL) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// Sets the four other sets. What the zygote itself lacks cannot be given and is left out, as Docker does.
pub(super) fn capabilities(effective: u64, permitted: u64, inheritable: u64, ambient: u64) -> Result<()> {
    let owned = rustix::thread::capabilities(None)?.permitted.bits();
    let set = |bits: u64| CapabilitySet::from_bits_retain(bits & owned);
    let sets = CapabilitySets {
        effective: set(effective & permitted),
        permitted: set(permitted),
        inheritable: set(inheritable),
    };
    set_capabilities(None, sets)?;
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let ambient = ambient & permitted & inheritable & owned;
    for number in (0..CAPABILITIES).filter(|number| ambient >> number & 1 == 1) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)?;
    }
    Ok(())
}

/// A resource limit. Without CAP_SYS_RESOURCE no hard limit rises: then this fails, and the sentence says why.
pub(super) fn limit(resource: u8, soft: u64, hard: u64) -> Result<()> {
    let resource = *RESOURCES.get(usize::from(resource)).ok_or(Errno::INVAL)?;
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    setrlimit(resource, Rlimit { current: finite(soft), maximum: finite(hard) })
}

/// Without CAP_SYS_RESOURCE the kernel refuses a value below the inherited one: then that stays.
pub(super) fn oom_score(value: &CStr) -> Result<()> {
    let file = openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::io::write(file, value.to_bytes()) {
        Ok(_) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}
