//! `host`: the control plane, in the foreground under this process's own id.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::run::quantity;
use super::{background, root};

/// `proa host`; `--root` stands before it in the tree.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The socket to listen on; proa.sock in the root otherwise
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// What tenants may do (TOML)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The memory to give out; the node's otherwise
    #[arg(long, value_name = "BYTES")]
    capacity_memory: Option<String>,
    /// End after this time without clients and workloads, such as 60s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    idle_exit: Option<Duration>,
    /// Leave the caller's session and cgroup (the command line starts its own hosts so)
    #[arg(long, hide = true)]
    background: bool,
}

pub(crate) fn run(args: HostArgs, given_root: Option<&Path>) -> anyhow::Result<u8> {
    if args.background {
        background::leave_the_caller();
    }
    let root = root::find(given_root)?;
    let socket = match args.socket {
        Some(socket) => std::path::absolute(&socket).with_context(|| format!("find `{}`", socket.display()))?,
        None => root.join("proa.sock"),
    };
    let capacity_memory =
        args.capacity_memory.as_deref().map(quantity::bytes).transpose().context("read --capacity-memory")?;
    let filter = EnvFilter::try_from_env("PROA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let options =
        proa::serve::Options { root, socket, policy: args.policy, capacity_memory, idle_exit: args.idle_exit };
    let reactor = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the reactor")?;
    reactor.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        proa::serve::serve(options, shutdown).await.context("serve")
    })?;
    Ok(0)
}

/// `60s`, `5m`, `1h`, or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, scale) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no duration, such as 60s"))?;
    Ok(Duration::from_secs(number.saturating_mul(scale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("60s", Some(60)), ("5m", Some(300)), ("1h", Some(3600)), ("7", Some(7)), ("x", None)] {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
