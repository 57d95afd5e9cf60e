//! What helper and child tell the zygote: twelve bytes, and a descriptor where one goes along. Allocates nothing.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Step `step` (from 1) failed.
    Failed { step: u32, errno: i32 },
    /// The helper cloned the child; its pidfd comes along.
    Cloned { pid: i32 },
    /// A terminal's master comes along.
    Terminal,
    /// The child waits for `start`.
    Ready,
    /// Code of our own runs.
    Entered,
    /// The child waits for its maker's hooks.
    Hooks,
    /// The child is under a filter whose listener is its descriptor `number`, and waits until that has been taken.
    Listener { number: i32 },
}

impl Report {
    fn encode(self) -> [u8; 12] {
        let (kind, first, second) = match self {
            Report::Failed { step, errno } => (0_u32, step, errno),
            Report::Cloned { pid } => (1, 0, pid),
            Report::Ready => (2, 0, 0),
            Report::Entered => (3, 0, 0),
            Report::Terminal => (4, 0, 0),
            Report::Hooks => (5, 0, 0),
            Report::Listener { number } => (6, 0, number),
        };
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&first.to_ne_bytes());
        bytes[8..].copy_from_slice(&second.to_ne_bytes());
        bytes
    }

    fn decode(bytes: [u8; 12]) -> Option<Report> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match u32::from_ne_bytes(word(0)) {
            0 => Some(Report::Failed { step: u32::from_ne_bytes(word(4)), errno: i32::from_ne_bytes(word(8)) }),
            1 => Some(Report::Cloned { pid: i32::from_ne_bytes(word(8)) }),
            2 => Some(Report::Ready),
            3 => Some(Report::Entered),
            4 => Some(Report::Terminal),
            5 => Some(Report::Hooks),
            6 => Some(Report::Listener { number: i32::from_ne_bytes(word(8)) }),
            _ => None,
        }
    }
}

/// Sends a report from a child.
pub(crate) fn send(talk: BorrowedFd<'_>, report: &Report, descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
    let Some(descriptor) = descriptor else {
        // write(2), which every filter of a confined sandbox allows.
        return rustix::io::write(talk, &report.encode()).map(drop);
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: [BorrowedFd<'_>; 1] = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(talk, &[IoSlice::new(&report.encode())], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// The next report, without waiting; `None` when the children have closed their side.
pub(crate) fn receive(talk: BorrowedFd<'_>) -> Result<Option<(Report, Option<OwnedFd>)>> {
    let mut bytes = [0; 12];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let count = match recvmsg(talk, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Err(Errno::CONNRESET) => return Ok(None),
        other => other?.bytes,
    };
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut rights) = message {
            descriptor = rights.next();
        }
    }
    if count == 0 {
        return Ok(None);
    }
    Ok(Some((Report::decode(bytes).ok_or(Errno::PROTO)?, descriptor)))
}
