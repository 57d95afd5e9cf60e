//! Short texts put together on the stack.

use std::ffi::CStr;

use rustix::io::{Errno, Result};

/// Up to `N` - 1 bytes and a NUL.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(super) fn new() -> Text<N> {
        Text { bytes: [0; N], length: 0 }
    }

    pub(super) fn of(text: &[u8]) -> Result<Text<N>> {
        let mut copy = Text::new();
        copy.push(text)?;
        Ok(copy)
    }

    pub(super) fn push(&mut self, text: &[u8]) -> Result<&mut Text<N>> {
        let end = self.length + text.len();
        if end >= N {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes[self.length..end].copy_from_slice(text);
        self.length = end;
        Ok(self)
    }

    pub(super) fn number(&mut self, number: u32) -> Result<&mut Text<N>> {
        self.digits(number, 10)
    }

    /// As modes are written.
    pub(super) fn octal(&mut self, number: u32) -> Result<&mut Text<N>> {
        self.digits(number, 8)
    }

    fn digits(&mut self, number: u32, base: u32) -> Result<&mut Text<N>> {
        // As many as 32 bits have in base 8.
        let mut digits = [0; 11];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % base) as u8;
            rest /= base;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[at..])
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(super) fn as_c_str(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::INVAL)
    }
}
