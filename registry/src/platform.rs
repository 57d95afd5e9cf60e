//! Platforms: which machine a variant of an image is for. Knows names only, chooses nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Operating system, architecture and optionally its variant, as in an image index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: &str, architecture: &str) -> Platform {
        Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// `linux` on this machine's architecture, by Go's name for it.
    pub fn host() -> Platform {
        Platform::new("linux", go_architecture(std::env::consts::ARCH))
    }

    /// `wasi/wasm` and its dialects (`wasip1`, `wasip2`; `wasm32`).
    pub fn is_wasm(&self) -> bool {
        matches!(self.architecture.as_str(), "wasm" | "wasm32")
    }

    /// Whether content for `offered` serves a wish for `self`. Aliases of an architecture are the same, all of Wasm's
    /// platforms are one, and a wish without a variant takes any.
    pub fn matches(&self, offered: &Platform) -> bool {
        if self.is_wasm() || offered.is_wasm() {
            return self.is_wasm() && offered.is_wasm();
        }
        let variant_fits = match (self.effective_variant(), offered.effective_variant()) {
            (None, _) => true,
            (Some(wanted), found) => found == Some(wanted),
        };
        self.os == offered.os
            && go_architecture(&self.architecture) == go_architecture(&offered.architecture)
            && variant_fits
    }

    /// `arm64/v8` is plain `arm64`, and `amd64/v1` plain `amd64`.
    fn effective_variant(&self) -> Option<&str> {
        match (go_architecture(&self.architecture), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) | (_, Some("")) => None,
            (_, variant) => variant,
        }
    }
}

/// Go's name for an architecture that other worlds call differently.
fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" => "386",
        "armhf" => "arm",
        "powerpc64le" => "ppc64le",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `os/architecture[/variant]`; a lone `linux` means this machine's architecture and a lone `wasi` or `wasm` Wasm.
    fn from_str(text: &str) -> Result<Platform> {
        let refuse = |reason| Error::Platform { text: text.chars().take(160).collect(), reason };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || !part.bytes().all(is_platform_byte)) {
            return Err(refuse("expected `os/architecture[/variant]`"));
        }
        match parts[..] {
            ["wasm" | "wasm32"] => Ok(Platform::new("wasi", "wasm")),
            [os @ ("wasi" | "wasip1" | "wasip2")] => Ok(Platform::new(os, "wasm")),
            ["linux"] => Ok(Platform::host()),
            [architecture @ ("amd64" | "arm64" | "x86_64" | "aarch64")] => {
                Ok(Platform::new("linux", go_architecture(architecture)))
            }
            [os, architecture] => Ok(Platform::new(os, go_architecture(architecture))),
            [os, architecture, variant] => {
                Ok(Platform { variant: Some(variant.to_owned()), ..Platform::new(os, go_architecture(architecture)) })
            }
            _ => Err(refuse("expected `os/architecture[/variant]`")),
        }
    }
}

fn is_platform_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_match_across_their_aliases() {
        let check = |wanted: &str, offered: &str, expected: bool| {
            let (wanted, offered): (Platform, Platform) = (wanted.parse().unwrap(), offered.parse().unwrap());
            assert_eq!(wanted.matches(&offered), expected, "{wanted} of {offered}");
        };
        check("linux/amd64", "linux/x86_64", true);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm", "linux/arm/v7", true);
        check("linux/arm/v6", "linux/arm/v7", false);
        check("wasi/wasm", "wasip1/wasm32", true);
        check("wasi/wasm", "linux/amd64", false);
        check("linux/amd64", "windows/amd64", false);
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/amd 64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
