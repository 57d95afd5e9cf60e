//! This program as a file that no container can write to (CVE-2019-5736): a guest that is told to execute /proc/self/exe
//! runs this program once more and keeps a descriptor of it, by which it could write when nobody runs it any longer. A
//! descriptor of a read-only mount stays read-only, so the program executes itself again from a detached one.

use std::env;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Goes on as this program from a read-only mount; comes back when it already is, or when this user may make no mounts: then
/// it may not write the file either, and neither may a guest that is nobody outside.
pub(super) fn protect() -> io::Result<()> {
    let own = "/proc/self/exe";
    if statvfs(own)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let program = proa_linux::zygote::detached_program().map_err(io::Error::other)?;
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    if !statvfs(&path)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "proa-linux".into());
    Err(Command::new(path).arg0(name).args(arguments).exec())
}
