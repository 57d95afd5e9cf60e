//! A host that waits: for `proa-linux` and for tests. Doors with many sandboxes drive the wire with their own reactor.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::protocol::{Event, Exit, Request, VERSION, decode, encode};
use super::{SOCKET, wire};
use crate::error::{Error, Result};
use crate::facts::Facts;

/// One connection to a zygote.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    tickets: u32,
    exits: HashMap<String, Exit>,
}

impl Client {
    /// Connects to the zygote of the run directory `run`.
    pub fn connect(run: &Path) -> Result<(Client, Facts)> {
        let failed = |errno: rustix::io::Errno| Error::Wire { what: "connect", source: errno.into() };
        let folder = openat(CWD, run, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let folder = folder.map_err(failed)?;
        let name = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        let address = SocketAddrUnix::new(name).map_err(failed)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let socket = socket.map_err(failed)?;
        connect(&socket, &address).map_err(failed)?;
        let mut client = Client { socket, tickets: 0, exits: HashMap::new() };
        match client.ask(|ticket| Request::Hello { ticket, version: VERSION }, &[])? {
            (Event::Hello { facts, .. }, _) => Ok((client, facts)),
            _ => Err(unexpected()),
        }
    }

    /// One request, one answer; a refusal is an error with its sentence.
    pub fn ask(
        &mut self,
        request: impl FnOnce(u32) -> Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Event, Vec<OwnedFd>)> {
        self.tickets += 1;
        let ticket = self.tickets;
        let body = encode(&request(ticket))?;
        wire::send(&self.socket, &body, descriptors).map_err(|source| Error::Wire { what: "send", source })?;
        loop {
            let (event, descriptors) = self.next()?;
            match event {
                Event::Refused { ticket: to, failure } if to == ticket => return Err(Error::Refused(failure)),
                event if event.ticket() == Some(ticket) => return Ok((event, descriptors)),
                _ => {}
            }
        }
    }

    /// Everything the zygote holds: items with their descriptors.
    pub fn list(&mut self) -> Result<Vec<(Event, Vec<OwnedFd>)>> {
        let (mut event, mut descriptors) = self.ask(|ticket| Request::List { ticket }, &[])?;
        let mut items = Vec::new();
        while !matches!(event, Event::Done { .. }) {
            items.push((event, descriptors));
            (event, descriptors) = self.next()?;
        }
        Ok(items)
    }

    /// Waits for the end of a sandbox created over this connection; tells it once.
    pub fn exit(&mut self, id: &str) -> Result<Exit> {
        loop {
            if let Some(exit) = self.exits.remove(id) {
                return Ok(exit);
            }
            self.next()?;
        }
    }

    /// Waits until the zygote has ended.
    pub fn ended(mut self) {
        while self.next().is_ok() {}
    }

    fn next(&mut self) -> Result<(Event, Vec<OwnedFd>)> {
        let wire = |source| Error::Wire { what: "receive", source };
        loop {
            let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(wire(errno.into())),
            }
            let packet = match wire::receive(&self.socket) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                other => other.map_err(wire)?.ok_or_else(|| wire(std::io::ErrorKind::UnexpectedEof.into()))?,
            };
            let event = decode(&packet.body)?;
            if let Event::Exited { id, exit } = &event {
                self.exits.insert(id.clone(), *exit);
            }
            return Ok((event, packet.descriptors));
        }
    }
}

fn unexpected() -> Error {
    Error::Wire { what: "understand an answer", source: std::io::ErrorKind::InvalidData.into() }
}
