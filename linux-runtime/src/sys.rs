//! The system calls that rustix lacks, each behind a safe signature: this folder is the crate's only unsafe code.
//! Knows no containers, plans or steps.
#![allow(unsafe_code, reason = "the crate's only unsafe code: system calls that rustix does not offer")]

mod clone;
mod device_program;
mod exec;
mod exit_info;
mod filter;
mod groups;
mod keyring;
mod loopback;
mod mount;
mod namespaces;
mod process;
mod scheduling;
mod signals;
mod wipe;

pub(crate) use clone::{Clone, Cloned, clone3, fork};
pub(crate) use device_program::attach_device_program;
pub(crate) use exec::{Pointers, execve};
pub use exit_info::exit_code;
pub use filter::Instruction;
pub(crate) use filter::{knows_filter_flag, load_filter, load_filter_with_listener};
pub(crate) use groups::set_groups;
pub(crate) use keyring::{join_session_keyring, let_user_search};
pub(crate) use loopback::loopback_up;
pub(crate) use mount::{
    ATIME, IDMAP, MountAttributes, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, OLD_FLAGS, RDONLY,
    STRICTATIME, mount_setattr,
};
pub(crate) use namespaces::{namespace_kind, unshare};
pub(crate) use process::{
    close_number, cwd_is_reachable, exit_now, kept, leak, place, ptsname_free_peer, seal_descriptors, seal_or_close,
};
pub(crate) use scheduling::{io_priority, memory_policy, personality, run_on, schedule};
pub use signals::{Signals, send_signal};
pub(crate) use signals::{
    block_all, default_and_unblock_all, drain_signals, kill_number, next_signal, signal_descriptor,
};
pub(crate) use wipe::wipe_what_is_freed;
