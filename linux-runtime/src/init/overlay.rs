//! The root from layers: overlayfs by descriptors where the kernel takes them, by relative names where it does not.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Result;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::text::Text;
use super::{Context, mounts};
use crate::step::{Lower, Slot};
use crate::zygote::LAYERS;

/// A page, which is what mount(2) takes.
type Options = Text<4096>;

/// Mounts the overlay, detached. `lower` is lowest first, as images count their layers.
///
/// No device in it can be opened: an image may bring a node of the machine's disk, and no controller keeps the guest from
/// it where there are cgroups v2 alone or none. The container's own devices stand in /dev, a mount of ours.
pub(super) fn mount(context: &Context<'_>, lower: &[Slot], scratch: Slot, place: Lower) -> Result<OwnedFd> {
    match place {
        Lower::Detached => detached(context, lower, scratch),
        Lower::Attached => attached(context, lower, scratch),
    }
}

/// Layers are detached mounts named through /proc/self/fd, one by one (`lowerdir+`, Linux 6.7; accepted from a
/// namespace of their own since 6.15).
fn detached(context: &Context<'_>, lower: &[Slot], scratch: Slot) -> Result<OwnedFd> {
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let path = |key: &std::ffi::CStr, slot: Slot, name: &[u8]| {
        let mut text = Text::<64>::new();
        text.push(b"/proc/self/fd/")?.number(context.slot(slot)?.as_raw_fd() as u32)?.push(name)?;
        fsconfig_set_string(overlay.as_fd(), key, text.as_c_str()?)
    };
    for slot in lower.iter().rev() {
        path(c"lowerdir+", *slot, b"")?;
    }
    path(c"upperdir", scratch, b"/upper")?;
    path(c"workdir", scratch, b"/work")?;
    fsconfig_create(overlay.as_fd())?;
    fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// Older kernels want every layer mounted in the caller's namespace: on a tmpfs of this namespace, which ends with it.
/// Names are relative, since mount(2) takes one page of options whatever the number of layers.
fn attached(context: &Context<'_>, lower: &[Slot], scratch: Slot) -> Result<OwnedFd> {
    let place = mounts::make(c"tmpfs", &[], 0)?;
    let point = openat(CWD, LAYERS, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mounts::attach_to(place.as_fd(), point.as_fd())?;
    let attach = |slot: Slot, name: &std::ffi::CStr| -> Result<()> {
        mkdirat(&place, name, Mode::from_raw_mode(0o700))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let point = openat(&place, name, flags, Mode::empty())?;
        mounts::attach_to(context.slot(slot)?, point.as_fd())
    };
    let mut options = Options::new();
    options.push(b"lowerdir=")?;
    for (at, slot) in lower.iter().enumerate().rev() {
        let mut name = Text::<16>::new();
        attach(*slot, name.number(at as u32)?.as_c_str()?)?;
        options.number(at as u32)?.push(if at == 0 { b"" } else { b":" })?;
    }
    attach(scratch, c"s")?;
    options.push(b",upperdir=s/upper,workdir=s/work")?;
    mkdirat(&place, c"root", Mode::from_raw_mode(0o700))?;
    let before = openat(CWD, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(&place)?;
    rustix::mount::mount(c"overlay", c"root", c"overlay", MountFlags::NODEV, options.as_c_str()?)?;
    let root = open_tree(&place, c"root", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    rustix::process::fchdir(before)?;
    Ok(root)
}
