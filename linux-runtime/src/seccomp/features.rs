//! What a filter may ask for here, as the `features` document tells it.

use oci_spec::runtime::{
    Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, Seccomp, SeccompBuilder,
};

use super::abi::Abi;
use crate::error::{Error, Result};
use crate::sys;

const ACTIONS: [LinuxSeccompAction; 9] = [
    LinuxSeccompAction::ScmpActAllow,
    LinuxSeccompAction::ScmpActErrno,
    LinuxSeccompAction::ScmpActKill,
    LinuxSeccompAction::ScmpActKillProcess,
    LinuxSeccompAction::ScmpActKillThread,
    LinuxSeccompAction::ScmpActLog,
    LinuxSeccompAction::ScmpActNotify,
    LinuxSeccompAction::ScmpActTrace,
    LinuxSeccompAction::ScmpActTrap,
];

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
    LinuxSeccompOperator::ScmpCmpNe,
];

/// Known only beside a listener.
const KILLABLE: u64 = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;

/// In the specification's names, and the kernel's bits.
const FLAGS: [(LinuxSeccompFilterFlag, u64); 4] = [
    (LinuxSeccompFilterFlag::SeccompFilterFlagLog, libc::SECCOMP_FILTER_FLAG_LOG),
    (LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
    (LinuxSeccompFilterFlag::SeccompFilterFlagTsync, libc::SECCOMP_FILTER_FLAG_TSYNC),
    (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, KILLABLE),
];

/// The `linux.seccomp` of the features document: what is known, and which flags this kernel has.
///
/// # Errors
/// None that a caller could cause.
pub(crate) fn seccomp_features() -> Result<Seccomp> {
    let all = |flags: &mut dyn Iterator<Item = &(LinuxSeccompFilterFlag, u64)>| -> Vec<String> {
        flags.map(|(flag, _)| flag.to_string()).collect()
    };
    let archs: Vec<Arch> = Abi::OFFERED.iter().map(|(_, arch)| *arch).collect();
    SeccompBuilder::default()
        .enabled(true)
        .actions(ACTIONS)
        .operators(OPERATORS.map(|operator| operator.to_string()))
        .archs(archs)
        .known_flags(all(&mut FLAGS.iter()))
        .supported_flags(all(&mut FLAGS.iter().filter(|(_, bit)| sys::knows_filter_flag(*bit))))
        .build()
        .map_err(|error| Error::Plan(error.to_string()))
}
