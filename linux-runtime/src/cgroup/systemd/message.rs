//! Messages of D-Bus as bytes (its specification, "Message Protocol"): as much as calls to systemd and its answers need.
//! Ours are little-endian, and so are those of a machine we run on.

use std::io;

/// A property's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Numbers(Vec<u32>),
    Bytes(Vec<u8>),
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) name: &'a str,
}

/// The kinds of messages.
pub(super) const CALL: u8 = 1;
pub(super) const REPLY: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// The header's fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Values on their way out, each at its alignment.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

/// A message that came in.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub(super) kind: u8,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) answers: u32,
    pub(super) body: Vec<u8>,
}

/// Values on their way in.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Value::Text(_) => "s",
            Value::Flag(_) => "b",
            Value::Number(_) => "t",
            Value::Numbers(_) => "au",
            Value::Bytes(_) => "ay",
        }
    }
}

impl Writer {
    pub(super) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[(&str, Value)]) {
        self.array(8, |all| {
            for (name, value) in properties {
                all.align(8);
                all.text(name);
                all.variant(value);
            }
        });
    }

    /// An array whose elements have the alignment `to`. Its length counts neither itself nor the gap behind it.
    pub(super) fn array(&mut self, to: usize, elements: impl FnOnce(&mut Writer)) {
        self.number(0);
        let length_at = self.bytes.len() - 4;
        self.align(to);
        let start = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Flag(flag) => self.number((*flag).into()),
            Value::Number(number) => {
                self.align(8);
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Numbers(numbers) => self.array(4, |all| numbers.iter().for_each(|number| all.number(*number))),
            Value::Bytes(bytes) => self.array(1, |all| all.bytes.extend(bytes)),
        }
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }
}

/// A whole call.
pub(super) fn call(serial: u32, method: Method<'_>, signature: &str, body: &Writer) -> Vec<u8> {
    let mut message = Writer { bytes: vec![b'l', CALL, 0, 1] };
    message.number(body.bytes.len() as u32);
    message.number(serial);
    message.array(8, |fields| {
        let texts = [
            (PATH, "o", method.path),
            (INTERFACE, "s", method.interface),
            (MEMBER, "s", method.name),
            (DESTINATION, "s", method.destination),
        ];
        for (field, kind, text) in texts {
            fields.align(8);
            fields.bytes.push(field);
            fields.signature(kind);
            fields.text(text);
        }
        if !signature.is_empty() {
            fields.align(8);
            fields.bytes.push(SIGNATURE);
            fields.signature("g");
            fields.signature(signature);
        }
    });
    message.align(8);
    message.bytes.extend(&body.bytes);
    message.bytes
}

/// The first sixteen bytes tell how many follow, header and body.
pub(super) fn rest(start: [u8; 16]) -> io::Result<(usize, usize)> {
    let number = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]) as usize;
    let (body, fields) = (number(4), number(12));
    // The specification's bounds, of a message and of an array.
    if start[0] != b'l' || body > 1 << 27 || fields > 1 << 26 {
        return Err(malformed());
    }
    Ok((fields.next_multiple_of(8), body))
}

impl Incoming {
    /// From the first sixteen bytes, the fields and the body.
    pub(super) fn parse(start: [u8; 16], fields: &[u8], body: Vec<u8>) -> io::Result<Incoming> {
        let mut message = Incoming { kind: start[1], body, ..Default::default() };
        let length = u32::from_le_bytes([start[12], start[13], start[14], start[15]]) as usize;
        let mut reader = Reader::new(fields.get(..length).ok_or_else(malformed)?);
        while reader.at < reader.bytes.len() {
            // Sixteen bytes went before, so that the fields are aligned as they stand.
            reader.align(8);
            let field = reader.byte()?;
            let kind = reader.signature()?;
            match (field, kind) {
                (MEMBER, "s") => message.member = reader.text()?.to_owned(),
                (ERROR_NAME, "s") => message.error = reader.text()?.to_owned(),
                (REPLY_SERIAL, "u") => message.answers = reader.number()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return Err(malformed()),
            }
        }
        Ok(message)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(super) fn number(&mut self) -> io::Result<u32> {
        self.align(4);
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn text(&mut self) -> io::Result<&'a str> {
        let length = self.number()? as usize;
        let text = self.take(length)?;
        self.byte()?;
        std::str::from_utf8(text).map_err(|_| malformed())
    }

    pub(super) fn signature(&mut self) -> io::Result<&'a str> {
        let length = self.byte()?;
        let text = self.take(length.into())?;
        self.byte()?;
        std::str::from_utf8(text).map_err(|_| malformed())
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or_else(malformed)?;
        self.at += count;
        Ok(taken)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of D-Bus is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method<'static> = Method { destination: "a.b", path: "/a", interface: "a.b.C", name: "Do" };

    fn parse(bytes: &[u8]) -> io::Result<Incoming> {
        let start: [u8; 16] = bytes[..16].try_into().unwrap();
        let (fields, body) = rest(start)?;
        assert_eq!(bytes.len(), 16 + fields + body);
        Incoming::parse(start, &bytes[16..16 + fields], bytes[16 + fields..].to_vec())
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Writer::default();
        body.text("x");
        let bytes = call(7, METHOD, "s", &body);
        assert_eq!(bytes[..12], [b'l', 1, 0, 1, 6, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[16..24], [PATH, 1, b'o', 0, 2, 0, 0, 0]);
        assert_eq!(bytes[bytes.len() - 6..], [1, 0, 0, 0, b'x', 0]);
        let back = parse(&bytes).unwrap();
        assert_eq!((back.kind, back.member.as_str(), back.body.len()), (CALL, "Do", 6));
    }

    #[test]
    fn properties_stand_at_their_alignments() {
        let mut writer = Writer::default();
        writer.properties(&[("A", Value::Number(5)), ("B", Value::Numbers(vec![1, 2])), ("C", Value::Flag(true))]);
        // Length and gap; name, signature `t`, gap, eight bytes.
        assert_eq!(writer.bytes[8..32], [1, 0, 0, 0, b'A', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        let length = u32::from_le_bytes(writer.bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(length, writer.bytes.len() - 8);
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        let mut body = Writer::default();
        body.text("x");
        let bytes = call(7, METHOD, "s", &body);
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 0xff;
            let start: [u8; 16] = bent[..16].try_into().unwrap();
            let Ok((fields, _)) = rest(start) else { continue };
            let fields = bent.get(16..16 + fields).unwrap_or(&bent[16..]);
            drop(Incoming::parse(start, fields, Vec::new()));
        }
    }
}
