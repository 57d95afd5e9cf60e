//! The zygote's one loop: requests of a host, reports of children, ends of children. Every outcome is recorded under
//! its id before anybody is answered, and kept until it is acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Dir, FileType, fstat, statat, unlinkat};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, connect, socket_with, sockopt::socket_peercred,
};
use rustix::process::{WaitOptions, getuid, wait};

use super::groups::Hierarchies;
use super::launch::Namespaces;
use super::protocol::{self, Event, Request};
use super::record::{Phase, Record};
use super::{Entry, LOG, SOCKET, wire};
use crate::facts::Facts;
use crate::sys;

mod answer;
mod children;

/// A zygote that holds nothing and has no host ends after this.
const LINGER: Duration = Duration::from_secs(10);

/// How long a connection waits that could not be accepted.
const DEAF: Duration = Duration::from_millis(200);

/// The run directory and the listening socket in it.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) folder: OwnedFd,
    pub(super) socket: OwnedFd,
}

/// What the zygote has found and opened of the machine before it serves.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) facts: Facts,
    pub(super) hierarchies: Hierarchies,
    /// A signalfd(2) that tells of children's ends.
    pub(super) signals: OwnedFd,
}

/// Everything the zygote knows.
#[derive(Debug)]
struct Zygote {
    facts: Facts,
    entries: &'static [Entry],
    records: BTreeMap<String, Record>,
    namespaces: Namespaces,
    hierarchies: Hierarchies,
    host: Option<Host>,
    /// Since when there has been nothing to do.
    idle_since: Instant,
    stopping: bool,
    /// The run directory.
    folder: OwnedFd,
    /// Until when nobody is accepted: a connection could not be, and would keep the loop turning.
    deaf_until: Option<Instant>,
}

/// The connected host; a new connection replaces it.
#[derive(Debug)]
struct Host {
    socket: OwnedFd,
    greeted: bool,
    /// What it has not read yet.
    outgoing: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

/// Serves until nothing is left to serve.
pub(super) fn serve(home: Home, machine: Machine, entries: &'static [Entry]) -> Result<()> {
    let signals = machine.signals;
    let mut zygote = Zygote {
        facts: machine.facts,
        entries,
        records: BTreeMap::new(),
        namespaces: Namespaces::default(),
        hierarchies: machine.hierarchies,
        host: None,
        idle_since: Instant::now(),
        stopping: false,
        folder: rustix::io::fcntl_dupfd_cloexec(&home.folder, 3)?,
        deaf_until: None,
    };
    while !zygote.finished() {
        zygote.turn(&home, &signals)?;
    }
    unlink_own(&home);
    Ok(())
}

/// What became ready in one turn of the loop.
#[derive(Debug, Default)]
struct Ready {
    connection: bool,
    signals: bool,
    readable: bool,
    writable: bool,
    children: Vec<String>,
}

impl Zygote {
    fn finished(&self) -> bool {
        // Who asks for the end no longer wants the exits that nobody has acknowledged.
        let over = self.records.values().all(|record| matches!(record.phase, Phase::Exited(_)));
        let idle = self.records.is_empty() && self.host.is_none() && self.idle_since.elapsed() >= LINGER;
        // A run directory that was removed is one that no host will ever come to.
        let lost = over && self.host.is_none() && fstat(&self.folder).is_ok_and(|stat| stat.st_nlink == 0);
        self.stopping && over || idle || lost
    }

    fn turn(&mut self, home: &Home, signals: &OwnedFd) -> Result<()> {
        let ready = self.poll(home, signals)?;
        if ready.signals {
            sys::drain_signals(signals.as_fd());
        }
        // Children first: what they said before they ended must be known when their end is.
        for id in &ready.children {
            self.hear(id);
        }
        if ready.signals {
            self.reap();
        }
        if ready.connection {
            self.accept(&home.socket);
        }
        if ready.writable {
            self.flush();
        }
        if ready.readable {
            self.read_requests();
        }
        if self.host.is_none() {
            self.forget_confined();
        }
        if self.host.is_some() || !self.records.is_empty() {
            self.idle_since = Instant::now();
        }
        Ok(())
    }

    fn poll(&self, home: &Home, signals: &OwnedFd) -> Result<Ready> {
        let talks: Vec<(&String, &OwnedFd)> =
            self.records.iter().filter_map(|(id, record)| record.talk.as_ref().map(|talk| (id, talk))).collect();
        let deaf = self.deaf_until.map(|until| until.saturating_duration_since(Instant::now()));
        let deaf = deaf.filter(|left| !left.is_zero());
        let listening = if deaf.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut fds = vec![PollFd::new(&home.socket, listening), PollFd::new(signals, PollFlags::IN)];
        if let Some(host) = &self.host {
            let more = if host.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::new(&host.socket, PollFlags::IN | more));
        }
        let hosts = fds.len();
        fds.extend(talks.iter().map(|(_, talk)| PollFd::new(*talk, PollFlags::IN)));
        // Without a host somebody has to look now and then whether there is still anything to be here for.
        let left = LINGER.saturating_sub(self.idle_since.elapsed()) + Duration::from_millis(1);
        let timeout = self.host.is_none().then_some(left);
        let timeout = timeout.into_iter().chain(deaf.map(|left| left + Duration::from_millis(1))).min();
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is = |at: usize, flags: PollFlags| fds.get(at).is_some_and(|fd| fd.revents().intersects(flags));
        let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let has_host = self.host.is_some();
        let spoke = talks.iter().enumerate().filter(|(at, _)| is(hosts + at, any));
        Ok(Ready {
            connection: is(0, any),
            signals: is(1, any),
            readable: has_host && is(2, any),
            writable: has_host && is(2, PollFlags::OUT),
            children: spoke.map(|(_, (id, _))| (*id).clone()).collect(),
        })
    }

    /// Takes the newest host; only this user's or root's.
    fn accept(&mut self, listener: &OwnedFd) {
        self.deaf_until = None;
        let socket = match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            // Gone again, or another signal first: the listener is well.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            // Out of descriptors or memory: the connection stays in line until there may be room.
            Err(_) => {
                self.deaf_until = Some(Instant::now() + DEAF);
                return;
            }
        };
        let peer = socket_peercred(&socket).map(|credentials| credentials.uid.as_raw());
        if peer.is_ok_and(|uid| uid == getuid().as_raw() || uid == 0) {
            self.host = Some(Host { socket, greeted: false, outgoing: VecDeque::new() });
        }
    }

    fn read_requests(&mut self) {
        while let Some(host) = &self.host {
            match wire::receive(&host.socket) {
                Ok(Some(packet)) => match protocol::decode::<Request>(&packet.body) {
                    Ok(request) => self.answer(request, packet.descriptors),
                    // A host that does not speak this wire is let go; it will say so itself.
                    Err(_) => self.host = None,
                },
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(None) | Err(_) => self.host = None,
            }
        }
    }

    /// Tells the host, if there is one; what it cannot take now waits.
    fn tell(&mut self, event: &Event, descriptors: &[BorrowedFd<'_>]) {
        let Ok(body) = protocol::encode(event) else { return };
        let Some(host) = &mut self.host else { return };
        if host.outgoing.is_empty() {
            match wire::send(&host.socket, &body, descriptors) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.host = None;
                    return;
                }
            }
        }
        let duplicates = descriptors.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3)).collect::<Result<_>>();
        match duplicates {
            Ok(duplicates) => host.outgoing.push_back((body, duplicates)),
            // Out of descriptors: a host that reconnects asks for the list again.
            Err(_) => self.host = None,
        }
    }

    fn flush(&mut self) {
        while let Some(host) = &mut self.host {
            let Some((body, descriptors)) = host.outgoing.front() else { return };
            let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match wire::send(&host.socket, body, &descriptors) {
                Ok(()) => drop(host.outgoing.pop_front()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.host = None,
            }
        }
    }

    /// Records the end of every child that has ended.
    fn reap(&mut self) {
        // A child's last words may have come after the poll.
        let talking: Vec<String> =
            self.records.iter().filter(|(_, record)| record.talk.is_some()).map(|(id, _)| id.clone()).collect();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            for id in &talking {
                self.hear(id);
            }
            // Helpers and holders of namespaces have no record.
            let Some(record) = self.records.values_mut().find(|record| record.pid == Some(pid)) else { continue };
            let exit = record.exit(status);
            let id = record.id.clone();
            let before = std::mem::replace(&mut record.phase, Phase::Exited(exit));
            record.plan = None;
            record.talk = None;
            self.ended(&id, before, exit);
        }
    }
}

/// Removes the socket's name, those of what ended before us, and an empty log. A newer zygote that has put its own there
/// was started by somebody who connected to ours in vain, which happens only after our end; the run directory's lock
/// keeps two starters apart.
fn unlink_own(home: &Home) {
    let _ = unlinkat(&home.folder, SOCKET, AtFlags::empty());
    unlink_dead_sockets(&home.folder);
    // A log with something in it stays for whoever wonders.
    if statat(&home.folder, LOG, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|log| log.st_size == 0) {
        let _ = unlinkat(&home.folder, LOG, AtFlags::empty());
    }
}

/// Removes the names on which nobody listens: code of our own that is confined cannot remove its own.
fn unlink_dead_sockets(folder: &OwnedFd) {
    let Ok(entries) = Dir::read_from(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type() == FileType::Socket) {
        if is_dead(folder, entry.file_name()) {
            let _ = unlinkat(folder, entry.file_name(), AtFlags::empty());
        }
    }
}

fn is_dead(folder: &OwnedFd, name: &CStr) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let Ok(socket) = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None) else { return false };
    let path = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), name.to_string_lossy());
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    connect(&socket, &address) == Err(Errno::CONNREFUSED)
}
