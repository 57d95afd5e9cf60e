//! A SOCK_SEQPACKET socket under tokio: one postcard message a packet, descriptors beside it.
//!
//! The kernel keeps the boundaries of packets, so there is no length prefix; an empty packet is the end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::descriptor::watch;

/// Largest packet, in bytes.
pub const PACKET: usize = 64 << 10;

/// Most descriptors beside one packet (the kernel's SCM_MAX_FD).
pub const DESCRIPTORS: usize = 253;

/// One end of a connection. Sending and receiving may happen at once, each by one task.
#[derive(Debug)]
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
    /// Holds a packet while it is taken apart.
    packet: Mutex<Vec<u8>>,
}

impl Channel {
    /// Takes a connected socket, which becomes non-blocking. Must be called on a tokio runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Channel> {
        let socket = watch(socket, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Channel { socket, packet: Mutex::new(vec![0; PACKET]) })
    }

    /// Sends one message; waits while the peer does not read. Cancel safe: all of it is sent or nothing.
    pub async fn send(&self, message: &(impl Serialize + Sync), descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = postcard::to_stdvec(message).map_err(io::Error::other)?;
        if packet.len() > PACKET || descriptors.len() > DESCRIPTORS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large for one packet"));
        }
        loop {
            let mut guard = self.socket.writable().await?;
            match guard.try_io(|socket| send_packet(socket.as_fd(), &packet, descriptors)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// The next message and its descriptors; `None` when the peer is gone. Cancel safe.
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut reset = false;
        loop {
            let mut guard = self.socket.readable().await?;
            let mut packet = self.packet.lock().unwrap_or_else(PoisonError::into_inner);
            let (length, descriptors) = match guard.try_io(|socket| receive_packet(socket.as_fd(), &mut packet)) {
                // The peer died before it read all; the kernel says so once, and what it sent before is still here.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset && !reset => {
                    reset = true;
                    continue;
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(result) => result?,
                Err(_would_block) => continue,
            };
            if length == 0 {
                return Ok(None);
            }
            let message = postcard::from_bytes(&packet[..length]).map_err(io::Error::other)?;
            return Ok(Some((message, descriptors)));
        }
    }

    /// The process at the other end.
    pub fn peer(&self) -> io::Result<rustix::process::Pid> {
        Ok(rustix::net::sockopt::socket_peercred(&self.socket)?.pid)
    }
}

fn send_packet(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_packet(socket: BorrowedFd<'_>, packet: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // Truncated descriptors (a full table) would make a plan's handles shift: refuse the message.
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet was cut short"));
    }
    Ok((received.bytes, descriptors))
}
