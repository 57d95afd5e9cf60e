//! Docker's multiplexed stream: frames of `[stream, 0, 0, 0, length (4 bytes, big endian)]` and the bytes.

use std::io::{self, Read, Write};

/// Splits `from` into `out` and `err` until its end, each frame written as it comes.
pub(crate) fn copy_frames(mut from: impl Read, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while let Some((stream, length)) = read_header(&mut from)? {
        let mut left = u64::from(length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let n = match from.read(&mut buffer[..most]) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ends within a frame")),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            match stream {
                // dockerd reports its own failures on the third stream.
                2 | 3 => err.write_all(&buffer[..n])?,
                _ => out.write_all(&buffer[..n])?,
            }
            left -= n as u64;
        }
        if stream == 1 {
            out.flush()?;
        }
    }
    Ok(())
}

/// Copies a terminal's stream, which has no frames.
pub(crate) fn copy_raw(mut from: impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                out.write_all(&buffer[..n])?;
                out.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The next frame's stream and length; `None` at a proper end.
fn read_header(from: &mut impl Read) -> io::Result<Option<(u8, u32)>> {
    let mut header = [0; 8];
    let mut filled = 0;
    while filled < header.len() {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ends within a frame")),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [stream, _, _, _, a, b, c, d] = header;
    Ok(Some((stream, u32::from_be_bytes([a, b, c, d]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        frame
    }

    #[test]
    fn frames_go_to_the_stream_they_name() {
        let wire = [frame(1, b"out"), frame(2, b"err\0\xff"), frame(1, b""), frame(1, b"put")].concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        copy_frames(wire.as_slice(), &mut out, &mut err).expect("whole frames");
        assert_eq!((out.as_slice(), err.as_slice()), (b"output".as_slice(), b"err\0\xff".as_slice()));
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error() {
        let wire = frame(1, b"hello");
        for cut in [3, 8, 10] {
            let error = copy_frames(&wire[..cut], &mut Vec::new(), &mut Vec::new()).expect_err("cut");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_frame_larger_than_the_buffer_arrives_whole() {
        let body = vec![7; 300_000];
        let mut out = Vec::new();
        copy_frames(frame(1, &body).as_slice(), &mut out, &mut Vec::new()).expect("a whole frame");
        assert_eq!(out, body);
    }
}
