//! Turns untrusted Wasm into native code, inside a sandbox made for this one task: bytes in, code and a report out.
//!
//! Engines do not promise to survive hostile modules at compile time, so whoever makes the sandbox bounds its memory
//! and time; a compiler that dies without a report was killed by those bounds.

mod inspect;

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use wasmtime::Module;
use wasmtime::component::Component;

use crate::engine::Engine;
use crate::error::Error;
use crate::facts::{Facts, ModuleKind};
pub use inspect::inspect;

/// Largest module that is read, in bytes.
pub const LARGEST: u64 = 512 << 20;

/// The system calls a locked-down compiler needs, by name: memory, threads and its three descriptors; it opens nothing.
pub const SYSCALLS: &[&str] = &[
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "close",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "futex",
    "getpid",
    "getrandom",
    "gettid",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "pread64",
    "pwrite64",
    "read",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
    "statx",
    "tgkill",
    "tkill",
    "write",
    "writev",
];

/// What a compiler writes into its third descriptor, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The code is whole.
    Compiled(Facts),
    /// One sentence: why it was refused.
    Refused(String),
}

/// The first half of a compiler's life, before it is locked down; it takes no argument. The second half takes three
/// descriptors: the module (read only), an empty memfd for the code, an empty memfd for the [`Report`].
pub fn build(_argument: &[u8]) -> Box<dyn FnOnce(Vec<OwnedFd>) -> i32> {
    let engine = Engine::for_compiling();
    Box::new(move |descriptors| {
        match engine.map_err(|error| crate::error::sentence(&error)).and_then(|engine| run(&engine, descriptors)) {
            Ok(()) => 0,
            Err(message) => {
                eprintln!("compiler: {message}");
                1
            }
        }
    })
}

fn run(engine: &Engine, descriptors: Vec<OwnedFd>) -> Result<(), String> {
    let [module, code, report]: [OwnedFd; 3] =
        descriptors.try_into().map_err(|_| "three descriptors are needed".to_owned())?;
    let result = read(&module).and_then(|bytes| compile(engine, &bytes));
    let outcome = match result {
        Ok((facts, compiled)) => {
            write(&code, &compiled).map_err(|errno| format!("write the code: {errno}"))?;
            Report::Compiled(facts)
        }
        Err(Error::Refused(sentence)) => Report::Refused(sentence),
        Err(error) => return Err(crate::error::sentence(&error)),
    };
    let text = serde_json::to_vec(&outcome).map_err(|error| format!("encode the report: {error}"))?;
    write(&report, &text).map_err(|errno| format!("write the report: {errno}"))
}

/// Compiles a module or component and checks that everything it imports can be linked.
///
/// # Errors
/// `Refused` with one sentence: not Wasm, an unsupported proposal, or an import nobody provides, named.
pub fn compile(engine: &Engine, bytes: &[u8]) -> Result<(Facts, Vec<u8>), Error> {
    let facts = inspect(bytes)?;
    let code = match facts.kind {
        ModuleKind::Module => {
            let module = Module::from_binary(engine.wasm(), bytes).map_err(|error| invalid(&error))?;
            engine.modules().instantiate_pre(&module).map_err(|error| unlinkable(&error))?;
            module.serialize().map_err(Error::Load)?
        }
        ModuleKind::Command | ModuleKind::Http => {
            let component = Component::from_binary(engine.wasm(), bytes).map_err(|error| invalid(&error))?;
            engine.components().instantiate_pre(&component).map_err(|error| unlinkable(&error))?;
            component.serialize().map_err(Error::Load)?
        }
    };
    Ok((facts, code))
}

fn invalid(error: &wasmtime::Error) -> Error {
    Error::Refused(format!("the module cannot be compiled: {}", one_line(error)))
}

fn unlinkable(error: &wasmtime::Error) -> Error {
    Error::Refused(match error.downcast_ref::<wasmtime::UnknownImportError>() {
        Some(import) => inspect::unprovided(import.module(), Some(import.name())),
        None => format!("the module cannot be linked: {}", one_line(error)),
    })
}

fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(module: &OwnedFd) -> Result<Vec<u8>, Error> {
    let fail = |errno: rustix::io::Errno| Error::Refused(format!("the module cannot be read: {errno}"));
    let length = rustix::fs::fstat(module).map_err(fail)?.st_size as u64;
    if length > LARGEST {
        return Err(Error::Refused(format!("the module has {length} bytes; at most {LARGEST} are compiled")));
    }
    let mut bytes = vec![0; length as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(module, &mut bytes[filled..], filled as u64).map_err(fail)? {
            0 => bytes.truncate(filled),
            length => filled += length,
        }
    }
    Ok(bytes)
}

fn write(memory: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::pwrite(memory, &bytes[written..], written as u64)?;
    }
    Ok(())
}
