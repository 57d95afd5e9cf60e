//! One suite, every case under every isolation (ARCHITECTURE.md, invariant 6). What holds for one model only says so
//! in its list here.
#![forbid(unsafe_code)]

mod api;
mod changes;
mod confinement;
mod copy;
mod dialects;
mod environment;
mod events;
mod exec;
mod exit_codes;
mod files;
mod healing;
mod health;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod listing;
mod logs;
mod native;
mod options;
mod refused_options;
mod rotation;
mod stdio;
mod verbs;
mod volumes;

use std::process::ExitCode;

use proa_tests::{Isolation, harness};

/// Guests that are Wasm.
const WASM: &[Isolation] = &[Isolation::Wasm, Isolation::WasmProcess];
/// Guests that are native processes.
const NATIVE: &[Isolation] = &[Isolation::Linux, Isolation::LinuxUserns];
/// Guests that have a process of their own.
const OWN_PROCESS: &[Isolation] = &[Isolation::WasmProcess, Isolation::Linux, Isolation::LinuxUserns];

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        api::fill(suite);
        lifecycle::fill(suite);
        stdio::fill(suite);
        exit_codes::fill(suite);
        environment::fill(suite);
        files::fill(suite);
        changes::fill(suite);
        copy::fill(suite);
        volumes::fill(suite);
        limits::fill(suite);
        logs::fill(suite);
        native::fill(suite);
        options::fill(suite);
        refused_options::fill(suite);
        confinement::fill(suite);
        isolation::fill(suite);
        images::fill(suite);
        dialects::fill(suite);
        healing::fill(suite);
        health::fill(suite);
        rotation::fill(suite);
        events::fill(suite);
        listing::fill(suite);
        exec::fill(suite);
        verbs::fill(suite);
    })
}
