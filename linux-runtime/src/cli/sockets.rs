//! Sockets that the caller was started with (sd_listen_fds(3)): they are handed on to the container's program, which finds
//! them by the same protocol.

use std::env;

use oci_spec::runtime::Spec;

/// How many there are, from descriptor 3 on. LISTEN_PID is not asked: it is that of a program further up.
pub(super) fn count() -> u16 {
    env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Tells the program of them; it is process 1 of its namespace.
pub(super) fn announce(spec: &Spec, count: u16) -> Spec {
    let mut spec = spec.clone();
    if let Some(process) = spec.process_mut() {
        let mut environment = process.env().clone().unwrap_or_default();
        environment.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()]);
        process.set_env(Some(environment));
    }
    spec
}
