//! One thing a guest may touch, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::ModuleKind;

/// One thing a guest may touch. What no grant names, it cannot reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// The host functions of a world.
    World(ModuleKind),
    /// All linear memories and tables together, in bytes.
    Memory(u64),
    /// Its arguments, the program's name first.
    Arguments(Vec<String>),
    /// Its environment, name and value.
    Environment(Vec<(String, String)>),
    /// Where relative paths begin.
    Directory(String),
    /// Standard input is empty; output and error go to the log.
    Log,
    /// Standard input is a pipe; output and error go to the log. Two handles: read end, write end.
    Pipe,
    /// All three streams are one terminal. Two handles: its own end, the end that is watched.
    Terminal,
    /// A directory and all beneath it. One handle: the directory as a detached mount.
    Preopen { guest: String, read_only: bool },
    /// Requests to an address. One handle: the listening socket.
    Listener(String),
    /// The wall clock and the monotonic clock.
    Clocks,
    /// Random bytes from the kernel.
    Random,
    /// No socket can be made, no name looked up, no request sent.
    NoNetwork,
}

impl Grant {
    /// How many handles it needs, in the order its comment gives.
    pub fn handles(&self) -> usize {
        match self {
            Grant::Pipe | Grant::Terminal => 2,
            Grant::Preopen { .. } | Grant::Listener(_) => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::World(kind) => write!(f, "world {}", kind.world()),
            Grant::Memory(bytes) => write!(f, "memory at most {bytes} bytes in all memories and tables"),
            Grant::Arguments(arguments) => write!(f, "arguments {arguments:?}"),
            Grant::Environment(variables) => {
                let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "environment {}", if names.is_empty() { "empty".to_owned() } else { names.join(" ") })
            }
            Grant::Directory(path) => write!(f, "current directory `{path}`"),
            Grant::Log => write!(f, "stdio empty input, output and error to the log"),
            Grant::Pipe => write!(f, "stdio input from a pipe, output and error to the log"),
            Grant::Terminal => write!(f, "stdio a terminal"),
            Grant::Preopen { guest, read_only: true } => write!(f, "directory `{guest}` read-only"),
            Grant::Preopen { guest, read_only: false } => write!(f, "directory `{guest}` read-write"),
            Grant::Listener(address) => write!(f, "listener {address}"),
            Grant::Clocks => write!(f, "clocks wall, monotonic"),
            Grant::Random => write!(f, "random from the kernel"),
            Grant::NoNetwork => write!(f, "network none: sockets, name lookup and outgoing requests are denied"),
        }
    }
}
