//! What host and worker say to each other: one message a packet, descriptors beside it.
//!
//! ```text
//!   host                                worker
//!   Call 0 Hello{version}      ->
//!                              <-       Hello{version, identity}
//!                              <-       Held{guest} for each guest of a former host (+ its input or terminal)
//!                              <-       Done 0                          from here on output and exits flow
//!   Call n Load{key, kind}     ->       maps and links code             (+ folder)
//!   Call n Create{id, ..}      ->       the guest, not started          (+ plan if large, + the plan's handles)
//!   Call n Start Pause Resume  ->
//!   Call n Update Kill Delete  ->
//!                              <-       Done n
//!                              <-       Output{id, number, ..}          kept until Acknowledge
//!   Acknowledge{id, through}   ->
//!                              <-       Exited{id, exit}                after its last Output; kept until Delete
//! ```
//! A worker speaks this version and the one before; version 1 is the first.

use std::time::SystemTime;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::facts::ModuleKind;

/// The version this code speaks.
pub const VERSION: u32 = 1;

/// Bodies above this many bytes travel in a memfd beside the packet.
pub const INLINE: usize = 32 << 10;

/// Whose guests a worker holds; given to it when it is made, told to every host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name on the node, which is also its socket's.
    pub worker: String,
    /// The tenant all its guests belong to.
    pub tenant: String,
    /// Guests and requests it can hold at once.
    pub instances: u32,
    /// Whether it was made for one guest only.
    pub single: bool,
}

/// Host to worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToWorker {
    /// Answered by `Done` with the same number.
    Call { number: u64, request: Request },
    /// Output up to this frame is recorded. Not answered.
    Acknowledge { id: String, through: u64 },
}

/// What a host can ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// First on every connection.
    Hello { version: u32 },
    /// Maps compiled code, once per key. One descriptor: the artifact's folder.
    Load { key: String, kind: ModuleKind },
    /// Lets go of compiled code; guests made from it keep it until they have ended.
    Unload { key: String },
    /// Makes a guest from a loaded key; `within` names the running guest whose memory, time and end it shares.
    /// Descriptors: the plan's memfd if it is not inline, then the plan's handles.
    Create { id: String, key: String, plan: Body, within: Option<String> },
    /// Lets it run.
    Start { id: String },
    /// Holds a running guest at its next epoch or host call, and what runs within it.
    Pause { id: String },
    /// Lets it go on.
    Resume { id: String },
    /// Makes `memory` bytes its limit.
    Update { id: String, memory: u64 },
    /// Ends it; it exits with 128 + the signal's number.
    Kill { id: String, signal: Signal },
    /// Lets go of the write end of its standard input that the worker keeps.
    CloseInput { id: String },
    /// Ends it if need be and forgets it, its exit and its unread output.
    Delete { id: String },
    /// What it holds.
    Usage { id: String },
    /// Ends all guests and the worker.
    End,
}

/// A body in the packet or beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Body {
    Inline(Blob),
    /// The first descriptor is a memfd of this many bytes.
    Beside(u64),
}

/// Bytes that are encoded as one piece rather than one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// The signals a Wasm guest knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    Interrupt,
    Kill,
    Terminate,
}

impl Signal {
    /// The signal with this number, if a guest knows it.
    pub fn from_number(number: i32) -> Option<Signal> {
        [Signal::Interrupt, Signal::Kill, Signal::Terminate]
            .into_iter()
            .find(|signal| i32::from(signal.number()) == number)
    }

    /// Its number on Linux.
    pub fn number(self) -> u8 {
        match self {
            Signal::Interrupt => 2,
            Signal::Kill => 9,
            Signal::Terminate => 15,
        }
    }
}

/// Worker to host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromWorker {
    /// The answer to `Hello`.
    Hello { version: u32, identity: Identity },
    /// A guest of a former host. Descriptor: the write end of its input or the watched end of its terminal, if it has
    /// one that is open.
    Held { id: String, started: bool, paused: bool, terminal: bool, exit: Option<Exit> },
    /// The answer to a call.
    Done { number: u64, outcome: Result<Answer, Failure> },
    /// Output, at most 60 KiB.
    Output { id: String, number: u64, stream: Stream, bytes: Blob },
    /// The end of a guest, after its last output.
    Exited { id: String, exit: Exit },
}

/// What a call gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Nothing,
    Usage(Usage),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence with its causes.
    pub message: String,
}

/// What the host can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// No guest has this id, or no code this key.
    Unknown,
    /// The guest is not in a state that allows it.
    Conflict,
    /// The request is wrong.
    Invalid,
    /// Anything else.
    Failed,
}

/// A guest's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What a guest holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes in memories and tables, now and at most.
    pub memory: u64,
    pub memory_peak: u64,
    /// Bytes it may hold.
    pub limit: u64,
    /// Processor time, in nanoseconds.
    pub cpu: u64,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n after signal n, 134 after a trap.
    pub code: u8,
    /// Whether its memory limit ended it.
    pub limited: bool,
    /// One sentence where there is more to say than a number.
    pub reason: Option<String>,
    pub at: SystemTime,
}
