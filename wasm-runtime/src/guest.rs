//! One guest: what its store holds, how it is made ready and how it is run to its end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpListener;
use wasmtime::{Store, Trap};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::artifact::Artifact;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::grant::Grant;
use crate::limits::{Account, Share};
use crate::plan::{DEFAULT_MEMORY, Plan};
use crate::preopens::{self, Preopen};
use crate::wasi::{self, Input, Log, Refuse, Server, Terminal};
use crate::worker::{Exit, Ring, Stream};

/// Handles a guest may have open at once: streams, files, requests. Bounds host memory a guest can make grow.
const RESOURCES: usize = 10_000;

/// Bytes of last words that are written. A backtrace tells names that the guest chose, of any length, and the ring takes
/// a piece whole.
const LAST_WORDS: usize = 64 << 10;

/// What a trap exits with, as a process ended by SIGABRT.
const TRAPPED: u8 = 134;

/// What a process killed for want of memory exits with.
const STARVED: u8 = 137;

/// A store's data.
pub struct State {
    wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    outgoing: Refuse,
    share: Share,
}

impl State {
    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("share", &self.share).finish_non_exhaustive()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}

/// What the worker keeps beside a guest while it lives.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The write end of its standard input.
    pub(crate) input: Option<OwnedFd>,
    /// The watched end of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// A guest ready to run: all that could be done beforehand is done.
pub(crate) struct Ready {
    pub(crate) engine: Arc<Engine>,
    pub(crate) artifact: Arc<Artifact>,
    pub(crate) account: Account,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<String>,
    files: WasiFilesystemCtx,
    streams: Streams,
    listeners: Vec<TcpListener>,
}

enum Streams {
    Log { ring: Arc<Ring>, input: Option<Input> },
    Terminal { input: Input, output: Terminal },
}

impl Ready {
    /// Turns grants and their handles into what a store needs; it uses the account of `within`, else one of its own. Must
    /// be called on the runtime that will run the guest.
    pub(crate) fn new(
        engine: &Arc<Engine>,
        artifact: &Arc<Artifact>,
        plan: &Plan,
        handles: Vec<OwnedFd>,
        ring: &Arc<Ring>,
        within: Option<Account>,
    ) -> Result<(Ready, Kept)> {
        if plan.handles() != handles.len() {
            return Err(Error::Handles { needed: plan.handles(), given: handles.len() });
        }
        let mut handles = handles.into_iter();
        let mut next = || handles.next().ok_or(Error::Handles { needed: 1, given: 0 });
        let mut kept = Kept::default();
        let mut ready = Ready {
            engine: Arc::clone(engine),
            artifact: Arc::clone(artifact),
            account: within.clone().unwrap_or_else(|| Account::new(DEFAULT_MEMORY)),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            files: WasiFilesystemCtx::default(),
            streams: Streams::Log { ring: Arc::clone(ring), input: None },
            listeners: Vec::new(),
        };
        let mut preopens = Vec::new();
        for grant in &plan.grants {
            match grant {
                Grant::Memory(bytes) if within.is_none() => ready.account = Account::new(*bytes),
                Grant::Arguments(arguments) => ready.arguments = arguments.clone(),
                Grant::Environment(variables) => ready.environment = variables.clone(),
                Grant::Directory(path) => ready.directory = Some(path.clone()),
                Grant::Pipe => {
                    let input = Some(Input::new(next()?, false).map_err(Error::Stream)?);
                    ready.streams = Streams::Log { ring: Arc::clone(ring), input };
                    kept.input = Some(next()?);
                }
                Grant::Terminal => {
                    ready.streams = terminal(next()?)?;
                    kept.terminal = Some(next()?);
                }
                Grant::Preopen { guest, read_only } => {
                    preopens.push(Preopen { handle: next()?, guest: guest.clone(), read_only: *read_only });
                }
                Grant::Listener(_) => ready.listeners.push(listener(next()?)?),
                Grant::Memory(_) | Grant::World(_) | Grant::Log | Grant::Clocks | Grant::Random | Grant::NoNetwork => {}
            }
        }
        ready.files = preopens::open(&preopens)?;
        Ok((ready, kept))
    }

    /// Runs to the end and says how it ended. Dropping the future ends the guest.
    pub(crate) async fn run(mut self) -> Exit {
        let outcome = match &*Arc::clone(&self.artifact) {
            Artifact::Module(module) => self.run_module(module).await,
            Artifact::Command(command) => self.run_command(command).await,
            Artifact::Http(proxy) => {
                let listeners = std::mem::take(&mut self.listeners);
                wasi::serve(Arc::new(Server::new(self, proxy.clone())), listeners).await;
                return exit(0, false, None);
            }
        };
        self.exit(outcome)
    }

    /// A store for one instance.
    pub(crate) fn store(&self) -> Store<State> {
        let mut builder = WasiCtxBuilder::new();
        builder.args(&self.arguments).envs(&self.environment);
        // wasmtime-wasi's defaults already deny sockets and name lookup; said here because it is a promise.
        builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        if let Some(directory) = &self.directory {
            builder.initial_cwd(directory);
        }
        match &self.streams {
            Streams::Log { ring, input } => {
                builder.stdout(Log::new(ring, Stream::Stdout)).stderr(Log::new(ring, Stream::Stderr));
                if let Some(input) = input {
                    builder.stdin(input.clone());
                }
            }
            Streams::Terminal { input, output } => {
                builder.stdin(input.clone()).stdout(output.clone()).stderr(output.clone());
            }
        }
        let mut wasi = builder.build_p1();
        *wasi.ctx().ctx.filesystem() = self.files.clone();
        wasi.ctx().table.set_max_capacity(RESOURCES);
        let state = State { wasi, http: WasiHttpCtx::new(), outgoing: Refuse, share: Share::of(&self.account.budget) };
        let mut store = Store::new(self.engine.wasm(), state);
        store.limiter(|state| &mut state.share);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    async fn run_module(&self, module: &wasmtime::InstancePre<State>) -> wasmtime::Result<u8> {
        let mut store = self.store();
        let instance = module.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await?;
        Ok(0)
    }

    async fn run_command(&self, command: &CommandPre<State>) -> wasmtime::Result<u8> {
        let mut store = self.store();
        let command = command.instantiate_async(&mut store).await?;
        // wasi:cli/run: the result is success or failure without a number.
        Ok(match command.wasi_cli_run().call_run(&mut store).await? {
            Ok(()) => 0,
            Err(()) => 1,
        })
    }

    fn exit(&self, outcome: wasmtime::Result<u8>) -> Exit {
        let error = match outcome {
            Ok(code) => return exit(code, false, None),
            Err(error) => error,
        };
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return exit((*code & 0xff) as u8, false, None);
        }
        self.last_words(&error);
        let budget = &self.account.budget;
        let limited = budget.refused();
        let reason = reason(&error, limited.then(|| budget.limit()));
        let code = if limited && !error.is::<Trap>() { STARVED } else { TRAPPED };
        exit(code, limited, Some(reason))
    }

    /// Writes an error with its Wasm backtrace to the guest's standard error.
    pub(crate) fn last_words(&self, error: &wasmtime::Error) {
        let text = shortened(format!("{error:?}\n"));
        match &self.streams {
            Streams::Log { ring, .. } => ring.push(Stream::Stderr, text.as_bytes()),
            Streams::Terminal { output, .. } => output.write_last(&text),
        }
    }
}

/// An exit that happened now.
pub(crate) fn exit(code: u8, limited: bool, reason: Option<String>) -> Exit {
    Exit { code, limited, reason, at: SystemTime::now() }
}

/// The beginning of what is longer than [`LAST_WORDS`], and the line's end.
fn shortened(mut text: String) -> String {
    if text.len() > LAST_WORDS {
        text.truncate(text.floor_char_boundary(LAST_WORDS - 1));
        text.push('\n');
    }
    text
}

/// One sentence: what ended the guest.
fn reason(error: &wasmtime::Error, limit: Option<u64>) -> String {
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    match limit {
        Some(limit) => format!("{cause}, after the memory limit of {limit} bytes refused more"),
        None => cause,
    }
}

fn terminal(handle: OwnedFd) -> Result<Streams> {
    let output = handle.try_clone().and_then(Terminal::new).map_err(Error::Stream)?;
    Ok(Streams::Terminal { input: Input::new(handle, true).map_err(Error::Stream)?, output })
}

fn listener(handle: OwnedFd) -> Result<TcpListener> {
    let listener = std::net::TcpListener::from(handle);
    listener.set_nonblocking(true).map_err(Error::Listener)?;
    TcpListener::from_std(listener).map_err(Error::Listener)
}

#[cfg(test)]
mod tests {
    use super::{LAST_WORDS, shortened};

    #[test]
    fn names_that_a_guest_chose_make_no_line_longer_than_the_ring_takes() {
        let text = shortened("é".repeat(LAST_WORDS));
        assert!(text.len() <= LAST_WORDS && text.ends_with("é\n"));
        assert_eq!(shortened("short\n".to_owned()), "short\n");
    }
}
