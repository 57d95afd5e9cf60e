//! A small blocking HTTP/1.1 client for the Docker Engine API on a unix socket: the only way any verb talks to a host.
//!
//! Must not know verbs, flags or terminals, and does without tokio, so that `run` starts in no time.

mod body;
mod connection;
mod frames;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use body::Body;
pub(crate) use frames::{copy_frames, copy_raw};

use super::door::Door;
use connection::{Connection, Head};

/// The version of the Docker Engine API that the command line speaks.
pub(crate) const VERSION: &str = "1.51";

/// What can go wrong between the command line and the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("connect to the host at `{}`", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("send `{request}` to the host")]
    Send { request: String, source: io::Error },
    #[error("read the host's answer to `{request}`")]
    Receive { request: String, source: io::Error },
    /// What the host said, in its own words; a hint stands on a line of its own.
    #[error("{message}")]
    Refused { status: u16, message: String },
    #[error("understand the host's answer to `{request}`")]
    Understand { request: String, source: serde_json::Error },
}

/// The client's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What goes out with a request.
pub(crate) enum Payload<'a> {
    None,
    Json(Vec<u8>),
    /// A body of unknown length, sent in chunks.
    Stream {
        media_type: &'a str,
        bytes: &'a mut dyn Read,
    },
}

/// One connection to a host, kept alive between requests.
#[derive(Debug)]
pub(crate) struct Client {
    door: Door,
    connection: Connection,
}

impl Client {
    /// Connects, starting a host where the door allows it.
    pub(crate) fn connect(door: &Door) -> anyhow::Result<Client> {
        Ok(Client { door: door.clone(), connection: Connection::new(door.open()?) })
    }

    /// A second connection to the same host, which must be there.
    pub(crate) fn another(&self) -> Result<Client> {
        let stream =
            self.door.knock().map_err(|source| Error::Connect { socket: self.door.socket().to_path_buf(), source })?;
        Ok(Client { door: self.door.clone(), connection: Connection::new(stream) })
    }

    /// The other end's process id.
    pub(crate) fn host_pid(&self) -> Option<rustix::process::Pid> {
        rustix::net::sockopt::socket_peercred(self.connection.stream()).ok().map(|credentials| credentials.pid)
    }

    /// `GET path`, its answer as JSON.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        self.send("GET", path, &[], Payload::None)?.json()
    }

    /// `POST path` without a body; the answer's body is dropped.
    pub(crate) fn post(&mut self, path: &str) -> Result<u16> {
        self.send("POST", path, &[], Payload::None)?.finish()
    }

    /// `POST path` with a JSON body, its answer as JSON.
    pub(crate) fn post_json<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T> {
        self.send("POST", path, &[], json(path, body)?)?.json()
    }

    /// `DELETE path`; the answer as JSON where there is one.
    pub(crate) fn delete(&mut self, path: &str) -> Result<Option<serde_json::Value>> {
        self.send("DELETE", path, &[], Payload::None)?.json_if_any()
    }

    /// One request and the head of its answer; the body streams from the connection.
    ///
    /// # Errors
    /// [`Error::Refused`] for a status of 400 and above.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Result<Response<'_>> {
        let streams = matches!(payload, Payload::Stream { .. });
        match self.write(method, path, headers, payload) {
            // A host that has heard enough of a long body answers and hangs up; its answer says more than our broken
            // pipe.
            Err(unsent) if streams => self.receive(method, path).and(Err(unsent)),
            Err(unsent) => Err(unsent),
            Ok(()) => self.receive(method, path),
        }
    }

    /// The request alone; [`receive`](Client::receive) takes the answer later.
    pub(crate) fn write(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> Result<()> {
        let target = versioned(path);
        self.connection
            .write_request(method, &target, headers, payload)
            .map_err(|source| Error::Send { request: format!("{method} {path}"), source })
    }

    /// The answer to the request written last.
    pub(crate) fn receive(&mut self, method: &str, path: &str) -> Result<Response<'_>> {
        let request = format!("{method} {path}");
        let mut head = match self.connection.read_head() {
            Ok(head) => head,
            Err(source) => return Err(Error::Receive { request, source }),
        };
        if method == "HEAD" {
            head.framing = body::Framing::Length(0);
        }
        let response = Response { request, head, connection: &mut self.connection };
        if response.head.status >= 400 { Err(response.refusal()) } else { Ok(response) }
    }

    /// A request that turns the connection into a two-way stream (`attach`, `exec start`).
    pub(crate) fn hijack(mut self, path: &str, payload: Payload<'_>) -> Result<Hijacked> {
        const UPGRADE: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "tcp")];
        let response = self.send("POST", path, &UPGRADE, payload)?;
        drop(response);
        let (stream, early) = self.connection.into_parts();
        Ok(Hijacked { stream, early: io::Cursor::new(early) })
    }
}

/// A JSON payload.
pub(crate) fn json(path: &str, body: &impl Serialize) -> Result<Payload<'static>> {
    let bytes =
        serde_json::to_vec(body).map_err(|source| Error::Understand { request: format!("POST {path}"), source })?;
    Ok(Payload::Json(bytes))
}

/// Docker's paths carry the version; proa's own additions have none.
fn versioned(path: &str) -> String {
    if path.starts_with("/proa/") { path.to_owned() } else { format!("/v{VERSION}{path}") }
}

/// An answer whose body has not been read yet. Dropping it leaves the connection unusable for a further request
/// unless the body was read to its end.
pub(crate) struct Response<'c> {
    request: String,
    head: Head,
    connection: &'c mut Connection,
}

impl<'c> Response<'c> {
    /// The body, to be read as it comes.
    pub(crate) fn into_body(self) -> Body<'c> {
        Body::new(self.head.framing, self.connection)
    }

    /// What the host knows of a path inside a container (`X-Docker-Container-Path-Stat`).
    pub(crate) fn path_stat(&self) -> Option<&str> {
        self.head.path_stat.as_deref()
    }

    /// Whether the body is Docker's multiplexed stream, by its media type.
    pub(crate) fn is_multiplexed(&self) -> Option<bool> {
        match self.head.media_type.as_deref()? {
            "application/vnd.docker.multiplexed-stream" => Some(true),
            "application/vnd.docker.raw-stream" => Some(false),
            _ => None,
        }
    }

    fn bytes(self) -> Result<(String, Vec<u8>)> {
        let mut bytes = Vec::new();
        let request = self.request;
        match Body::new(self.head.framing, self.connection).read_to_end(&mut bytes) {
            Ok(_) => Ok((request, bytes)),
            Err(source) => Err(Error::Receive { request, source }),
        }
    }

    /// The whole body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T> {
        let (request, bytes) = self.bytes()?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Understand { request, source })
    }

    fn json_if_any(self) -> Result<Option<serde_json::Value>> {
        let (request, bytes) = self.bytes()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Understand { request, source })
    }

    /// The whole body as text.
    pub(crate) fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes()?.1).into_owned())
    }

    /// Reads the body away; the status.
    pub(crate) fn finish(self) -> Result<u16> {
        let status = self.head.status;
        self.bytes()?;
        Ok(status)
    }

    /// What the host said instead of doing it: `{"message": "..."}`, or whatever it sent.
    fn refusal(self) -> Error {
        #[derive(serde::Deserialize)]
        struct Said {
            message: String,
        }
        let status = self.head.status;
        let bytes = match self.bytes() {
            Ok((_, bytes)) => bytes,
            Err(error) => return error,
        };
        let message = match serde_json::from_slice::<Said>(&bytes) {
            Ok(said) => said.message.trim_end().to_owned(),
            Err(_) => format!("the host answered with status {status}"),
        };
        Error::Refused { status, message }
    }
}

/// A connection that has become a plain two-way stream.
#[derive(Debug)]
pub(crate) struct Hijacked {
    stream: UnixStream,
    early: io::Cursor<Vec<u8>>,
}

impl Hijacked {
    /// A second handle for the direction to the guest.
    pub(crate) fn input(&self) -> io::Result<Input> {
        self.stream.try_clone().map(Input)
    }
}

impl Read for Hijacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.early.read(buffer)? {
            0 => self.stream.read(buffer),
            n => Ok(n),
        }
    }
}

/// The direction to the guest.
#[derive(Debug)]
pub(crate) struct Input(UnixStream);

impl Input {
    /// Ends the guest's standard input and leaves its output open.
    pub(crate) fn close(self) {
        // The host may be gone already; then there is nothing to end.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Ends both directions, so that whoever reads the guest's output comes to its end; the guest goes on.
    pub(crate) fn leave(self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
