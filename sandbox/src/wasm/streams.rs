//! A Wasm guest's standard streams on the host's side: frames from its worker, a pipe or a terminal.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use proa_wasm::worker::protocol::Signal;
use proa_wasm::{Grant, Plan};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, SpecialCodeIndex, Winsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedReceiver;

use super::guest::Guest;
use crate::error::{Error, Kind, Result};
use crate::output::Chunk;

/// Read from a terminal at once, in bytes.
const CHUNK: usize = 64 << 10;

type Descriptor = Arc<AsyncFd<OwnedFd>>;

/// The host's ends. The worker keeps duplicates, so that a host that goes away ends nothing.
#[derive(Debug)]
pub(super) enum Near {
    Nothing,
    /// The write end of the guest's input; gone once closed.
    Pipe(Mutex<Option<Descriptor>>),
    Terminal(Descriptor),
}

/// Both sides of a new guest's streams.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) near: Near,
    /// For the worker, in the order the grant's comment gives.
    pub(super) far: Vec<OwnedFd>,
}

impl Ends {
    /// What the plan's stream grant asks for.
    pub(super) fn for_plan(plan: &Plan) -> Result<Ends> {
        if plan.grants.contains(&Grant::Terminal) {
            terminal()
        } else if plan.grants.contains(&Grant::Pipe) {
            pipe()
        } else {
            Ok(Ends { near: Near::Nothing, far: Vec::new() })
        }
    }
}

fn pipe() -> Result<Ends> {
    let fail = |error: std::io::Error| Error::new(Kind::Failed, "make a pipe for the standard input").caused_by(error);
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| fail(errno.into()))?;
    let kept = write.try_clone().map_err(fail)?;
    let near = watch(write, Interest::WRITABLE).map_err(fail)?;
    Ok(Ends { near: Near::Pipe(Mutex::new(Some(near))), far: vec![read, kept] })
}

fn terminal() -> Result<Ends> {
    let fail = |error: std::io::Error| Error::new(Kind::Failed, "make a terminal").caused_by(error);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let open = || -> rustix::io::Result<_> {
        let outer = rustix::pty::openpt(flags)?;
        rustix::pty::unlockpt(&outer)?;
        // By descriptor: a path below /dev/pts could name another terminal (CVE-2025-52565).
        let inner = rustix::pty::ioctl_tiocgptpeer(&outer, flags)?;
        Ok((outer, inner))
    };
    let (outer, inner) = open().map_err(|errno| fail(errno.into()))?;
    let kept = outer.try_clone().map_err(fail)?;
    let near = watch(outer, Interest::READABLE | Interest::WRITABLE).map_err(fail)?;
    Ok(Ends { near: Near::Terminal(near), far: vec![inner, kept] })
}

fn watch(descriptor: OwnedFd, interest: Interest) -> std::io::Result<Descriptor> {
    proa_wasm::watch(descriptor, interest).map(Arc::new)
}

impl Near {
    /// What a worker gave back for a guest of a former door.
    pub(super) fn adopted(descriptor: Option<OwnedFd>, terminal: bool) -> Result<Near> {
        let fail = |error: std::io::Error| Error::new(Kind::Failed, "take over a guest's streams").caused_by(error);
        Ok(match (descriptor, terminal) {
            (None, _) => Near::Nothing,
            (Some(handle), true) => {
                Near::Terminal(watch(handle, Interest::READABLE | Interest::WRITABLE).map_err(fail)?)
            }
            (Some(handle), false) => Near::Pipe(Mutex::new(Some(watch(handle, Interest::WRITABLE).map_err(fail)?))),
        })
    }

    pub(super) fn stdin(&self, guest: &Arc<Guest>) -> Option<Stdin> {
        let (descriptor, terminal) = match self {
            Near::Nothing => return None,
            Near::Pipe(end) => (end.lock().unwrap_or_else(PoisonError::into_inner).clone()?, false),
            Near::Terminal(end) => (Arc::clone(end), true),
        };
        Some(Stdin { guest: Arc::clone(guest), descriptor: Some(descriptor), terminal })
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let Near::Terminal(terminal) = self else {
            return Err(Error::new(Kind::Invalid, "the guest has no terminal"));
        };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&**terminal, size)
            .map_err(|errno| Error::new(Kind::Failed, "set the size of the terminal").caused_by(errno))
    }

    /// Lets go of the input's write end.
    fn close(&self) {
        if let Near::Pipe(end) = self {
            *end.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// See [`crate::Output`].
#[derive(Debug)]
pub struct Output {
    source: Source,
    peeked: Option<(u64, Chunk)>,
}

#[derive(Debug)]
enum Source {
    Frames(UnboundedReceiver<(u64, Chunk)>, Arc<Guest>),
    Terminal(Descriptor),
}

impl Output {
    pub(super) fn new(guest: &Arc<Guest>, frames: UnboundedReceiver<(u64, Chunk)>) -> Output {
        let source = match guest.near() {
            Near::Terminal(terminal) => Source::Terminal(Arc::clone(terminal)),
            Near::Nothing | Near::Pipe(_) => Source::Frames(frames, Arc::clone(guest)),
        };
        Output { source, peeked: None }
    }

    pub(crate) async fn peek(&mut self) -> Result<Option<Chunk>> {
        if self.peeked.is_none() {
            self.peeked = match &mut self.source {
                Source::Frames(frames, _) => frames.recv().await,
                Source::Terminal(terminal) => read(terminal).await?.map(|chunk| (0, chunk)),
            };
        }
        Ok(self.peeked.as_ref().map(|(_, chunk)| chunk.clone()))
    }

    pub(crate) async fn consume(&mut self) -> Result<()> {
        let Some((number, _)) = self.peeked.take() else { return Ok(()) };
        if let Source::Frames(_, guest) = &self.source {
            guest.acknowledge(number).await;
        }
        Ok(())
    }
}

async fn read(terminal: &Descriptor) -> Result<Option<Chunk>> {
    let fail = |error: std::io::Error| Error::new(Kind::Failed, "read the guest's terminal").caused_by(error);
    let mut bytes = vec![0; CHUNK];
    loop {
        let mut guard = terminal.readable().await.map_err(fail)?;
        match rustix::io::read(&**terminal, &mut bytes) {
            // EIO: the guest's end is closed and all it wrote is read.
            Ok(0) | Err(Errno::IO) => return Ok(None),
            Ok(length) => {
                bytes.truncate(length);
                return Ok(Some(Chunk { stream: crate::Stream::Stdout, bytes }));
            }
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail(errno.into())),
        }
    }
}

/// See [`crate::Stdin`].
#[derive(Debug)]
pub struct Stdin {
    guest: Arc<Guest>,
    descriptor: Option<Descriptor>,
    terminal: bool,
}

impl Stdin {
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let Some(descriptor) = self.descriptor.clone() else {
            return Err(Error::new(Kind::Conflict, "the guest's standard input is closed"));
        };
        let interrupt = self.terminal && interrupts(&descriptor, bytes);
        while !bytes.is_empty() {
            let fail = |error: std::io::Error| {
                Error::new(Kind::Failed, "write to the guest's standard input").caused_by(error)
            };
            let mut guard = descriptor.writable().await.map_err(fail)?;
            match rustix::io::write(&*descriptor, bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::IO) => {
                    return Err(Error::new(Kind::Conflict, "the guest does not read its standard input any more"));
                }
                Err(errno) => return Err(fail(errno.into())),
            }
        }
        if interrupt {
            self.guest.kill(Signal::Interrupt).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(&mut self) -> Result<()> {
        if self.terminal {
            return Ok(());
        }
        self.descriptor = None;
        self.guest.near().close();
        self.guest.close_input().await
    }
}

/// Whether `bytes` hold the terminal's interrupt character. A Wasm guest is in no process group, so the kernel, which
/// echoes the character, has nobody to signal.
fn interrupts(terminal: &Descriptor, bytes: &[u8]) -> bool {
    let Ok(modes) = rustix::termios::tcgetattr(&**terminal) else { return false };
    modes.local_modes.contains(LocalModes::ISIG) && bytes.contains(&modes.special_codes[SpecialCodeIndex::VINTR])
}
