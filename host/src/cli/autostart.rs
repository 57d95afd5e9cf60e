//! Starts a root's host in the background when none runs, once even when several commands ask for it together.
//!
//! The host is this same program, executed from `/proc/self/exe`, so that an upgrade of the file meanwhile cannot pair
//! a new host with an old command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::door::Door;

/// How long a fresh host may take; it adopts what runs, so a full node takes longer than an empty one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it stays without work.
const IDLE: &str = "60s";

/// Starts the host of `root` and connects to it. Commands that come here together take turns at a lock, and all but
/// the first find the host there.
pub(crate) fn start(root: &Path, door: &Door) -> anyhow::Result<UnixStream> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .with_context(|| format!("make the root directory `{}`", root.display()))?;
    let lock = open(&root.join("autostart.lock"))?;
    lock.lock().with_context(|| format!("wait for another command to start the host of `{}`", root.display()))?;
    if let Ok(stream) = door.knock() {
        return Ok(stream);
    }
    // Watched from before the start, so that the socket's appearance cannot be missed.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .and_then(|watch| {
            inotify::add_watch(&watch, root, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO)?;
            Ok(watch)
        })
        .with_context(|| format!("watch `{}`", root.display()))?;
    let log = open(&root.join("host.log"))?;
    log.set_len(0).context("empty the host's log")?;
    let child = spawn(root, door, &log).context("start a host in the background")?;
    wait(root, door, watch, child)
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(path).with_context(|| format!("open `{}`", path.display()))
}

fn spawn(root: &Path, door: &Door, log: &File) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("proa")
        .args(["host", "--background", "--idle-exit", IDLE, "--root"])
        .arg(root)
        .arg("--socket")
        .arg(door.socket())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
}

/// Waits for the socket to answer, or for the host's end.
fn wait(root: &Path, door: &Door, watch: impl rustix::fd::AsFd, mut child: Child) -> anyhow::Result<UnixStream> {
    let begun = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    // A kernel before 5.3 has no pidfd; the deadline then stands in for it.
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
    loop {
        if let Ok(stream) = door.knock() {
            return Ok(stream);
        }
        if let Some(status) = child.try_wait().context("look after the host")? {
            bail!("the host of `{}` ended before it was ready ({status}): {}", root.display(), last_words(root));
        }
        let Some(left) = PATIENCE.checked_sub(begun.elapsed()) else {
            bail!(
                "the host of `{}` is not ready after {} s\nhint: it writes to `{}`",
                root.display(),
                PATIENCE.as_secs(),
                root.join("host.log").display()
            );
        };
        let mut waited = vec![PollFd::new(&watch, PollFlags::IN)];
        waited.extend(ended.as_ref().map(|ended| PollFd::new(ended, PollFlags::IN)));
        match poll(&mut waited, Some(&Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }))
        {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error)).context("wait for the host"),
        }
        // What happened is not looked at: the socket either answers now or it does not.
        let _ = rustix::io::read(&watch, &mut [0_u8; 4096]);
    }
}

/// The last line of the host's log.
fn last_words(root: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut log = File::open(root.join("host.log"))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut text = Vec::new();
        log.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = read().unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| "it said nothing".to_owned(), |line| line.trim_start_matches("proa: ").to_owned())
}
