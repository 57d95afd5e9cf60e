//! `exec`: one more program in a running container.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::client::{Client, json};
use super::door::Door;
use super::escape::Keys;
use super::query::encode;
use super::run::request::Attached;
use super::run::{environment, start_code};
use super::{Failure, session, terminal};

/// `proa exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    /// The keys that leave the program's terminal
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Give the program everything
    #[arg(long)]
    privileged: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The user inside
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The container; then the program and its arguments, for a Wasm guest a module of its image or arguments only
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "COMMAND"])]
    words: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    detach: bool,
    tty: bool,
    privileged: bool,
    cmd: Vec<String>,
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    exit_code: Option<i64>,
}

pub(crate) fn run(args: ExecArgs, door: &Door) -> anyhow::Result<u8> {
    if args.tty && args.interactive && !args.detach && !terminal::is_input() {
        anyhow::bail!("the input device is not a TTY\nhint: leave out --tty when input comes from a file or a pipe");
    }
    let keys = Keys::find(args.detach_keys.as_deref(), args.tty && !args.detach)?;
    let mut words = args.words.into_iter();
    let container = words.next().unwrap_or_default();
    let mut client = Client::connect(door)?;
    let console_size = if args.tty { terminal::size() } else { None };
    let create = Create {
        attach_stdin: args.interactive && !args.detach,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        detach: args.detach,
        tty: args.tty,
        privileged: args.privileged,
        cmd: words.collect(),
        env: environment::collect(&args.env_file, &args.env)?,
        user: args.user,
        working_dir: args.workdir,
        console_size,
    };
    let created: Created = client.post_json(&format!("/containers/{}/exec", encode(&container)), &create)?;
    let start = Start { detach: args.detach, tty: args.tty, console_size };
    let path = format!("/exec/{}/start", encode(&created.id));
    let failed = |error| Failure::wrap(start_code(&error), error.into());
    if args.detach {
        client.send("POST", &path, &[], json(&path, &start)?).and_then(|answer| answer.finish()).map_err(failed)?;
        return Ok(0);
    }
    let attached = Attached { stdin: args.interactive, stdout: true, stderr: true };
    let options = session::Options { streams: attached, tty: args.tty, sig_proxy: false, removed: false, keys };
    let streams = client.another()?.hijack(&path, json(&path, &start)?).map_err(failed)?;
    take_part(client, &created.id, streams, options)
}

fn take_part(
    client: Client,
    id: &str,
    streams: super::client::Hijacked,
    options: session::Options,
) -> anyhow::Result<u8> {
    let raw = session::enter_raw(options)?;
    if options.tty {
        let (mut resizer, id) = (client.another()?, id.to_owned());
        session::resize(&mut resizer, "exec", &id);
        session::watch(options, move |_| {
            // A fresh connection each: the host closes one that has long been idle.
            if let Ok(mut client) = resizer.another() {
                session::resize(&mut client, "exec", &id);
            }
        })?;
    }
    let copied = session::copy(streams, options);
    drop(raw);
    if copied? == session::Left::Detached {
        return Ok(0);
    }
    // The first connection may have been idle for long.
    let mut client = client.another()?;
    loop {
        let state: State = client.get(&format!("/exec/{}/json", encode(id)))?;
        match state.exit_code {
            Some(code) if !state.running => return Ok(u8::try_from(code).unwrap_or(125)),
            // A program may close its streams before it ends, and the API has no call that waits for an exec.
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
