//! Network modes. Until bridged networks land, every mode but `host` is a network namespace with loopback only.

use crate::error::{Error, Result};

/// How a native container is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `default` and `bridge`; loopback only for now.
    Bridge,
    None,
    Host,
}

/// The networks that exist, with their drivers, as `docker network ls` shows them.
pub const NETWORKS: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// The id of a network of the host `host`: always the same 64 hex digits.
pub fn id(host: &str, name: &str) -> String {
    proa_registry::Digest::sha256_of(format!("{host}/{name}").as_bytes()).hex().to_owned()
}

impl Mode {
    /// Docker's `NetworkMode`.
    ///
    /// # Errors
    /// `FindNetwork` for one that does not exist.
    pub fn parse(name: &str) -> Result<Mode> {
        match name {
            "" | "default" | "bridge" => Ok(Mode::Bridge),
            "none" => Ok(Mode::None),
            "host" => Ok(Mode::Host),
            name if name.starts_with("container:") => {
                Err(Error::Unsupported("joining another container's network is not supported yet".to_owned()))
            }
            name => Err(Error::FindNetwork(name.to_owned())),
        }
    }

    /// The network's name in lists.
    pub fn network(self) -> &'static str {
        match self {
            Mode::Bridge => "bridge",
            Mode::None => "none",
            Mode::Host => "host",
        }
    }
}
