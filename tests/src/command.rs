//! Running a program to its end under a deadline, with its output kept apart and whole.

use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::wait;

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// What was run, for messages.
    pub line: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output as text, without the last line's end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// Standard error as text.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.stdout).lines().map(str::to_owned).collect()
    }

    /// Itself, if the command ended with 0.
    ///
    /// # Errors
    /// Shows the whole output otherwise.
    pub fn success(self) -> Result<Output> {
        self.exits(0)
    }

    /// Itself, if the command ended with `code`.
    ///
    /// # Errors
    /// Shows the whole output otherwise.
    pub fn exits(self, code: i32) -> Result<Output> {
        ensure!(self.code() == Some(code), "expected exit code {code}: {self}");
        Ok(self)
    }

    /// Itself, if it failed with `code` and one clear sentence on standard error that contains every one of `words`:
    /// no panic, no backtrace, no second error line (a `hint:` line and the pointer to `--help` may follow).
    ///
    /// # Errors
    /// Names what is missing and shows the output.
    pub fn refused(self, code: i32, words: &[&str]) -> Result<Output> {
        let output = self.exits(code)?;
        let complaint = output.complaint();
        let sentences: Vec<&str> = complaint.lines().filter(|line| is_sentence(line)).collect();
        ensure!(sentences.len() == 1, "expected one sentence, found {}: {output}", sentences.len());
        for word in words {
            ensure!(complaint.to_lowercase().contains(&word.to_lowercase()), "the message lacks `{word}`: {output}");
        }
        output.keeps_its_composure()
    }

    /// Itself, if nothing in it looks like a panic or a debug dump.
    ///
    /// # Errors
    /// Shows the output otherwise.
    pub fn keeps_its_composure(self) -> Result<Output> {
        let complaint = self.complaint();
        for sign in ["panicked", "backtrace", "RUST_", "unwrap", "Os {", "Custom {", ".rs:"] {
            ensure!(!complaint.contains(sign), "`{sign}` has no place in a message: {self}");
        }
        Ok(self)
    }
}

/// Lines that are neither the error itself nor noise around it do not count.
fn is_sentence(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty()
        || line.starts_with("hint:")
        || line.starts_with("Run '")
        || line.starts_with("See '")
        || line.starts_with("For more information")
        || line.starts_with("Usage:")
        || line.starts_with("tip:")
        || line.starts_with("[possible values:")
        || line.starts_with("Unable to find image")
        || line.starts_with("Pulling")
        || line.starts_with("Digest: sha256:")
        || line.starts_with("Status: ")
        || line.contains(": Pulling from")
        || is_progress(line))
}

/// Docker's lines about one layer begin with twelve digits of its digest.
fn is_progress(line: &str) -> bool {
    line.split_once(": ")
        .is_some_and(|(layer, _)| layer.len() == 12 && layer.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.status,
            excerpt(&self.stdout),
            excerpt(&self.stderr)
        )
    }
}

fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 4000;
    if bytes.len() <= MOST {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("{} … ({} bytes)", String::from_utf8_lossy(&bytes[..MOST]), bytes.len())
}

/// A command that runs: its standard input is ours, its output is collected beside it.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdout: Collected,
    stderr: Collected,
    ended: bool,
}

/// A stream that a thread reads as it comes.
#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

/// Starts `command` with three pipes.
///
/// # Errors
/// When it cannot be executed.
pub fn start(command: &mut Command) -> Result<Running> {
    let line = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{line}`"))?;
    let stdout = collect(child.stdout.take().context("a piped child has a standard output")?);
    let stderr = collect(child.stderr.take().context("a piped child has a standard error")?);
    Ok(Running { line, child, stdout, stderr, ended: false })
}

/// Runs `command` to its end with empty standard input.
///
/// # Errors
/// When it cannot be executed or does not end within `patience`.
pub fn run(command: &mut Command, patience: Duration) -> Result<Output> {
    start(command)?.finish(patience)
}

/// Runs `command` to its end and feeds it `input`.
///
/// # Errors
/// As [`run`].
pub fn feed(command: &mut Command, input: Vec<u8>, patience: Duration) -> Result<Output> {
    let mut running = start(command)?;
    let mut stdin = running.stdin()?;
    // A command that ends early closes the pipe; what it then did not read is its own affair.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = running.finish(patience);
    let _ = writer.join();
    output
}

impl Running {
    /// The writing end of its standard input; dropping it is the end of the input.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("standard input was taken before")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits until its standard output so far satisfies `enough`.
    ///
    /// # Errors
    /// When that does not come, or it ends first; shows what came.
    pub fn shows(&self, what: &str, enough: impl Fn(&str) -> bool) -> Result<()> {
        let seen = || String::from_utf8_lossy(&self.stdout.so_far()).into_owned();
        wait::until(&format!("`{}` shows {what}", self.line), || Ok(enough(&seen())))
            .with_context(|| format!("it showed\n{}", seen()))
    }

    /// Closes its standard input if we still hold it, and waits for its end.
    ///
    /// # Errors
    /// When it does not end within `patience` (it is killed then), or somebody keeps its output open after its end.
    pub fn finish(mut self, patience: Duration) -> Result<Output> {
        drop(self.child.stdin.take());
        let in_time = ends_by(&self.child, Instant::now() + patience)?;
        if !in_time {
            let _ = self.child.kill();
        }
        let status = self.child.wait()?;
        self.ended = true;
        let closed = self.stdout.is_closed() & self.stderr.is_closed();
        let output =
            Output { line: self.line.clone(), status, stdout: self.stdout.so_far(), stderr: self.stderr.so_far() };
        ensure!(in_time, "it did not end within {patience:?} and was killed: {output}");
        ensure!(closed, "somebody keeps its output open after its end: {output}");
        Ok(output)
    }
}

impl Collected {
    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_closed(&self) -> bool {
        self.ended.recv_timeout(Duration::from_secs(5)) != Err(RecvTimeoutError::Timeout)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Whether `child` ends before `deadline`; it is not reaped.
///
/// # Errors
/// When the kernel has no pidfd for it.
pub fn ends_by(child: &Child, deadline: Instant) -> Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: i64::try_from(left.as_secs())?, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (end, ended) = mpsc::channel();
    let sink = Arc::clone(&bytes);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
        }
        let _ = end.send(());
    });
    Collected { bytes, ended }
}

fn describe(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(program, |line, argument| format!("{line} {}", argument.to_string_lossy()))
}
