//! The label of the next execve, given to the kernel through /proc: the runtime's own, at this point, which is verified all
//! the same (CVE-2019-16884, CVE-2025-52881).

use std::ffi::CStr;

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};
use rustix::io::{Errno, Result};

use crate::step::SecurityModule;

const PROC_MAGIC: i64 = 0x9fa0;

/// Asks `module` to confine the calling thread by `label` at its next execve.
pub(super) fn ask(module: SecurityModule, label: &CStr) -> Result<()> {
    let names: &[&CStr] = match module {
        // Its own file, which several modules at once leave it (Linux 5.8).
        SecurityModule::AppArmor => &[c"/proc/thread-self/attr/apparmor/exec", c"/proc/thread-self/attr/exec"],
        SecurityModule::SeLinux => &[c"/proc/thread-self/attr/exec"],
    };
    let mut last = Errno::NOENT;
    for name in names {
        match openat(CWD, *name, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) if fstatfs(&file)?.f_type as i64 != PROC_MAGIC => return Err(Errno::XDEV),
            Ok(file) => return rustix::io::write(&file, label.to_bytes()).map(drop),
            Err(errno) => last = errno,
        }
    }
    Err(last)
}
