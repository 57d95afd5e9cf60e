//! From a started program to a zygote: socket, session, cgroups, mount namespace, signals.

use std::fs;
use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Result;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior, setsid, umask};

use super::groups::Hierarchies;
use super::serve::{Home, Machine, serve};
use super::{Entry, SOCKET, nest};
use crate::cgroup;
use crate::facts::Facts;
use crate::sys;

pub(super) fn main(entries: &'static [Entry]) -> ExitCode {
    sys::wipe_what_is_freed(true);
    // Nothing of the starter's is kept but the standard streams.
    let started = sys::seal_or_close(3, 0).and_then(|()| listener()).and_then(|home| match sys::fork()? {
        Some(_) => Ok(None),
        None => Ok(Some(home)),
    });
    match started {
        // The starter sees success when the socket listens.
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(home)) => run(home, entries),
        Err(errno) => {
            eprintln!("proa zygote: listen on `{SOCKET}`: {errno}");
            ExitCode::FAILURE
        }
    }
}

fn listener() -> Result<Home> {
    let folder = openat(CWD, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // The starter holds the run directory's lock and found nobody listening.
    match unlinkat(&folder, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    umask(Mode::from_raw_mode(0o077));
    // A relative name, so that a deep root does not meet the 108 bytes of a socket's address.
    bind(&socket, &SocketAddrUnix::new(SOCKET)?)?;
    listen(&socket, 8)?;
    Ok(Home { folder, socket })
}

fn run(home: Home, entries: &'static [Entry]) -> ExitCode {
    match settle().and_then(|machine| serve(home, machine, entries)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            eprintln!("proa zygote: {errno}");
            ExitCode::FAILURE
        }
    }
}

/// Leaves the starter's session, cgroups and mounts. Probing comes first: it wants the starter's view.
fn settle() -> Result<Machine> {
    setsid()?;
    sys::block_all();
    let mut facts = Facts::probe();
    cgroup::leave(&facts.cgroups);
    let hierarchies = Hierarchies::open(&facts.cgroups);
    // Guests' modes are their own business.
    umask(Mode::empty());
    if facts.namespaces {
        match nest::settle() {
            Ok(()) => {
                // Nobody reads the zygote's memory or reaches its program through a child's /proc/PID/exe
                // (CVE-2019-5736). An ordinary user's zygote stays dumpable, or it could not write its children's maps.
                set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            }
            Err(errno) => {
                eprintln!("proa zygote: settle in a mount namespace: {errno}");
                facts.namespaces = false;
                facts.mapped_namespaces = false;
                facts.overlay = None;
            }
        }
    }
    // Grandchildren whose parents end (a container without a pid namespace has such) come here to be reaped.
    set_child_subreaper(Some(getpid()))?;
    let signals = sys::signal_descriptor()?;
    drop(fs::write("/proc/self/comm", "proa-zygote"));
    Ok(Machine { facts, hierarchies, signals })
}
