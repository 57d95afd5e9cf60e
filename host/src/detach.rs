//! The keys by which a client leaves a container's terminal without ending it, `ctrl-p,ctrl-q` unless told otherwise.
//! Docker's clients leave the watching to the engine.

/// Docker's own.
const DEFAULT: [u8; 2] = [16, 17];

/// The keys, in the order in which they are typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// The text names a key that there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey;

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q` or `ctrl-a,x`; nothing is the default.
    ///
    /// # Errors
    /// `UnknownKey` for what is neither one character nor `ctrl-` with a letter or one of `@ [ \ ] ^ _`.
    pub fn parse(text: &str) -> Result<DetachKeys, UnknownKey> {
        if text.is_empty() {
            return Ok(DetachKeys(DEFAULT.to_vec()));
        }
        let keys = text.split(',').map(|name| {
            if let [byte] = name.as_bytes() {
                return Ok(*byte);
            }
            match name.strip_prefix("ctrl-").map(str::as_bytes) {
                Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
                Some([sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(sign - b'@'),
                _ => Err(UnknownKey),
            }
        });
        keys.collect::<Result<_, _>>().map(DetachKeys)
    }
}

/// Watches what a client types.
#[derive(Debug)]
pub struct Watch {
    keys: DetachKeys,
    /// How many of the keys were typed last, in order; they are held back.
    held: usize,
}

/// What became of a piece that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// For the guest.
    Input(Vec<u8>),
    /// For the guest, and then the client leaves.
    Detach(Vec<u8>),
}

impl Watch {
    /// Nothing was typed yet.
    pub fn new(keys: DetachKeys) -> Watch {
        Watch { keys, held: 0 }
    }

    /// Looks at what was typed next. Keys that turn out to be others' beginnings go to the guest late, never lost.
    pub fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.keys.0[self.held] == *byte {
                self.held += 1;
                if self.held == self.keys.0.len() {
                    self.held = 0;
                    return Typed::Detach(out);
                }
                continue;
            }
            out.extend_from_slice(&self.keys.0[..self.held]);
            self.held = usize::from(self.keys.0[0] == *byte);
            if self.held == 0 {
                out.push(*byte);
            }
        }
        Typed::Input(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("", &[16, 17][..]),
            ("ctrl-p", &[16]),
            ("ctrl-a,x", &[1, b'x']),
            ("a,ctrl-[", &[b'a', 27]),
            ("ctrl-@", &[0]),
        ] {
            assert_eq!(DetachKeys::parse(text), Ok(DetachKeys(bytes.to_vec())), "{text}");
        }
        for text in ["ctrl-", "ctrl-P", "ctrl-ab", "abc", "a,,b", "shift-a", ","] {
            assert_eq!(DetachKeys::parse(text), Err(UnknownKey), "{text}");
        }
    }

    #[test]
    fn keys_leave_and_their_beginnings_are_typed() {
        let mut watch = Watch::new(DetachKeys::parse("").unwrap());
        assert_eq!(watch.typed(b"ab\x10"), Typed::Input(b"ab".to_vec()));
        assert_eq!(watch.typed(b"c"), Typed::Input(b"\x10c".to_vec()));
        assert_eq!(watch.typed(b"\x10\x10"), Typed::Input(b"\x10".to_vec()));
        assert_eq!(watch.typed(b"\x11rest"), Typed::Detach(Vec::new()));
        let mut one = Watch::new(DetachKeys::parse("q").unwrap());
        assert_eq!(one.typed(b"hiq"), Typed::Detach(b"hi".to_vec()));
    }
}
