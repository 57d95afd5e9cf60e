//! `start`: lets created or ended containers run.

use anyhow::bail;
use clap::Args;

use super::client::Client;
use super::door::Door;
use super::each::each;
use super::escape::Keys;
use super::inspect::container_facts;
use super::run::request::Attached;
use super::{run, session};

/// `proa start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Stay for the output and the exit code
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// The keys that leave a container's terminal
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: StartArgs, door: &Door) -> anyhow::Result<u8> {
    let mut client = Client::connect(door)?;
    if !args.attach && !args.interactive {
        return each(&args.containers, |name| {
            run::start(&mut client, name)?;
            Ok(name.to_owned())
        });
    }
    let [name] = args.containers.as_slice() else { bail!("only one container can be started and attached to") };
    let facts = container_facts(&mut client, name)?;
    let options = session::Options {
        streams: Attached { stdin: args.interactive && facts.open_stdin, stdout: true, stderr: true },
        tty: facts.tty,
        sig_proxy: !facts.tty,
        removed: facts.auto_remove,
        keys: Keys::find(args.detach_keys.as_deref(), facts.tty)?,
    };
    session::run(client, &facts.id, options)
}
