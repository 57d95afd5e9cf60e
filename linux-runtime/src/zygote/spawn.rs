//! Starts a zygote: the host's side. The program is re-executed from a held descriptor, never from a path.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::{Error, Result};
use crate::sys::{self, MountAttributes};

/// The zygote's socket in the run directory.
pub const SOCKET: &str = "zygote.sock";
/// The name of its log in the run directory.
pub(super) const LOG: &str = "zygote.log";

/// This program, as a descriptor to execute: where privilege allows, on a detached read-only mount of its own, so that
/// nothing that reaches it through /proc/PID/exe can write to the file (CVE-2019-5736).
pub fn detached_program() -> Result<OwnedFd> {
    let failed = |what| move |errno: rustix::io::Errno| Error::Zygote { what, source: errno.into() };
    let path = c"/proc/self/exe";
    let plain = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let plain = plain.map_err(failed("open this program"))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let Ok(clone) = open_tree(CWD, path, flags) else { return Ok(plain) };
    let attributes = MountAttributes { set: sys::RDONLY | sys::NODEV | sys::NOSUID, ..Default::default() };
    Ok(if sys::mount_setattr(clone.as_fd(), attributes).is_ok() { clone } else { plain })
}

/// Starts a zygote in the run directory `run`; returns when its socket listens. What it has to say about its own
/// troubles goes to `run`/zygote.log.
///
/// # Errors
/// `Zygote` when the program cannot be started or does not come up.
pub fn spawn(run: &Path) -> Result<()> {
    let failed = |what| move |source| Error::Zygote { what, source };
    let program = detached_program()?;
    let log = File::options().create(true).append(true).open(run.join(LOG));
    let log = log.map_err(failed("open its log"))?;
    let status = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("proa")
        .arg("zygote")
        // Every worker is a copy of the zygote: the starter's environment is none of its business.
        .env_clear()
        .current_dir(run)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .status()
        .map_err(failed("execute this program"))?;
    if status.success() {
        return Ok(());
    }
    let source = std::io::Error::other(format!("it ended with {status}; see `{}`", run.join(LOG).display()));
    Err(Error::Zygote { what: "wait until it listens", source })
}
