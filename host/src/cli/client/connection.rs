//! One HTTP/1.1 connection: requests out, heads in, and the bytes read beyond them.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::Payload;
use super::body::Framing;

/// Heads longer than this are nobody's honest answer.
const LONGEST_HEAD: usize = 64 * 1024;

/// A stream and what was read from it but not yet used.
#[derive(Debug)]
pub(crate) struct Connection<S = UnixStream> {
    stream: S,
    buffer: Vec<u8>,
    start: usize,
}

/// What an answer says before its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) media_type: Option<String>,
    pub(crate) path_stat: Option<String>,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(stream: S) -> Connection<S> {
        Connection { stream, buffer: Vec::new(), start: 0 }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, and the bytes that came after the last head.
    pub(crate) fn into_parts(mut self) -> (S, Vec<u8>) {
        self.buffer.drain(..self.start);
        (self.stream, self.buffer)
    }

    pub(crate) fn write_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        payload: Payload<'_>,
    ) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: proa\r\nUser-Agent: proa\r\n").into_bytes();
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        match payload {
            Payload::None if method == "POST" => head.extend(b"Content-Length: 0\r\n\r\n"),
            Payload::None => head.extend(b"\r\n"),
            Payload::Json(body) => {
                write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())?;
                // One write for head and body: one wake-up of the host.
                head.extend(body);
            }
            Payload::Stream { media_type, bytes } => {
                write!(head, "Content-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                self.stream.write_all(&head)?;
                return self.write_chunks(bytes);
            }
        }
        self.stream.write_all(&head)
    }

    fn write_chunks(&mut self, bytes: &mut dyn Read) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match bytes.read(&mut buffer)? {
                0 => return self.stream.write_all(b"0\r\n\r\n"),
                n => {
                    write!(self.stream, "{n:x}\r\n")?;
                    self.stream.write_all(&buffer[..n])?;
                    self.stream.write_all(b"\r\n")?;
                }
            }
        }
    }

    /// The head of the next answer, interim ones (1xx other than 101) skipped.
    pub(crate) fn read_head(&mut self) -> io::Result<Head> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer[self.start..])? {
                self.start += length;
                if head.status >= 200 || head.status == 101 {
                    return Ok(head);
                }
            } else if self.buffer.len() - self.start > LONGEST_HEAD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer's head is too long"));
            } else if self.fill()? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the host hung up before it answered"));
            }
        }
    }

    /// Reads once more from the stream; 0 at its end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let held = self.buffer.len();
        self.buffer.resize(held + 64 * 1024, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[held..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        read
    }

    /// What has been read and not used.
    pub(crate) fn held(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Marks `n` held bytes as used.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
    }

    /// Takes up to `into.len()` bytes, from the buffer first; 0 at the stream's end.
    pub(crate) fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.held().is_empty() && self.fill()? == 0 {
            return Ok(0);
        }
        let n = self.held().len().min(into.len());
        into[..n].copy_from_slice(&self.held()[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// The head at the beginning of `bytes` and its length; `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = answer.code.unwrap_or_default();
    let header = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let framing = if status == 101 {
        Framing::UntilEnd
    } else if status == 204 || status == 304 {
        Framing::Length(0)
    } else if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        Framing::chunked()
    } else {
        match header("content-length") {
            Some(value) => Framing::Length(
                value
                    .parse()
                    .map_err(|error: std::num::ParseIntError| io::Error::new(io::ErrorKind::InvalidData, error))?,
            ),
            None => Framing::UntilEnd,
        }
    };
    let owned = |name: &str| header(name).map(str::to_owned);
    let (media_type, path_stat) = (owned("content-type"), owned("x-docker-container-path-stat"));
    Ok(Some((Head { status, framing, media_type, path_stat }, length)))
}
