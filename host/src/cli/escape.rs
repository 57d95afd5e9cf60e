//! The keys with which a caller leaves a container's terminal without ending it: Docker's, ctrl-p and then ctrl-q, or
//! those of `--detach-keys` and config.json.

use std::io::{self, Read, Write};

use anyhow::bail;

use super::docker_config;

/// More keys than this nobody types to leave.
const MOST: usize = 16;

/// The keys, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keys {
    keys: [u8; MOST],
    count: usize,
}

impl Keys {
    /// What was typed, else what config.json says, else Docker's. The file is only looked at for a terminal, the one
    /// place where keys matter.
    pub(crate) fn find(typed: Option<&str>, for_terminal: bool) -> anyhow::Result<Keys> {
        match typed.filter(|typed| !typed.is_empty()) {
            Some(typed) => Keys::parse(typed),
            None if for_terminal => match docker_config::detach_keys() {
                Some(keys) => Keys::parse(&keys),
                None => Keys::parse("ctrl-p,ctrl-q"),
            },
            None => Keys::parse("ctrl-p,ctrl-q"),
        }
    }

    /// `ctrl-p,ctrl-q` or `a,b`: single characters, and `ctrl-` with a letter or one of `@[\]^_`.
    fn parse(typed: &str) -> anyhow::Result<Keys> {
        let mut all = Keys { keys: [0; MOST], count: 0 };
        for key in typed.split(',') {
            let byte = match key.as_bytes() {
                [byte] => *byte,
                [b'c', b't', b'r', b'l', b'-', letter @ b'a'..=b'z'] => letter - b'a' + 1,
                [b'c', b't', b'r', b'l', b'-', letter @ (b'@' | b'['..=b'_')] => letter - b'@',
                _ => bail!("`{typed}` are no keys to detach with\nhint: write them as ctrl-p,ctrl-q"),
            };
            if all.count == MOST {
                bail!("`{typed}` are too many keys to detach with");
            }
            all.keys[all.count] = byte;
            all.count += 1;
        }
        Ok(all)
    }

    fn as_slice(&self) -> &[u8] {
        &self.keys[..self.count]
    }
}

/// Copies what is typed until its end, or until all keys, one after the other; whether it was the keys. What may be
/// their beginning is held back until it is known what follows.
pub(crate) fn copy_until_escape(mut from: impl Read, to: &mut impl Write, keys: Keys) -> io::Result<bool> {
    let (mut buffer, mut held) = ([0; 4096], Vec::new());
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut typed = Vec::with_capacity(read + held.len());
        for &byte in &buffer[..read] {
            held.push(byte);
            while !keys.as_slice().starts_with(&held) {
                typed.push(held.remove(0));
            }
            if held.len() == keys.as_slice().len() {
                to.write_all(&typed)?;
                return Ok(true);
            }
        }
        if read == 0 {
            to.write_all(&held)?;
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
    struct Typed<'a>(&'a [u8]);

    impl Read for Typed<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = buffer.len().min(1);
            self.0.read(&mut buffer[..some])
        }
    }

    fn check(keys: &str, typed: &[u8], passed: &[u8], escaped: bool) {
        let keys = Keys::parse(keys).expect("keys");
        let (mut slow, mut fast) = (Vec::new(), Vec::new());
        assert_eq!(copy_until_escape(Typed(typed), &mut slow, keys).expect("memory"), escaped, "{typed:?}");
        assert_eq!(copy_until_escape(typed, &mut fast, keys).expect("memory"), escaped, "{typed:?}");
        assert_eq!((slow.as_slice(), fast.as_slice()), (passed, passed), "{typed:?}");
    }

    #[test]
    fn all_keys_in_a_row_leave_and_nothing_else_is_lost() {
        const DOCKERS: &str = "ctrl-p,ctrl-q";
        check(DOCKERS, b"ls\n\x10\x11more", b"ls\n", true);
        check(DOCKERS, b"\x10\x10\x11", b"\x10", true);
        check(DOCKERS, b"a\x10b\x11", b"a\x10b\x11", false);
        check(DOCKERS, b"a\x10", b"a\x10", false);
        check(DOCKERS, b"", b"", false);
        check("a,a,b", b"xaaab", b"xa", true);
        check("ctrl-[", b"x\x1by", b"x", true);
    }

    #[test]
    fn keys_are_characters_or_control_characters() {
        assert_eq!(Keys::parse("ctrl-@,x,ctrl-_").expect("keys").as_slice(), [0, b'x', 0x1f]);
        for wrong in ["", "xx", "ctrl-", "ctrl-P", "ctrl-p,", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"] {
            assert!(Keys::parse(wrong).is_err(), "{wrong}");
        }
    }
}
