//! Seccomp user notification, seen from whoever makes a container: the listener of a process's filter is handed to the agent
//! that the specification names (config-linux.md, "The Container Process State").

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};

/// Sends a listener to the agent at `path` (`linux.seccomp.listenerPath`) with the container process state, as JSON: one state, one
/// connection, one descriptor, whose name `state` gives as `seccompFd`.
///
/// # Errors
/// The kernel's: nobody listens there, or has gone before all was read.
pub fn send(path: &Path, listener: BorrowedFd<'_>, state: &[u8]) -> Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let descriptors = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let mut sent = sendmsg(socket.as_fd(), &[IoSlice::new(state)], &mut control, SendFlags::NOSIGNAL)?;
    // The descriptor goes with the first byte; a long state may need more than one call.
    while sent < state.len() {
        let more = rustix::net::send(&socket, &state[sent..], SendFlags::NOSIGNAL)?;
        if more == 0 {
            return Err(Error::from(ErrorKind::WriteZero));
        }
        sent += more;
    }
    Ok(())
}
