//! Digests (OCI image-spec 1.1, descriptor.md) and a reader that verifies one. Knows no files and no network.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::{Error, Result};

/// A registered digest algorithm of the image specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The name before the colon, also the folder's name under `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// The name of content: `sha256:<64 hex digits>` or `sha512:<128 hex digits>`, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Parses `algorithm:hex`. Other algorithms than the two registered ones are refused, as nobody could verify them.
    pub fn parse(text: &str) -> Result<Digest> {
        let refuse = |reason| Error::Digest { text: text.chars().take(160).collect(), reason };
        let (name, hex) = text.split_once(':').ok_or_else(|| refuse("expected `sha256:` and 64 hex digits"))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(refuse("the algorithm is neither sha256 nor sha512")),
        };
        if hex.len() != algorithm.hex_length() {
            return Err(refuse("the number of hex digits is wrong"));
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse("only lower-case hex digits are allowed"));
        }
        Ok(Digest { algorithm, hex: hex.to_owned() })
    }

    /// The SHA-256 digest of `bytes`.
    pub fn sha256_of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm before the colon.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits after the colon.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve hex digits, as Docker shows ids.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// `sha256-<hex>`: the digest as one path component.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        Digest::parse(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => {
                Digest { algorithm: Algorithm::Sha256, hex: hex::encode(hasher.finalize().as_slice()) }
            }
            Hasher::Sha512(hasher) => {
                Digest { algorithm: Algorithm::Sha512, hex: hex::encode(hasher.finalize().as_slice()) }
            }
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// A reader that ends with an error when the bytes read are not those the digest names: too few, too many or others.
/// Only a reader read to its end has been verified.
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    digest: Digest,
    remaining: u64,
    hasher: Option<Hasher>,
}

impl<R: Read> Verified<R> {
    /// Expects exactly `size` bytes from `inner`, hashing to `digest`.
    pub fn new(inner: R, digest: &Digest, size: u64) -> Verified<R> {
        let hasher = Some(Hasher::new(digest.algorithm()));
        Verified { inner, digest: digest.clone(), remaining: size, hasher }
    }

    fn corrupt(&self, reason: String) -> io::Error {
        Error::Corrupt { digest: self.digest.clone(), reason }.into_io()
    }

    fn finish(&mut self) -> io::Result<usize> {
        if self.remaining > 0 {
            return Err(self.corrupt(format!("it ends {} bytes early", self.remaining)));
        }
        if let Some(hasher) = self.hasher.take() {
            let found = hasher.finish();
            if found != self.digest {
                return Err(self.corrupt(format!("its digest is `{found}`")));
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        if count == 0 {
            return self.finish();
        }
        self.remaining = match self.remaining.checked_sub(count as u64) {
            Some(remaining) => remaining,
            None => return Err(self.corrupt("it is longer than its descriptor says".to_owned())),
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], digest: &Digest, size: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        Verified::new(bytes, digest, size).read_to_end(&mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn a_verified_reader_passes_only_the_named_bytes() {
        let digest = Digest::sha256_of(b"proa");
        assert_eq!(read(b"proa", &digest, 4).unwrap(), b"proa");
        assert!(read(b"pro", &digest, 4).unwrap_err().contains("1 bytes early"));
        assert!(read(b"proas", &digest, 4).unwrap_err().contains("longer"));
        assert!(read(b"prao", &digest, 4).unwrap_err().contains("its digest is"));
    }

    #[test]
    fn only_registered_algorithms_and_exact_lower_case_hex_parse() {
        let hex = "a".repeat(64);
        assert!(Digest::parse(&format!("sha256:{hex}")).is_ok());
        assert!(Digest::parse(&format!("sha512:{hex}{hex}")).is_ok());
        for bad in [
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}", "a".repeat(63)),
            format!("md5:{}", "a".repeat(32)),
            hex.clone(),
            "sha256:../../../../etc/passwd".to_owned(),
            String::new(),
        ] {
            assert!(Digest::parse(&bad).is_err(), "{bad}");
        }
    }
}
