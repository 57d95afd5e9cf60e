//! An answer's body, decoded as it is read: by length, in chunks, or until the end (RFC 9112, section 6).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::connection::Connection;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many more bytes.
    Length(u64),
    /// After the chunk of size 0; `left` bytes of the present chunk are to come.
    Chunked { left: u64, first: bool, ended: bool },
    /// With the connection.
    UntilEnd,
}

impl Framing {
    pub(crate) fn chunked() -> Framing {
        Framing::Chunked { left: 0, first: true, ended: false }
    }
}

/// A body that reads from its connection; read to its end it leaves the connection ready for the next request.
#[derive(Debug)]
pub(crate) struct Body<'c, S = UnixStream> {
    framing: Framing,
    connection: &'c mut Connection<S>,
}

impl<'c, S: Read + Write> Body<'c, S> {
    pub(crate) fn new(framing: Framing, connection: &'c mut Connection<S>) -> Body<'c, S> {
        Body { framing, connection }
    }

    /// Reads at most `left` bytes; an early end is an error.
    fn take(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match self.connection.take(&mut buffer[..most])? {
            0 if most > 0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the host hung up in the middle of it")),
            n => Ok(n),
        }
    }

    /// One line without its line feed, at most 8 KiB.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.connection.held().iter().position(|byte| *byte == b'\n') {
                let line = self.connection.held()[..end].trim_ascii_end().to_vec();
                self.connection.consume(end + 1);
                return Ok(line);
            }
            if self.connection.held().len() > 8192 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk's size has no end"));
            }
            if self.connection.fill()? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the host hung up in the middle of it"));
            }
        }
    }

    /// The size of the next chunk; the trailer is read away after the last.
    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        if !first {
            self.line()?;
        }
        let line = self.line()?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a chunk's size is no number"))?;
        if size == 0 {
            while !self.line()?.is_empty() {}
        }
        Ok(size)
    }
}

impl<S: Read + Write> Read for Body<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.framing {
            Framing::Length(0) | Framing::Chunked { ended: true, .. } => Ok(0),
            Framing::Length(left) => {
                let n = self.take(buffer, left)?;
                self.framing = Framing::Length(left - n as u64);
                Ok(n)
            }
            Framing::Chunked { left: 0, first, .. } => {
                let left = self.next_chunk(first)?;
                self.framing = Framing::Chunked { left, first: false, ended: left == 0 };
                self.read(buffer)
            }
            Framing::Chunked { left, .. } => {
                let n = self.take(buffer, left)?;
                self.framing = Framing::Chunked { left: left - n as u64, first: false, ended: false };
                Ok(n)
            }
            Framing::UntilEnd => self.connection.take(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that arrive `step` at a time.
    struct Trickle {
        bytes: Vec<u8>,
        step: usize,
    }

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.step.min(buffer.len()).min(self.bytes.len());
            buffer[..n].copy_from_slice(&self.bytes[..n]);
            self.bytes.drain(..n);
            Ok(n)
        }
    }

    impl Write for Trickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Every answer on the wire, however it is cut, gives status and body, one after the other.
    fn check(wire: &str, expected: &[(u16, &str)]) {
        for step in [1, 2, 7, 100_000] {
            let mut connection = Connection::new(Trickle { bytes: wire.as_bytes().to_vec(), step });
            for (status, body) in expected {
                let head = connection.read_head().expect("a head");
                let mut read = String::new();
                Body::new(head.framing, &mut connection).read_to_string(&mut read).expect("a body");
                assert_eq!((head.status, read.as_str()), (*status, *body), "in steps of {step}");
            }
        }
    }

    #[test]
    fn bodies_end_by_length_by_chunk_or_with_the_connection() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", &[(200, "hello")]);
        check(
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n8;x=y\r\n, world!\r\n0\r\n\r\n",
            &[(201, "hello, world!")],
        );
        check("HTTP/1.1 200 OK\r\n\r\nto the end", &[(200, "to the end")]);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", &[(200, "")]);
    }

    #[test]
    fn a_connection_serves_one_answer_after_the_other() {
        check(
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n\
             HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            &[(204, ""), (200, "ab"), (404, "{}")],
        );
    }

    #[test]
    fn an_answer_cut_short_is_an_error_and_not_a_short_body() {
        for wire in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ] {
            let mut connection = Connection::new(Trickle { bytes: wire.as_bytes().to_vec(), step: 3 });
            let head = connection.read_head().expect("a head");
            let error = Body::new(head.framing, &mut connection).read_to_end(&mut Vec::new()).expect_err("cut short");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{wire}");
        }
    }
}
