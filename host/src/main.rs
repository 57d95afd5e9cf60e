//! The program `proa`: one match, one exit code.
//!
//! `zygote` and `run` leave before anything else is touched: the zygote must be small and single-threaded, and a
//! `run` is measured in milliseconds, so neither builds the command tree, starts tokio or loads the engine.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match std::env::args_os().nth(1).as_deref().and_then(|verb| verb.to_str()) {
        Some("zygote") => return proa_sandbox::zygote_main(),
        Some("run") => cli::run::main(),
        _ => cli::main(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // A reader who went away (`proa ps | head -1`) has what it wanted. Rust starts with SIGPIPE ignored, so the
        // broken pipe arrives here as an error of the write, once for every verb.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}

/// Whether a standard output of ours is a pipe that nobody reads; the host's socket never counts as one.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    !error.chain().any(|cause| cause.is::<cli::client::Error>())
        && error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
