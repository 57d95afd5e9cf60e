//! Who gets a terminal's master: somebody at a socket, or the caller's own terminal for as long as this program waits.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// What the caller said about terminals.
#[derive(Debug)]
pub(super) struct Console {
    socket: Option<PathBuf>,
    /// Whether this program stays to carry bytes between the caller's terminal and the container's.
    stays: bool,
}

impl Console {
    pub(super) fn new(socket: Option<&Path>, stays: bool) -> Console {
        Console { socket: socket.map(Path::to_owned), stays }
    }

    /// Whether that fits a process that has a terminal, or none.
    pub(super) fn suits(&self, terminal: bool) -> Result<()> {
        match (terminal, &self.socket, self.stays) {
            (true, None, false) => bail!("a terminal of a process that nobody waits for needs --console-socket"),
            (false, Some(_), _) => bail!("--console-socket: the process has no terminal"),
            _ => Ok(()),
        }
    }

    /// Sends the master to the socket, or gives it back for this program to serve.
    pub(super) fn take(&self, master: OwnedFd) -> Result<Option<OwnedFd>> {
        let Some(path) = &self.socket else { return Ok(Some(master)) };
        let context = || format!("send the terminal to `{}`", path.display());
        let socket = UnixStream::connect(path).with_context(context)?;
        let descriptors = [master.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // The bytes are the terminal's name, which nobody should trust.
        sendmsg(&socket, &[IoSlice::new(b"/dev/ptmx")], &mut control, SendFlags::NOSIGNAL).with_context(context)?;
        Ok(None)
    }
}
