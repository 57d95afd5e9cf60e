//! The agent that answers for some of a process's system calls (`linux.seccomp.listenerPath`): it is given the listener and
//! told of whom.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use oci_spec::runtime::Spec;
use proa_linux::{Sandbox, agent};
use serde_json::json;

use super::container::Container;

/// Hands `listener` on, for the container's first process or one that joins, and lets the process go on.
pub(super) fn inform(
    container: &Container,
    spec: &Spec,
    status: &str,
    sandbox: &Sandbox,
    listener: impl AsFd,
) -> Result<()> {
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let seccomp = seccomp.context("a listener of no filter")?;
    let path = seccomp.listener_path().as_ref().context("a listener without `linux.seccomp.listenerPath`")?;
    let mut state = json!({
        "ociVersion": spec.version(),
        "fds": ["seccompFd"],
        "pid": sandbox.pid().as_raw_nonzero().get(),
        "state": container.state(status),
    });
    if let Some(metadata) = seccomp.listener_metadata() {
        state["metadata"] = json!(metadata);
    }
    let what = || format!("send the seccomp listener to `{}` (linux.seccomp.listenerPath)", path.display());
    agent::send(path, listener.as_fd(), state.to_string().as_bytes()).with_context(what)?;
    Ok(sandbox.go_on()?)
}
