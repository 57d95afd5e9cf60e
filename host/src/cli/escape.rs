//! The keys with which a caller leaves a container's terminal without ending it: Docker's, ctrl-p and then ctrl-q.

use std::io::{self, Read, Write};

const FIRST: u8 = 0x10;
const SECOND: u8 = 0x11;

/// Copies what is typed until its end, or until both keys, one after the other; whether it was the keys. The first is
/// held back until it is known what follows.
pub(crate) fn copy_until_escape(mut from: impl Read, to: &mut impl Write) -> io::Result<bool> {
    let (mut buffer, mut held) = ([0; 4096], false);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut typed = Vec::with_capacity(read + 1);
        for &byte in &buffer[..read] {
            if held && byte == SECOND {
                to.write_all(&typed)?;
                return Ok(true);
            }
            if held {
                typed.push(FIRST);
            }
            held = byte == FIRST;
            if !held {
                typed.push(byte);
            }
        }
        if read == 0 {
            if held {
                to.write_all(&[FIRST])?;
            }
            return Ok(false);
        }
        to.write_all(&typed)?;
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one byte at a time, as keys are typed.
    struct Keys<'a>(&'a [u8]);

    impl Read for Keys<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = buffer.len().min(1);
            self.0.read(&mut buffer[..some])
        }
    }

    fn check(typed: &[u8], passed: &[u8], escaped: bool) {
        let (mut slow, mut fast) = (Vec::new(), Vec::new());
        assert_eq!(copy_until_escape(Keys(typed), &mut slow).expect("memory"), escaped, "{typed:?}");
        assert_eq!(copy_until_escape(typed, &mut fast).expect("memory"), escaped, "{typed:?}");
        assert_eq!((slow.as_slice(), fast.as_slice()), (passed, passed), "{typed:?}");
    }

    #[test]
    fn both_keys_in_a_row_leave_and_nothing_else_is_lost() {
        check(b"ls\n\x10\x11more", b"ls\n", true);
        check(b"\x10\x10\x11", b"\x10", true);
        check(b"a\x10b\x11", b"a\x10b\x11", false);
        check(b"a\x10", b"a\x10", false);
        check(b"", b"", false);
    }
}
