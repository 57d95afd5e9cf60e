//! A guest's output in two phases: tee(2) copies without taking, and what has been recorded is taken afterwards. A
//! reader killed between the two leaves the bytes in the pipe for its successor. A terminal cannot be teed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Kind, Result};
use crate::output::{Chunk, Stream};

/// The most bytes of one chunk: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// The output of one sandbox.
#[derive(Debug)]
pub struct Output {
    sources: Vec<Source>,
    /// Which source is asked first: they take turns.
    turn: usize,
    /// Read and not yet consumed, with the source it came from.
    peeked: Option<(usize, Chunk)>,
}

#[derive(Debug)]
struct Source {
    stream: Stream,
    fd: AsyncFd<OwnedFd>,
    /// Where tee(2) copies to, read and write end; none for a terminal.
    copy: Option<(OwnedFd, OwnedFd)>,
    ended: bool,
}

impl Output {
    /// From the read ends of pipes.
    pub(super) fn pipes(stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Result<Output> {
        let mut sources = Vec::new();
        for (stream, fd) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if let Some(fd) = fd {
                let copy =
                    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|errno| watched(errno.into()))?;
                sources.push(Source::new(stream, fd, Some(copy))?);
            }
        }
        Ok(Output { sources, turn: 0, peeked: None })
    }

    /// From a terminal's master.
    pub(super) fn terminal(master: OwnedFd) -> Result<Output> {
        Ok(Output { sources: vec![Source::new(Stream::Stdout, master, None)?], turn: 0, peeked: None })
    }

    pub(crate) async fn peek(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some((_, chunk)) = &self.peeked {
                return Ok(Some(chunk.clone()));
            }
            if !self.try_all()? {
                match &self.sources[..] {
                    [one] if !one.ended => one.ready().await?,
                    [one, two] => match (one.ended, two.ended) {
                        (false, false) => tokio::select! {
                            ready = one.ready() => ready?,
                            ready = two.ready() => ready?,
                        },
                        (false, true) => one.ready().await?,
                        (true, false) => two.ready().await?,
                        (true, true) => return Ok(None),
                    },
                    _ => return Ok(None),
                }
            }
        }
    }

    pub(crate) async fn consume(&mut self) -> Result<()> {
        let Some((at, chunk)) = self.peeked.take() else { return Ok(()) };
        let source = &self.sources[at];
        if source.copy.is_none() {
            return Ok(());
        }
        let mut buffer = vec![0; chunk.bytes.len()];
        let mut left = buffer.len();
        while left > 0 {
            match rustix::io::read(source.fd.get_ref(), &mut buffer[..left]) {
                Ok(0) => break,
                Ok(count) => left -= count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(watched(errno.into())),
            }
        }
        Ok(())
    }

    /// Asks every source once; `true` when something changed.
    fn try_all(&mut self) -> Result<bool> {
        let count = self.sources.len();
        let mut changed = false;
        for offset in 0..count {
            let at = (self.turn + offset) % count;
            let source = &mut self.sources[at];
            if source.ended {
                continue;
            }
            match source.try_peek() {
                Ok(bytes) if bytes.is_empty() => {
                    source.ended = true;
                    changed = true;
                }
                Ok(bytes) => {
                    self.peeked = Some((at, Chunk { stream: source.stream, bytes }));
                    self.turn = at + 1;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(watched(error)),
            }
        }
        Ok(changed)
    }
}

impl Source {
    fn new(stream: Stream, fd: OwnedFd, copy: Option<(OwnedFd, OwnedFd)>) -> Result<Source> {
        let fd = super::watch(fd, Interest::READABLE).map_err(watched)?;
        Ok(Source { stream, fd, copy, ended: false })
    }

    /// Waits until there may be something to read.
    async fn ready(&self) -> Result<()> {
        loop {
            let mut guard = self.fd.readable().await.map_err(watched)?;
            // Readiness is remembered; what says it is only old is asked of the kernel.
            match guard.try_io(|fd| has_input(fd.get_ref())) {
                Ok(outcome) => return outcome.map_err(watched),
                Err(_) => continue,
            }
        }
    }

    /// Some bytes, left where they are; empty at the end.
    fn try_peek(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; CHUNK];
        let count = match &self.copy {
            Some((read, write)) => match tee(self.fd.get_ref(), write, CHUNK, SpliceFlags::NONBLOCK)? {
                0 => 0,
                _ => rustix::io::read(read, &mut bytes[..])?,
            },
            None => match rustix::io::read(self.fd.get_ref(), &mut bytes[..]) {
                // The last process that had the terminal open is gone.
                Err(Errno::IO) => 0,
                other => other?,
            },
        };
        bytes.truncate(count);
        Ok(bytes)
    }
}

/// `WouldBlock` when a read would.
fn has_input(fd: &OwnedFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if fds[0].revents().is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

fn watched(error: io::Error) -> Error {
    Error::new(Kind::Failed, format!("read a guest's output: {error}"))
}
