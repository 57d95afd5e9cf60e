//! An owned descriptor under tokio's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches `descriptor`, which becomes non-blocking. Must be called on a tokio runtime.
pub fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    #[allow(deprecated, reason = "deprecated for types whose descriptor can change; an `OwnedFd` has one for its life")]
    AsyncFd::with_interest(descriptor, interest)
}
