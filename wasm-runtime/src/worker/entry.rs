//! Where a sandboxed process becomes a worker: the engine is built before the lock-down, threads start after it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Worker;
use super::protocol::Identity;
use crate::descriptor::watch;
use crate::engine::Engine;

/// How long a worker waits for work once it holds nothing and no host is there.
const IDLE: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// The system calls a locked-down worker needs, by name; found by strace over the samples and this crate's tests, for
/// glibc and musl. Absent on purpose: `socket`, `connect` and `bind` (listeners are handed in), `execve`, `prctl`,
/// `unshare`, and `clone3`, whose flags a filter cannot see (libc falls back to `clone`).
pub const SYSCALLS: &[&str] = &[
    // Memory: the pool, code, stacks of threads; PAGEMAP_SCAN is an ioctl.
    "brk",
    "ioctl",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    // Threads.
    "clone",
    "exit",
    "exit_group",
    "futex",
    "getpid",
    "gettid",
    "rseq",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    // Signals: traps of guests, and the abort of a worker.
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "tgkill",
    "tkill",
    // Time and chance.
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getrandom",
    "nanosleep",
    // The reactor.
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "eventfd2",
    // The host's connection, and a guest's published ports.
    "accept4",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketpair",
    // Handles: code, preopened directories, streams.
    "chdir",
    "close",
    "fadvise64",
    "fchdir",
    "fcntl",
    "fdatasync",
    "fstat",
    "fsync",
    "ftruncate",
    "getdents64",
    "linkat",
    "lseek",
    "mkdirat",
    "newfstatat",
    "openat",
    "openat2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readlinkat",
    "readv",
    "renameat",
    "renameat2",
    "statx",
    "symlinkat",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
];

/// The first half of a worker's life, before it is locked down: `argument` is an encoded [`Identity`]. The second half
/// takes the listening socket as its only descriptor and gives the process's exit code.
pub fn build(argument: &[u8]) -> Box<dyn FnOnce(Vec<OwnedFd>) -> i32> {
    let prepared = prepare(argument);
    Box::new(move |descriptors| match prepared.and_then(|(engine, identity)| run(engine, identity, descriptors)) {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("worker: {message}");
            1
        }
    })
}

fn prepare(argument: &[u8]) -> Result<(Engine, Identity), String> {
    let identity: Identity = postcard::from_bytes(argument).map_err(|error| format!("read its identity: {error}"))?;
    let engine = Engine::for_running(identity.instances).map_err(|error| super::failed(&error).message)?;
    Ok((engine, identity))
}

fn run(engine: Engine, identity: Identity, descriptors: Vec<OwnedFd>) -> Result<(), String> {
    let listener = descriptors.into_iter().next().ok_or("no listening socket was handed over")?;
    let guests = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2)))
        .thread_name("guests")
        // A computing guest yields every 10 ms only; sockets and pipes of the others must not wait for 61 such turns.
        .event_interval(3)
        .global_queue_interval(3)
        .enable_all()
        .build()
        .map_err(|error| format!("start its threads: {error}"))?;
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start its control thread: {error}"))?;
    let worker = Worker::new(engine, identity, guests.handle().clone());
    let result = control.block_on(accept(&worker, listener)).map_err(|error| format!("accept a host: {error}"));
    guests.shutdown_background();
    result
}

/// Accepts one host after another until there is nothing to stay for.
async fn accept(worker: &Arc<Worker>, listener: OwnedFd) -> std::io::Result<()> {
    // Listening once more makes this process the peer that SO_PEERCRED names, not the host that made the socket: the
    // next host learns the worker's pid from it.
    rustix::net::listen(&listener, BACKLOG)?;
    let listener = watch(listener, Interest::READABLE)?;
    loop {
        if worker.ending.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(());
        }
        let quiet = if worker.idle() { IDLE } else { Duration::MAX };
        tokio::select! {
            host = accept_one(&listener) => {
                let (worker, host) = (Arc::clone(worker), host?);
                // A host that breaks the protocol loses its connection, nothing else.
                tokio::spawn(async move { drop(worker.attend(host).await) });
            }
            () = worker.changed.notified() => {}
            () = tokio::time::sleep(quiet), if quiet < Duration::MAX => return Ok(()),
        }
    }
}

async fn accept_one(listener: &AsyncFd<OwnedFd>) -> std::io::Result<OwnedFd> {
    loop {
        let mut guard = listener.readable().await?;
        if let Ok(accepted) =
            guard.try_io(|listener| Ok(rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC)?))
        {
            return accepted;
        }
    }
}
