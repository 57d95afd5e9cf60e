//! When and where the calling thread runs: the calls that rustix lacks.

use rustix::io::Result;

use super::clone::last_error;
use crate::step::Scheduling;

/// IOPRIO_WHO_PROCESS (linux/ioprio.h).
const PROCESS: libc::c_long = 1;

/// sched_setaffinity(2): a bit for each CPU.
pub(crate) fn run_on(cpus: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as are given, of words that live through the call; 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) })
}

/// sched_setattr(2), Linux 3.14.
pub(crate) fn schedule(asked: &Scheduling) -> Result<()> {
    // SAFETY: `sched_attr` is plain data for which all zeroes is a valid value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<libc::sched_attr>() as u32;
    attributes.sched_policy = asked.policy;
    attributes.sched_flags = asked.flags;
    attributes.sched_nice = asked.nice;
    attributes.sched_priority = asked.priority;
    attributes.sched_runtime = asked.runtime;
    attributes.sched_deadline = asked.deadline;
    attributes.sched_period = asked.period;
    // SAFETY: the structure lives through the call and says how long it is; 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// ioprio_set(2): class and level in one number.
pub(crate) fn io_priority(value: u16) -> Result<()> {
    // SAFETY: three numbers; 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, libc::c_long::from(value)) })
}

/// set_mempolicy(2): a bit for each node.
pub(crate) fn memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel looks at one bit less than it is told of.
    let count = nodes.len() * 64 + 1;
    // SAFETY: the kernel reads the words that hold `count` - 1 bits, which live through the call; none if there are none.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::c_long::from(mode), nodes.as_ptr(), count) })
}

/// personality(2).
pub(crate) fn personality(domain: u32) -> Result<()> {
    // SAFETY: one number.
    let before = unsafe { libc::personality(libc::c_ulong::from(domain)) };
    check(libc::c_long::from(before))
}

fn check(outcome: libc::c_long) -> Result<()> {
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}
