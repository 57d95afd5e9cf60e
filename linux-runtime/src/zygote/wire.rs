//! Packets with descriptors over a SOCK_SEQPACKET socket: the kernel keeps message boundaries, a body above 64 KiB
//! travels in a memfd. Never waits; knows nothing of what the messages mean.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Bodies up to this many bytes travel in the packet itself.
const INLINE: usize = 64 << 10;
/// The kernel's limit of descriptors in one message.
const DESCRIPTORS: usize = 253;
/// No message of ours comes near this; a body that claims more is refused.
const LARGEST_BODY: u64 = 64 << 20;

/// A message and the descriptors that go with it.
#[derive(Debug, Default)]
pub struct Packet {
    pub body: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// Sends a packet whole or not at all.
///
/// # Errors
/// `WouldBlock` when the peer does not read; `InvalidInput` for more than 252 descriptors.
pub fn send(socket: impl AsFd, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    if body.len() <= INLINE {
        return send_packet(socket.as_fd(), 0, body, descriptors);
    }
    let mut file = File::from(memfd_create(c"proa-message", MemfdFlags::CLOEXEC)?);
    file.write_all(body)?;
    let mut all = vec![file.as_fd()];
    all.extend_from_slice(descriptors);
    send_packet(socket.as_fd(), 1, &[], &all)
}

fn send_packet(socket: BorrowedFd<'_>, kind: u8, body: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    if fds.len() > DESCRIPTORS {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "more descriptors than one message carries"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let parts = [IoSlice::new(std::slice::from_ref(&kind)), IoSlice::new(body)];
    sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// The next packet; `None` when the peer has closed.
///
/// # Errors
/// `WouldBlock` when there is none now; `InvalidData` when a packet was cut off.
pub fn receive(socket: impl AsFd) -> std::io::Result<Option<Packet>> {
    let mut kind = [0_u8; 1];
    let mut body = vec![0; INLINE + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut kind), IoSliceMut::new(&mut body)];
    let message = match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
        // The peer went away with unread messages of ours: for a reader that is the end.
        Err(Errno::CONNRESET) => return Ok(None),
        other => other?,
    };
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a packet was cut off"));
    }
    if kind[0] == 0 {
        body.truncate(message.bytes - 1);
        return Ok(Some(Packet { body, descriptors }));
    }
    if descriptors.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a packet came without its body"));
    }
    let body = read_spilled(descriptors.remove(0))?;
    Ok(Some(Packet { body, descriptors }))
}

fn read_spilled(file: OwnedFd) -> std::io::Result<Vec<u8>> {
    let mut file = File::from(file);
    file.seek(SeekFrom::Start(0))?;
    let mut body = Vec::new();
    file.take(LARGEST_BODY).read_to_end(&mut body)?;
    Ok(body)
}
