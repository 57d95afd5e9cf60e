//! A caller at a container: its streams, its terminal and its signals, until the container's end.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use serde::Deserialize;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use super::client::{self, Client, Hijacked, Payload, copy_frames, copy_raw};
use super::escape::Keys;
use super::query::{Query, encode};
use super::run::request::Attached;
use super::{Failure, escape, run, terminal};

/// How the caller takes part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The streams that are the caller's too.
    pub(crate) streams: Attached,
    /// The container has a terminal.
    pub(crate) tty: bool,
    /// Signals go to the container.
    pub(crate) sig_proxy: bool,
    /// The container is removed at its end, and the command waits for that.
    pub(crate) removed: bool,
    /// What leaves a terminal without ending the container.
    pub(crate) keys: Keys,
}

impl Options {
    /// Whether any of the container's output is the caller's.
    fn shows(&self) -> bool {
        self.streams.stdout || self.streams.stderr
    }
}

/// Attaches to a created container, starts it and stays to its end; its exit code.
pub(crate) fn run(mut client: Client, id: &str, options: Options) -> anyhow::Result<u8> {
    let failed = |error: client::Error| Failure::wrap(125, error.into());
    // Asked for before the start: a short guest may be gone, and with --rm forgotten, an instant after it.
    let mut waiter = client.another().map_err(failed)?;
    let wait = wait_path(id, if options.removed { "removed" } else { "next-exit" });
    waiter.write("POST", &wait, &[], Payload::None).map_err(failed)?;
    let streams = client.another().and_then(|client| attach(client, id, options)).map_err(failed)?;
    // Its head says that the host waits from here on; its body comes with the end.
    let waiting = waiter.receive("POST", &wait).map_err(failed)?;
    let raw = enter_raw(options)?;
    let signals = watch_signals(&client, id, options)?;
    run::start(&mut client, id)?;
    if options.tty {
        resize(&mut client, "containers", id);
    }
    let copied = copy(streams, options);
    drop(raw);
    // Not waited for when the reader of our output is gone: the container may go on for ever.
    if copied.context("copy the container's output")? == Left::Detached {
        return Ok(0);
    }
    if !options.shows() {
        // As Docker does: who takes part in nothing that the container says is told its name.
        writeln!(io::stdout(), "{id}")?;
        return Ok(0);
    }
    let waited = waiting.json::<Waited>();
    signals.close();
    waited.map_err(|error| lost(error, id))?.into_code()
}

/// Stays with a container that runs already.
pub(crate) fn join(client: Client, id: &str, options: Options) -> anyhow::Result<u8> {
    let streams = attach(client.another()?, id, options)?;
    let mut waiter = client.another()?;
    let wait = wait_path(id, "not-running");
    waiter.write("POST", &wait, &[], Payload::None)?;
    let raw = enter_raw(options)?;
    let signals = watch_signals(&client, id, options)?;
    if options.tty {
        resize(&mut client.another()?, "containers", id);
    }
    let copied = copy(streams, options);
    drop(raw);
    if copied.context("copy the container's output")? == Left::Detached {
        return Ok(0);
    }
    let waited = waiter.receive("POST", &wait).and_then(|answer| answer.json::<Waited>());
    signals.close();
    waited?.into_code()
}

fn lost(error: client::Error, id: &str) -> anyhow::Error {
    let error = match error {
        client::Error::Receive { .. } => anyhow::Error::from(error).context(format!(
            "lose sight of container `{}`, which may still run\nhint: `proa ps -a` shows it once the host is back",
            &id[..id.len().min(12)]
        )),
        other => other.into(),
    };
    Failure::wrap(125, error)
}

/// Opens the container's streams.
fn attach(client: Client, id: &str, options: Options) -> client::Result<Hijacked> {
    let path = Query::new(format!("/containers/{}/attach", encode(id)))
        .flag("stream", true)
        .flag("stdin", options.streams.stdin)
        .flag("stdout", options.streams.stdout)
        .flag("stderr", options.streams.stderr)
        .into_path();
    client.hijack(&path, Payload::None)
}

pub(crate) fn wait_path(id: &str, condition: &str) -> String {
    Query::new(format!("/containers/{}/wait", encode(id))).with("condition", condition).into_path()
}

/// The answer of `POST /containers/{id}/wait`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Waited {
    status_code: i64,
    #[serde(default)]
    error: Option<WaitError>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WaitError {
    #[serde(default)]
    message: String,
}

impl Waited {
    /// The exit code; what the host has to add goes to standard error.
    pub(crate) fn into_code(self) -> anyhow::Result<u8> {
        if let Some(error) = self.error.filter(|error| !error.message.is_empty()) {
            writeln!(io::stderr(), "proa: {}", error.message)?;
        }
        // Docker's range is 0 to 255; -1 stands for an end that nobody saw.
        Ok(u8::try_from(self.status_code).unwrap_or(125))
    }
}

/// Takes the terminal when the caller's is the guest's.
pub(crate) fn enter_raw(options: Options) -> anyhow::Result<Option<terminal::Raw>> {
    (options.tty && options.streams.stdin && terminal::is_input())
        .then(terminal::Raw::enter)
        .transpose()
        .context("take the terminal")
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The guest's output has ended.
    Ended,
    /// The caller typed the keys to leave.
    Detached,
}

/// Copies both ways until the guest's output ends or the caller leaves.
pub(crate) fn copy(mut streams: Hijacked, options: Options) -> io::Result<Left> {
    let detached = Arc::new(AtomicBool::new(false));
    if options.streams.stdin {
        let (mut input, detached) = (streams.input()?, Arc::clone(&detached));
        // Left behind when the output ends: a read of the caller's terminal cannot be called off.
        thread::spawn(move || {
            if !options.tty {
                let _ = copy_raw(io::stdin(), &mut input);
            } else if let Ok(true) = escape::copy_until_escape(io::stdin(), &mut input, options.keys) {
                detached.store(true, Ordering::SeqCst);
                return input.leave();
            }
            input.close();
        });
    }
    let copied = if options.tty {
        copy_raw(&mut streams, &mut io::stdout().lock())
    } else {
        copy_frames(&mut streams, &mut io::stdout().lock(), &mut io::stderr().lock())
    };
    if detached.load(Ordering::SeqCst) {
        terminal::restore();
        // Docker's words; the caller's next prompt begins a line of its own.
        writeln!(io::stderr(), "read escape sequence")?;
        return Ok(Left::Detached);
    }
    copied.map(|()| Left::Ended)
}

/// A thread that waits for signals.
pub(crate) struct Watch(signal_hook::iterator::Handle);

impl Watch {
    pub(crate) fn close(self) {
        self.0.close();
    }
}

/// With a terminal: sizes are passed on, and a deadly signal restores the terminal first. Without: signals go to the
/// container. They are caught from here on, before the container starts.
fn watch_signals(client: &Client, id: &str, options: Options) -> anyhow::Result<Watch> {
    let (door, id) = (client.another()?, id.to_owned());
    watch(options, move |signal| {
        // A fresh connection each: the host closes one that has long been idle.
        let Ok(mut client) = door.another() else { return };
        if signal == SIGWINCH {
            resize(&mut client, "containers", &id);
        } else if options.sig_proxy {
            let path = Query::new(format!("/containers/{}/kill", encode(&id))).with("signal", &signal.to_string());
            // A container that has just ended takes no signal, and the caller learns of the end anyway.
            let _ = client.post(&path.into_path());
        }
    })
}

/// Calls `each` for every signal that concerns a session.
pub(crate) fn watch(options: Options, mut each: impl FnMut(i32) + Send + 'static) -> anyhow::Result<Watch> {
    let concerned: &[i32] = match (options.tty, options.sig_proxy) {
        (true, _) => &[SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGQUIT],
        (false, true) => &[SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM],
        (false, false) => &[],
    };
    let mut signals = Signals::new(concerned).context("watch for signals")?;
    let handle = signals.handle();
    thread::spawn(move || {
        for signal in signals.forever() {
            if options.tty && signal != SIGWINCH {
                terminal::restore();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            each(signal);
        }
    });
    Ok(Watch(handle))
}

/// Tells the host the size of the caller's terminal; `kind` is `containers` or `exec`.
pub(crate) fn resize(client: &mut Client, kind: &str, id: &str) {
    if let Some([rows, columns]) = terminal::size() {
        let path = Query::new(format!("/{kind}/{}/resize", encode(id)))
            .with("h", &rows.to_string())
            .with("w", &columns.to_string());
        // The guest may be gone; its terminal's size matters to nobody then.
        let _ = client.post(&path.into_path());
    }
}
