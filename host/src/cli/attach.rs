//! `attach`: takes part in a running container's streams.

use anyhow::bail;
use clap::{ArgAction, Args};

use super::client::Client;
use super::door::Door;
use super::escape::Keys;
use super::inspect::container_facts;
use super::run::request::Attached;
use super::session;

/// `proa attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The keys that leave a container's terminal
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Do not pass standard input on
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::boolean, value_name = "BOOL")]
    sig_proxy: bool,
    container: String,
}

pub(crate) fn run(args: AttachArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    let facts = container_facts(&mut client, &args.container)?;
    if facts.paused {
        bail!("You cannot attach to a paused container, unpause it first");
    }
    if facts.restarting {
        bail!("You cannot attach to a restarting container, wait until it is running");
    }
    if !facts.running {
        bail!("You cannot attach to a stopped container, start it first\nhint: `proa start -a` starts and attaches");
    }
    let options = session::Options {
        streams: Attached { stdin: facts.open_stdin && !args.no_stdin, stdout: true, stderr: true },
        tty: facts.tty,
        sig_proxy: args.sig_proxy && !facts.tty,
        removed: false,
        keys: Keys::find(args.detach_keys.as_deref(), facts.tty)?,
    };
    session::join(client, &facts.id, options)
}
