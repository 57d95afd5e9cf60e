//! Work done as the root of a guest's user namespace, by a thread of its own that ends with it.
//!
//! A file system that was mounted within a user namespace (a tmpfs of `linux-userns`) makes no file for somebody who has no
//! number there, and this host's root has none. The thread keeps its capabilities: only whose file it is at first changes.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySets, capabilities, set_capabilities, set_thread_res_gid, set_thread_res_uid};

use crate::error::{Error, Result};

/// Does `work` as uid and gid `root`.
pub fn acting<T: Send>(root: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            become_root(root).map_err(|source| Error::File {
                attempt: "act as the owner of",
                path: "/".into(),
                source,
            })?;
            work()
        });
        worker.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    })
}

/// The effective ids alone: real and saved ones stay, so that the capabilities stay permitted and can be taken up again.
fn become_root(root: u32) -> io::Result<()> {
    set_thread_res_gid(None, Gid::from_raw(root), None)?;
    set_thread_res_uid(None, Uid::from_raw(root), None)?;
    let sets = capabilities(None)?;
    Ok(set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets })?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_made_meanwhile_belongs_to_the_guest_s_root_and_afterwards_to_this_host() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let owner = |name: &str| {
            std::fs::write(folder.path().join(name), "").unwrap();
            std::fs::metadata(folder.path().join(name)).unwrap().uid()
        };
        let made = acting(100_000, || Ok(owner("made")));
        assert_eq!((made.unwrap(), owner("after")), (100_000, 0));
    }
}
