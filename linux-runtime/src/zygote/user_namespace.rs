//! A user namespace as a descriptor, for translating owners; nobody lives in it.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Result;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::init::write_maps;
use crate::step::IdMap;
use crate::sys::{self, Clone, Cloned};

/// Makes a user namespace with these maps. Its only process ends when the descriptor has been taken; whoever reaps
/// children reaps it.
pub(crate) fn user_namespace(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::clone3(Clone { flags: libc::CLONE_NEWUSER as u64, cgroup: None })? {
        Cloned::Child => {
            drop(write);
            // Ends when the parent has what it wants, or is gone.
            let _ = rustix::io::read(&read, &mut [0; 1]);
            sys::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            write_maps(pid, uids, gids, false)?;
            let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
            let namespace = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            drop(write);
            Ok(namespace)
        }
    }
}
