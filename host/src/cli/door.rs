//! Where the host is: by `PROA_HOST`, or at the root's own socket, where one is started when none runs.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::autostart;
use super::client::Error;
use super::root;

/// How long a host that was named may take to appear.
const PATIENCE: Duration = Duration::from_secs(2);
/// The room for a socket's path in `sockaddr_un` (unix(7)), less the closing zero.
const LONGEST_ADDRESS: usize = 107;

/// Where the host listens, and whether it may be started when it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    /// Somebody named this socket: its host is theirs to start.
    Named(PathBuf),
    /// The socket of this root: `proa.sock` in it.
    Root(PathBuf),
}

impl Door {
    /// `--host` before PROA_HOST before `--root` before PROA_ROOT before the default root.
    pub(crate) fn find(host: Option<&str>, root: Option<&Path>) -> anyhow::Result<Door> {
        let named = host.map(str::to_owned).or_else(|| match root {
            Some(_) => None,
            None => std::env::var("PROA_HOST").ok().filter(|host| !host.is_empty()),
        });
        match named {
            Some(host) => Ok(Door::Named(socket_of(&host)?)),
            None => Ok(Door::Root(root::find(root)?)),
        }
    }

    /// The socket's path.
    pub(crate) fn socket(&self) -> PathBuf {
        match self {
            Door::Named(socket) => socket.clone(),
            Door::Root(root) => root.join("proa.sock"),
        }
    }

    /// Connects to a host that is already there.
    pub(crate) fn knock(&self) -> io::Result<UnixStream> {
        connect(&self.socket())
    }

    /// Connects; waits a little for a host that was named, starts the root's own.
    pub(crate) fn open(&self) -> anyhow::Result<UnixStream> {
        match (self.knock(), self) {
            (Ok(stream), _) => Ok(stream),
            (Err(_), Door::Root(root)) => autostart::start(root, self),
            (Err(_), Door::Named(socket)) => Ok(wait_for(socket)?),
        }
    }
}

fn wait_for(socket: &Path) -> Result<UnixStream, Error> {
    let asked = Instant::now();
    loop {
        match connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(source) if asked.elapsed() >= PATIENCE => {
                return Err(Error::Connect { socket: socket.to_path_buf(), source });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().len() <= LONGEST_ADDRESS {
        return UnixStream::connect(socket);
    }
    // A longer path is reached through a handle of its directory.
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(directory)?;
    UnixStream::connect(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

fn socket_of(host: &str) -> anyhow::Result<PathBuf> {
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => anyhow::bail!(
            "`{host}` names no host: proa speaks over unix sockets only\nhint: write it as unix:///path/to/proa.sock"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_host_is_a_unix_socket_with_an_absolute_path() {
        assert_eq!(socket_of("unix:///run/proa.sock").expect("a socket"), PathBuf::from("/run/proa.sock"));
        for wrong in ["tcp://127.0.0.1:2375", "unix://proa.sock", "/run/proa.sock"] {
            assert!(socket_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_with_a_long_path_is_reached_through_its_directory() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let long = scratch.path().join("x".repeat(120));
        std::fs::create_dir(&long).expect("a folder");
        let handle = std::fs::File::open(&long).expect("its handle");
        let short = format!("/proc/self/fd/{}/proa.sock", handle.as_raw_fd());
        let _listener = std::os::unix::net::UnixListener::bind(short).expect("a listener");
        connect(&long.join("proa.sock")).expect("connected");
    }
}
