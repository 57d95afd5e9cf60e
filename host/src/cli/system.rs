//! `system`: the host as a whole; proa's own verbs are `check`, and `stop`, which ends all workloads of a root,
//! then everything that served them.

use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use rustix::event::{PollFd, PollFlags, poll};

use super::client::{Client, Payload};
use super::door::Door;
use super::{check, df, events, info, prune};

/// `proa system`.
#[derive(Debug, Args)]
pub(crate) struct SystemArgs {
    #[command(subcommand)]
    verb: SystemVerb,
}

#[derive(Debug, Subcommand)]
enum SystemVerb {
    /// Read all that is stored and tell what a disk has changed of it
    Check(check::CheckArgs),
    /// Show what takes room
    Df(df::DfArgs),
    /// Show what happens on the host, as it happens
    Events(events::EventsArgs),
    /// Show what the host can do and how much it has
    Info(info::InfoArgs),
    /// Remove what nobody uses
    Prune(prune::PruneSystemArgs),
    /// End all workloads, then the host; returns when nothing is left
    Stop,
}

pub(crate) fn run(args: SystemArgs, door: &Door) -> anyhow::Result<u8> {
    match args.verb {
        SystemVerb::Check(args) => check::run(args, door),
        SystemVerb::Df(args) => df::run(args, door),
        SystemVerb::Events(args) => events::run(args, door),
        SystemVerb::Info(args) => info::run(args, door),
        SystemVerb::Prune(args) => prune::system(args, door),
        SystemVerb::Stop => stop(door),
    }
}

fn stop(door: &Door) -> anyhow::Result<u8> {
    if let Door::Root(root) = door {
        // Workloads outlive their host, so one is started to end them; but not for a root that nobody has used.
        if !root.join("run").exists() {
            writeln!(std::io::stdout(), "nothing runs in `{}`", root.display())?;
            return Ok(0);
        }
    }
    stop_host(Client::connect(door)?)?;
    Ok(0)
}

/// Asks the host to end everything, and waits for its own end.
pub(crate) fn stop_host(mut client: Client) -> anyhow::Result<()> {
    // Taken while the host surely lives, so that the number cannot be another's.
    let host =
        client.host_pid().and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    client.send("POST", "/proa/stop", &[], Payload::None).and_then(|answer| answer.finish())?;
    if let Some(host) = host {
        let mut waited = [PollFd::new(&host, PollFlags::IN)];
        while let Err(error) = poll(&mut waited, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error).context("wait for the host to end");
            }
        }
    }
    Ok(())
}
