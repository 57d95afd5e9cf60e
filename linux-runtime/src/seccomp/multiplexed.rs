//! The two calls of 32-bit x86 behind which others stand: socketcall(2) and ipc(2). What is asked about `socket` must hold
//! for `socketcall` with the number of `socket`, or a program would walk around it.

use super::{Operator, Test, Verdict, permits};

/// By name: the number within socketcall(2) (include/uapi/linux/net.h).
const SOCKET_CALLS: &[&str] = &[
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The same within ipc(2) (include/uapi/linux/ipc.h).
const IPC_CALLS: &[(&str, u64)] = &[
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// Through which call `name` can be reached as well, and the test that recognizes it there.
pub(super) fn behind(name: &str) -> Option<(&'static str, Test)> {
    if let Some(at) = SOCKET_CALLS.iter().position(|known| *known == name) {
        return Some(("socketcall", Test { argument: 0, operator: Operator::Equal, value: at as u64 + 1 }));
    }
    // The upper half is a version.
    let (_, number) = IPC_CALLS.iter().find(|(known, _)| *known == name)?;
    Some(("ipc", Test { argument: 0, operator: Operator::Masked(0xffff), value: *number }))
}

/// Whether a rule about a call counts for the call behind which it stands: its arguments are in the program's memory there,
/// where a filter cannot look. A refusal counts whatever they are; what is permitted for some is not permitted for all.
pub(super) fn counts(tests: &[Test], verdict: Verdict) -> bool {
    tests.is_empty() || !permits(verdict)
}
