//! bpf(2) for the one kind of program used here: which devices a cgroup of v2 may open.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};

use super::clone::last_error;

const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_ATTACH: libc::c_int = 8;
/// `BPF_PROG_TYPE_CGROUP_DEVICE`, and where such is attached (`BPF_CGROUP_DEVICE`); both Linux 4.15.
const KIND: u32 = 15;
const PLACE: u32 = 6;
/// Beside programs that others have attached: all must agree.
const ALLOW_MULTI: u32 = 2;

/// The beginning of `union bpf_attr` for loading; the kernel takes the rest for zeroes.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for attaching.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    place: u32,
    flags: u32,
}

/// Has the kernel check `program` and put it on the group whose directory `group` is; it lives as long as the group.
pub(crate) fn attach_device_program(group: BorrowedFd<'_>, program: &[u64]) -> Result<()> {
    let load = Load {
        kind: KIND,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` has the layout of the union's beginning; the slice and the string it points to live through the
    // call, which only reads them.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_LOAD, &raw const load, size_of::<Load>()) };
    let number = RawFd::try_from(loaded).map_err(|_| Errno::BADF)?;
    if number == -1 {
        return Err(last_error());
    }
    // SAFETY: the kernel made the descriptor just now, and nobody else owns it.
    let loaded = unsafe { OwnedFd::from_raw_fd(number) };
    let descriptor = |number: RawFd| u32::try_from(number).map_err(|_| Errno::BADF);
    let attach = Attach {
        target: descriptor(group.as_raw_fd())?,
        program: descriptor(loaded.as_raw_fd())?,
        place: PLACE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` has the layout of the union's beginning, which the call only reads.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_ATTACH, &raw const attach, size_of::<Attach>()) };
    if outcome == -1 { Err(last_error()) } else { Ok(()) }
}
