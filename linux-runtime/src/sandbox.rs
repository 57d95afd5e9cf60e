//! A sandbox that the calling process makes itself, without a zygote: for `proa-linux`, whose callers (conmon, a shim of
//! containerd's) want its processes among their own descendants. The caller must be single-threaded, as a zygote is; it
//! hears the child step by step and answers where the child waits.
//!
//! ```text
//! Sandbox::create --> Terminal?  Hooks? (go_on)  Ready
//! go_on           --> Executed                    or by somebody else: start_at
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{
    DumpableBehavior, Pid, PidfdGetfdFlags, WaitId, WaitIdOptions, pidfd_getfd, set_dumpable_behavior, waitid,
};

use crate::error::{Error, Result};
use crate::failure;
use crate::init::report::{self, Report};
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::zygote::{Launched, Namespaces, launch};

/// A process on its way to being a guest, and the talk with it.
#[derive(Debug)]
pub struct Sandbox {
    plan: Plan,
    pid: Pid,
    pidfd: OwnedFd,
    talk: OwnedFd,
    /// What the child said before the helper told of it.
    early: VecDeque<Message>,
}

/// A report and what came along.
type Message = (Report, Option<OwnedFd>);

/// What a child says.
#[derive(Debug)]
pub enum Told {
    /// Its namespaces and mounts stand: the runtime's hooks may run, then [`Sandbox::go_on`].
    Hooks,
    /// The master of its terminal.
    Terminal(OwnedFd),
    /// The listener of its filter: an agent is to have it, then [`Sandbox::go_on`].
    Listener(OwnedFd),
    /// It waits to be started.
    Ready,
    /// It is its program now, or has ended.
    Executed,
}

impl Sandbox {
    /// Makes the process of `plan`; returns when its pid is known.
    ///
    /// # Errors
    /// `Refused` with the step that failed, as a sentence.
    pub fn create(plan: Plan, prepared: Prepared) -> Result<Sandbox> {
        // A process in the container must not reach this program through /proc/PID/exe (CVE-2019-5736, CVE-2016-9962).
        // An ordinary user's stays dumpable, or it could not write its child's maps.
        if rustix::process::geteuid().is_root() {
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        let mut table: Vec<Option<OwnedFd>> = Vec::new();
        table.resize_with(usize::from(plan.slots), || None);
        for (slot, fd) in prepared.slots.into_iter().zip(prepared.descriptors) {
            if let Some(place) = table.get_mut(usize::from(slot.0)) {
                *place = Some(fd);
            }
        }
        let launched = launch(&plan, table, Vec::new(), &mut Namespaces::default(), &[]);
        let launched = launched.map_err(|(step, errno)| Error::Refused(failure::failure(&plan, step, errno)))?;
        let Launched { child, helper, talk, .. } = launched;
        let mut early = VecDeque::new();
        let child = child.map_or_else(|| born(&plan, talk.as_fd(), &mut early), Ok);
        if let Some(helper) = helper {
            // It ends when it has made the child, and nobody else would reap it.
            let _ = retry_on_intr(|| waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED));
        }
        let (pid, pidfd) = child?;
        Ok(Sandbox { plan, pid, pidfd, talk, early })
    }

    /// By the numbers of this process's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for what the child says next.
    ///
    /// # Errors
    /// `Refused` with the step that failed, as a sentence.
    pub fn hear(&mut self) -> Result<Told> {
        let message = match self.early.pop_front() {
            Some(message) => Some(message),
            None => next(self.talk.as_fd())?,
        };
        match message {
            Some((Report::Hooks, _)) => Ok(Told::Hooks),
            Some((Report::Ready, _)) => Ok(Told::Ready),
            Some((Report::Terminal, Some(master))) => Ok(Told::Terminal(master)),
            Some((Report::Listener { number }, _)) => {
                let taken = pidfd_getfd(&self.pidfd, number, PidfdGetfdFlags::empty());
                taken.map(Told::Listener).map_err(wire)
            }
            Some((Report::Failed { step, errno }, _)) => Err(refused(&self.plan, step, errno)),
            Some(_) => Err(wire(Errno::PROTO)),
            None => Ok(Told::Executed),
        }
    }

    /// Lets a child go on that waits for hooks, for its listener to be taken, or for its start.
    ///
    /// # Errors
    /// `Wire` when it is gone.
    pub fn go_on(&self) -> Result<()> {
        rustix::net::send(&self.talk, b"s", SendFlags::NOSIGNAL).map(drop).map_err(wire)
    }
}

/// A socket in `folder` that a child waits at for its start: only who may enter the folder can start it.
///
/// # Errors
/// The kernel's.
pub fn listener(folder: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address(folder, name)?)?;
    listen(&socket, 1)?;
    Ok(socket)
}

/// Starts the child that waits at the socket `name` in `folder`, and waits until it is its program.
///
/// # Errors
/// `Wire` when nobody waits there; `Refused` with the step that failed, of `plan`, which is made where it is needed.
pub fn start_at(folder: BorrowedFd<'_>, name: &str, plan: impl FnOnce() -> Result<Plan>) -> Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(wire)?;
    connect(&socket, &address(folder, name).map_err(wire)?).map_err(wire)?;
    match next(socket.as_fd())? {
        Some((Report::Failed { step, errno }, _)) => Err(refused(&plan()?, step, errno)),
        Some(_) => Err(wire(Errno::PROTO)),
        None => Ok(()),
    }
}

/// A socket's name through a descriptor of its folder, so that a deep folder does not meet the 108 bytes of an address.
fn address(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// The child that the helper has made; it may speak before the helper tells of it.
fn born(plan: &Plan, talk: BorrowedFd<'_>, early: &mut VecDeque<Message>) -> Result<(Pid, OwnedFd)> {
    loop {
        match next(talk)? {
            Some((Report::Cloned { pid }, Some(pidfd))) => {
                return Ok((Pid::from_raw(pid).ok_or_else(|| wire(Errno::SRCH))?, pidfd));
            }
            Some((Report::Failed { step, errno }, _)) => return Err(refused(plan, step, errno)),
            Some(message) => early.push_back(message),
            None => return Err(wire(Errno::CHILD)),
        }
    }
}

fn next(talk: BorrowedFd<'_>) -> Result<Option<Message>> {
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(talk, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(wire(errno)),
        }
        match report::receive(talk) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other.map_err(wire),
        }
    }
}

fn refused(plan: &Plan, step: u32, errno: i32) -> Error {
    Error::Refused(failure::failure(plan, step as usize, Errno::from_raw_os_error(errno)))
}

fn wire(errno: Errno) -> Error {
    Error::Wire { what: "hear the child", source: errno.into() }
}
