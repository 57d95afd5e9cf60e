//! The zygote's signals come through a descriptor; its children start with none blocked and none ignored.

use std::os::fd::{FromRawFd, OwnedFd};
use std::{mem, ptr};

use rustix::io::Result;

use super::clone::last_error;

/// Blocks every signal of the calling thread.
pub(crate) fn block_all() {
    // SAFETY: `sigset_t` is plain data; sigfillset and sigprocmask only touch the set given.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

/// A descriptor that becomes readable when a child ends or somebody asks the process to.
pub(crate) fn signal_descriptor() -> Result<OwnedFd> {
    // SAFETY: as above; signalfd reads the set and returns a fresh descriptor that nobody else owns.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// The signals of this process as a queue to read.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks every signal of this process and opens the queue. The caller must be single-threaded.
    ///
    /// # Errors
    /// The kernel's, when there are too many descriptors.
    pub fn take() -> std::io::Result<Signals> {
        block_all();
        // SAFETY: signalfd reads the set and returns a fresh descriptor that nobody else owns.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&raw mut set);
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(std::io::Error::last_os_error()),
                fd => Ok(Signals(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// The number of the next one, if one waits.
    pub fn next(&self) -> Option<i32> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut buffer = [0_u8; SIZE];
        // The number comes first (signalfd(2)).
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(SIZE) => i32::try_from(u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]])).ok(),
            _ => None,
        }
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The last signal of the kernel's (asm-generic/signal.h, _NSIG), and the bytes of a set of them.
const LAST: libc::c_int = 64;
const SET: usize = 8;

/// Unblocks every signal and gives each its default: Rust ignores SIGPIPE, a caller may have ignored others (nohup(1)), and
/// execve would pass that on.
pub(crate) fn default_and_unblock_all() {
    // The kernel's own call, since libc keeps two signals to itself that a caller may ignore all the same. All zeroes is
    // SIG_DFL without flags in `struct sigaction` of every architecture (at most four words and the mask).
    let default = [0_u64; 8];
    for number in 1..=LAST {
        // SAFETY: the kernel reads no more of `default` than its structure and writes nothing; a signal that takes no
        // disposition is refused.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), ptr::null_mut::<u64>(), SET) };
    }
    // SAFETY: the set is plain data.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Waits for any signal of those that are blocked, takes it, and gives its number.
pub(crate) fn next_signal() -> i32 {
    // SAFETY: `sigset_t` is plain data; sigwaitinfo reads the set and may be given no place for details.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        loop {
            let number = libc::sigwaitinfo(&raw const all, ptr::null_mut());
            if number > 0 {
                return number;
            }
        }
    }
}

/// kill(2) with any number, real-time signals too, which rustix does not name. For a parent and the child it has not
/// reaped yet.
pub(crate) fn kill_number(process: rustix::process::Pid, number: i32) {
    // SAFETY: kill has no preconditions on memory; a process that is gone is no harm.
    unsafe { libc::kill(process.as_raw_nonzero().get(), number) };
}

/// Sends signal `number` (1 to 64, real-time ones too, which rustix does not name) to the process behind a pidfd.
///
/// # Errors
/// `NotFound`-like ESRCH when it has ended, EINVAL for a number that is no signal.
pub fn send_signal(process: std::os::fd::BorrowedFd<'_>, number: i32) -> std::io::Result<()> {
    let process = std::os::fd::AsRawFd::as_raw_fd(&process);
    // SAFETY: the info pointer may be null (pidfd_send_signal(2)); nothing else is pointed to.
    let outcome =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process, number, ptr::null::<libc::siginfo_t>(), 0) };
    if outcome == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Empties a signal descriptor: which signal it was does not matter, since everything is looked at.
pub(crate) fn drain_signals(signals: std::os::fd::BorrowedFd<'_>) {
    let mut buffer = [0_u8; 128 * 8];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|count| count > 0) {}
}
