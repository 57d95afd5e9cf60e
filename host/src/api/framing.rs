//! Docker's multiplexed stream: eight bytes before each piece say which stream it is of and how long it is. A terminal
//! has one stream and goes raw.

use bytes::{BufMut, Bytes, BytesMut};
use proa_sandbox::Stream;

use crate::state::log::Entry;
use crate::timestamp::rfc3339_nanos;

/// Which streams a client wants, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub stdout: bool,
    pub stderr: bool,
    /// Multiplexed; raw for a terminal.
    pub framed: bool,
    /// A time before each line.
    pub timestamps: bool,
    /// Details before each line, behind the time.
    pub details: bool,
}

/// Turns log entries into what goes over the connection.
#[derive(Debug)]
pub(crate) struct Framing {
    wanted: Wanted,
    /// What [`Wanted::details`] shows, the same for all of a container's lines.
    details: String,
    /// A piece a line, as dockerd reads a log: clients iterate over pieces. Else a piece is what was written at once.
    by_line: bool,
    /// Whether the stream's next byte begins a line.
    at_line: [bool; 2],
}

/// The media types of a hijacked or streamed answer; 1.42 began to tell the two apart.
pub(crate) fn media_type(framed: bool, version: (u32, u32)) -> &'static str {
    if framed && version >= (1, 42) {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    }
}

/// The eight bytes before a piece of `length` bytes.
pub(crate) fn header(stream: Stream, length: usize) -> [u8; 8] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [stream as u8, 0, 0, 0, length[0], length[1], length[2], length[3]]
}

impl Framing {
    /// Begins at the beginning of a line of each stream.
    pub(crate) fn new(wanted: Wanted) -> Framing {
        Framing { wanted, details: String::new(), by_line: false, at_line: [true; 2] }
    }

    /// The same for a log that is read line by line, with what stands before each where [`Wanted::details`] are.
    pub(crate) fn by_line(mut self, details: String) -> Framing {
        (self.by_line, self.details) = (true, details);
        self
    }

    /// What goes out for `entries`; empty when the client wants none of it.
    pub(crate) fn encode(&mut self, entries: &[Entry]) -> Bytes {
        let mut out = BytesMut::with_capacity(entries.iter().map(|entry| entry.bytes.len() + 8).sum());
        for entry in entries {
            let wanted = if entry.stream == Stream::Stdout { self.wanted.stdout } else { self.wanted.stderr };
            if !wanted {
                continue;
            }
            if self.by_line || self.wanted.timestamps {
                self.lines(entry, &mut out);
            } else {
                self.piece(entry.stream, &entry.bytes, &mut out);
            }
        }
        out.freeze()
    }

    fn lines(&mut self, entry: &Entry, out: &mut BytesMut) {
        for line in entry.bytes.split_inclusive(|byte| *byte == b'\n') {
            let at_line = &mut self.at_line[usize::from(entry.stream == Stream::Stderr)];
            let begins = std::mem::replace(at_line, line.ends_with(b"\n"));
            if begins {
                let mut stamped = Vec::with_capacity(line.len() + self.details.len() + 32);
                if self.wanted.timestamps {
                    stamped.extend_from_slice(rfc3339_nanos(entry.nanos).as_bytes());
                    stamped.push(b' ');
                }
                if self.wanted.details {
                    stamped.extend_from_slice(self.details.as_bytes());
                    stamped.push(b' ');
                }
                stamped.extend_from_slice(line);
                self.piece(entry.stream, &stamped, out);
            } else {
                self.piece(entry.stream, line, out);
            }
        }
    }

    fn piece(&self, stream: Stream, bytes: &[u8], out: &mut BytesMut) {
        if self.wanted.framed {
            out.put_slice(&header(stream, bytes.len()));
        }
        out.put_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stream: Stream, text: &str) -> Entry {
        Entry { stream, nanos: 0, partial: false, bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn frames_carry_stream_and_length() {
        let wanted = Wanted { stdout: true, stderr: true, framed: true, timestamps: false, details: false };
        let out = Framing::new(wanted).encode(&[entry(Stream::Stdout, "ab"), entry(Stream::Stderr, "c")]);
        assert_eq!(&out[..], b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01c");
    }

    #[test]
    fn a_time_stands_before_lines_and_not_before_their_rest() {
        let wanted = Wanted { stdout: true, stderr: false, framed: false, timestamps: true, details: false };
        let mut framing = Framing::new(wanted);
        let out =
            framing.encode(&[entry(Stream::Stdout, "a\nb"), entry(Stream::Stderr, "x"), entry(Stream::Stdout, "c\n")]);
        let time = rfc3339_nanos(0);
        assert_eq!(String::from_utf8(out.to_vec()).unwrap(), format!("{time} a\n{time} bc\n"));
        let mut framing = Framing::new(Wanted { details: true, ..wanted }).by_line("tier=web".to_owned());
        let out = framing.encode(&[entry(Stream::Stdout, "a\n")]);
        assert_eq!(String::from_utf8(out.to_vec()).unwrap(), format!("{time} tier=web a\n"));
    }
}
