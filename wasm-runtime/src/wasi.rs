//! What a guest may ask for: the worlds, linked once per engine.

mod http;
mod outgoing;
mod stdin;
mod stdout;
mod terminal;

pub(crate) use http::{Server, serve};
pub(crate) use outgoing::Refuse;
pub(crate) use stdin::Input;
pub(crate) use stdout::Log;
pub(crate) use terminal::Terminal;

use wasmtime::Caller;
use wasmtime_wasi::I32Exit;

use crate::guest::State;

/// Interfaces of WASI 0.2 that components here can import, each in every 0.2.x (the linker matches by semver).
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The import module of WASI 0.1.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Host functions for core modules.
pub(crate) fn module_linker(engine: &wasmtime::Engine) -> wasmtime::Result<wasmtime::Linker<State>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, State::wasi)?;
    // wasmtime-wasi traps on a status of 126 or more; an exit status here has a process's range, 0 to 255.
    linker.allow_shadowing(true);
    linker.func_wrap(PREVIEW1, "proc_exit", |_: Caller<'_, State>, status: i32| -> wasmtime::Result<()> {
        Err(I32Exit(status & 0xff).into())
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// Host functions for components: all of `wasi:cli` and `wasi:http`, since HTTP guests made by language toolchains
/// import `wasi:cli/environment` too.
pub(crate) fn component_linker(engine: &wasmtime::Engine) -> wasmtime::Result<wasmtime::component::Linker<State>> {
    let mut linker = wasmtime::component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}
