//! A network device of the runtime's, moved into the container's network namespace (config-linux.md, "Network Devices"):
//! rtnetlink(7) in messages put together on the stack. The kernel takes a device's addresses away as it moves, so that they
//! are read before and given back afterwards.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::text::Text;

/// More addresses than this on one device are not carried along.
const ADDRESSES: usize = 64;

/// The lengths of `nlmsghdr`, `ifinfomsg`, `ifaddrmsg` and of an attribute's beginning (linux/netlink.h, rtnetlink.h).
const HEADER: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ATTRIBUTE: usize = 4;

/// linux/if_addr.h.
const NO_DUPLICATE_DETECTION: u32 = 0x02;
const PERMANENT: u32 = 0x80;
const GLOBAL: u8 = 0;

/// Moves `name` into `network`, or into that of `child`, as `new`, with its lasting addresses, and sets it up.
pub(super) fn take(name: &CStr, new: &CStr, network: Option<BorrowedFd<'_>>, child: Option<Pid>) -> Result<()> {
    let opened = match network {
        None => Some(network_of(child.ok_or(Errno::SRCH)?)?),
        Some(_) => None,
    };
    let network = network.or(opened.as_ref().map(AsFd::as_fd)).ok_or(Errno::BADF)?;
    let own = openat(CWD, c"/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let socket = socket()?;
    let index = index(&socket, name)?;
    let mut addresses = [Given::NONE; ADDRESSES];
    let count = addresses_of(&socket, index, &mut addresses)?;
    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    message.link(index, 0)?;
    message.attribute(libc::IFLA_NET_NS_FD, &network.as_raw_fd().to_ne_bytes())?;
    message.attribute(libc::IFLA_IFNAME, new.to_bytes_with_nul())?;
    message.ask(&socket)?;
    enter(network)?;
    let settled = settle(new, &addresses[..count]);
    enter(own.as_fd())?;
    settled
}

/// Gives a device its addresses back and sets it up, in the network namespace that was entered.
fn settle(name: &CStr, addresses: &[Given]) -> Result<()> {
    let socket = socket()?;
    let index = index(&socket, name)?;
    for address in addresses {
        let mut message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        message.push(&[address.family, address.prefix, 0, GLOBAL])?.push(&index.to_ne_bytes())?;
        message.attribute(libc::IFA_LOCAL, address.local())?;
        message.attribute(libc::IFA_ADDRESS, address.peer())?;
        // It was unique where it comes from, and programs shall find it at once.
        message.attribute(IFA_FLAGS, &(address.flags | NO_DUPLICATE_DETECTION).to_ne_bytes())?;
        message.ask(&socket)?;
    }
    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    message.link(index, libc::IFF_UP as u32)?;
    message.ask(&socket)
}

/// linux/if_addr.h; libc gives it no name.
const IFA_FLAGS: u16 = 8;

/// Protocol 0 is NETLINK_ROUTE.
fn socket() -> Result<OwnedFd> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

fn index(socket: &OwnedFd, name: &CStr) -> Result<u32> {
    name_to_index(socket, name.to_str().map_err(|_| Errno::INVAL)?)
}

fn enter(network: BorrowedFd<'_>) -> Result<()> {
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
}

fn network_of(process: Pid) -> Result<OwnedFd> {
    let mut path = Text::<64>::new();
    path.push(b"/proc/")?.number(process.as_raw_nonzero().get() as u32)?.push(b"/ns/net")?;
    openat(CWD, path.as_c_str()?, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// An address of a device.
#[derive(Debug, Clone, Copy)]
struct Given {
    family: u8,
    prefix: u8,
    flags: u32,
    length: usize,
    local: Option<[u8; 16]>,
    peer: [u8; 16],
}

impl Given {
    const NONE: Given = Given { family: 0, prefix: 0, flags: 0, length: 0, local: None, peer: [0; 16] };

    fn local(&self) -> &[u8] {
        self.local.as_ref().map_or(self.peer(), |local| &local[..self.length])
    }

    fn peer(&self) -> &[u8] {
        &self.peer[..self.length]
    }
}

/// The global and permanent addresses of a device; how many there are.
fn addresses_of(socket: &OwnedFd, device: u32, into: &mut [Given]) -> Result<usize> {
    let mut message = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP);
    message.push(&[0; ADDRESS])?;
    message.send(socket)?;
    let mut count = 0;
    loop {
        let mut buffer = [0; 1 << 14];
        let (length, _) = retry_on_intr(|| recv(socket, &mut buffer, RecvFlags::empty()))?;
        let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        while rest.len() >= HEADER {
            let size = number(rest, 0) as usize;
            let (kind, body) = (half(rest, 4), rest.get(HEADER..size).ok_or(Errno::PROTO)?);
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(count),
                libc::NLMSG_ERROR => return Err(error(body)),
                _ if kind == libc::RTM_NEWADDR => {
                    if let Some(address) = address(body, device) {
                        *into.get_mut(count).ok_or(Errno::OVERFLOW)? = address;
                        count += 1;
                    }
                }
                _ => {}
            }
            rest = rest.get(aligned(size)..).unwrap_or_default();
        }
    }
}

/// An address that is to be carried along, out of `ifaddrmsg` and its attributes.
fn address(body: &[u8], device: u32) -> Option<Given> {
    let (head, mut rest) = body.split_at_checked(ADDRESS)?;
    let mut given = Given { family: head[0], prefix: head[1], flags: u32::from(head[2]), ..Given::NONE };
    let mut found = false;
    while rest.len() >= ATTRIBUTE {
        let size = usize::from(half(rest, 0));
        let value = rest.get(ATTRIBUTE..size)?;
        let mut bytes = [0; 16];
        let part = &value[..value.len().min(bytes.len())];
        bytes[..part.len()].copy_from_slice(part);
        match half(rest, 2) {
            libc::IFA_ADDRESS => (given.peer, given.length, found) = (bytes, value.len(), true),
            libc::IFA_LOCAL => given.local = Some(bytes),
            IFA_FLAGS => given.flags = number(value, 0),
            _ => {}
        }
        rest = rest.get(aligned(size)..).unwrap_or_default();
    }
    let wanted = number(head, 4) == device && head[3] == GLOBAL && given.flags & PERMANENT != 0;
    (found && wanted && given.length <= 16).then_some(given)
}

/// One message to the kernel.
struct Message {
    bytes: [u8; 256],
    length: usize,
}

impl Message {
    fn new(kind: u16, flags: i32) -> Message {
        let mut bytes = [0; 256];
        let flags = libc::NLM_F_REQUEST
            | flags
            | if flags & libc::NLM_F_DUMP == libc::NLM_F_DUMP { 0 } else { libc::NLM_F_ACK };
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        Message { bytes, length: HEADER }
    }

    fn push(&mut self, more: &[u8]) -> Result<&mut Message> {
        let end = self.length + more.len();
        self.bytes.get_mut(self.length..end).ok_or(Errno::NOBUFS)?.copy_from_slice(more);
        self.length = aligned(end);
        Ok(self)
    }

    /// `ifinfomsg`: which device, and the flags that are set.
    fn link(&mut self, device: u32, flags: u32) -> Result<()> {
        let mut link = [0; LINK];
        link[4..8].copy_from_slice(&device.to_ne_bytes());
        link[8..12].copy_from_slice(&flags.to_ne_bytes());
        link[12..16].copy_from_slice(&flags.to_ne_bytes());
        self.push(&link).map(drop)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<()> {
        let size = u16::try_from(ATTRIBUTE + value.len()).map_err(|_| Errno::NOBUFS)?;
        let mut head = [0; ATTRIBUTE];
        head[..2].copy_from_slice(&size.to_ne_bytes());
        head[2..].copy_from_slice(&kind.to_ne_bytes());
        self.push(&head)?.push(value).map(drop)
    }

    fn send(&mut self, socket: &OwnedFd) -> Result<()> {
        let length = u32::try_from(self.length).map_err(|_| Errno::NOBUFS)?;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        send(socket, &self.bytes[..self.length], SendFlags::empty()).map(drop)
    }

    /// Sends it and waits for the kernel's answer.
    fn ask(&mut self, socket: &OwnedFd) -> Result<()> {
        self.send(socket)?;
        let mut buffer = [0; 1024];
        let (length, _) = retry_on_intr(|| recv(socket, &mut buffer, RecvFlags::empty()))?;
        let answer = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        if length < HEADER + 4 || i32::from(half(answer, 4)) != libc::NLMSG_ERROR {
            return Err(Errno::PROTO);
        }
        match number(answer, HEADER) {
            0 => Ok(()),
            _ => Err(error(&answer[HEADER..])),
        }
    }
}

/// `nlmsgerr`: a negative errno.
fn error(body: &[u8]) -> Errno {
    Errno::from_raw_os_error((number(body, 0) as i32).wrapping_neg())
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|word| word.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}
