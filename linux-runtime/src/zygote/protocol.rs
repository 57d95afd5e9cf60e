//! What host and zygote say to each other, as data; does no I/O (that is [`super::wire`]).
//!
//! ```text
//! host                                   zygote
//! Hello{version} ----------------------->
//!        <------------------------------- Hello{version, facts}
//! List ---------------------------------->
//!        <------------------------------- Item (one for each sandbox, with its descriptors)
//!        <------------------------------- Done
//! Create{id, plan} + descriptors ------->
//!        <------------------------------- Created{pid, held} + pidfd, streams      or Refused
//! Abandon{id} --------------------------->                       it took too long to create
//!        <------------------------------- Done, and Refused to its Create
//! Start{id} ----------------------------->
//!        <------------------------------- Done                                     or Refused
//!        <------------------------------- Exited{id, exit}       whenever it happens
//! Acknowledge{id} ----------------------->                       the exit is on disk
//!        <------------------------------- Done
//! ```
//!
//! Every request carries a ticket that its answer repeats; answers to different tickets come in any order.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::plan::Plan;
use crate::step::Slot;

/// The version of this wire. A zygote speaks its own and the one before.
pub const VERSION: u32 = 2;

/// What a host asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// The first message of a connection.
    Hello { ticket: u32, version: u32 },
    /// Everything the zygote holds.
    List { ticket: u32 },
    /// A sandbox from a plan; the message's descriptors go into `given`, in order.
    Create { ticket: u32, id: String, plan: Plan, given: Vec<Slot> },
    /// One more process in `container`.
    Exec { ticket: u32, id: String, container: String, plan: Plan, given: Vec<Slot> },
    /// Ends a sandbox that is still being created; any other is left alone.
    Abandon { ticket: u32, id: String },
    /// Lets a created sandbox run.
    Start { ticket: u32, id: String },
    /// Ends a guest's standard input.
    CloseStdin { ticket: u32, id: String },
    /// The exit is on disk: the zygote may forget it.
    Acknowledge { ticket: u32, id: String },
    /// Prepares a detached mount (the message's descriptor) for a worker: `owner` and `group` translated to `outside`,
    /// read-only. Where its file system cannot translate, refused, or left as it is if the worker may be a `stranger`
    /// there.
    Directory { ticket: u32, owner: u32, group: u32, outside: u32, read_only: bool, stranger: bool },
    /// Ends when the last sandbox has; sent by `system stop`.
    Stop { ticket: u32 },
}

/// What a zygote answers and tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    Hello {
        ticket: u32,
        version: u32,
        pid: u32,
        facts: Facts,
    },
    /// One sandbox of a list; descriptors as in [`Event::Created`].
    Item {
        ticket: u32,
        id: String,
        pid: u32,
        state: State,
        held: Held,
    },
    /// Descriptors: the pidfd, then those of `held` in its fields' order.
    Created {
        ticket: u32,
        id: String,
        pid: u32,
        held: Held,
    },
    /// Success with nothing to say; for a directory its mount comes along.
    Done {
        ticket: u32,
    },
    Refused {
        ticket: u32,
        failure: Failure,
    },
    /// A guest ended; kept until acknowledged.
    Exited {
        id: String,
        exit: Exit,
    },
}

/// Where a sandbox is in its life, as the zygote knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Created,
    Running,
    Exited(Exit),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n after signal n.
    pub code: u8,
    /// Whether the kernel's memory limit ended something in its cgroup.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub at: u64,
}

/// Which of a guest's streams the zygote holds and sends duplicates of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub stdout: bool,
    pub stderr: bool,
    pub stdin: bool,
    pub terminal: bool,
}

/// What a caller can do about a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The program does not exist.
    NotFound,
    /// The program exists and cannot be executed.
    NotExecutable,
    /// The sandbox is unknown or not in a state for the request.
    Conflict,
    /// Anything else.
    Failed,
}

/// Why a request was refused, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// Such as: step 14 of 31: mount `proc` at `/proc`: operation not permitted.
    pub text: String,
}

impl Event {
    /// The ticket it answers, if it is an answer.
    pub fn ticket(&self) -> Option<u32> {
        match self {
            Event::Hello { ticket, .. }
            | Event::Item { ticket, .. }
            | Event::Created { ticket, .. }
            | Event::Done { ticket }
            | Event::Refused { ticket, .. } => Some(*ticket),
            Event::Exited { .. } => None,
        }
    }
}

/// A message as bytes.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(Error::Decode)
}

/// Bytes as a message.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(Error::Decode)
}
