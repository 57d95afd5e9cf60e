//! Programs of others on the other side: the stock docker command line on the same socket, skopeo, umoci, and Debian's
//! docker-registry.
#![forbid(unsafe_code)]

#[path = "peers/command_line.rs"]
mod command_line;
#[path = "peers/images.rs"]
mod images;

use std::process::ExitCode;

use proa_tests::harness;

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        command_line::fill(suite);
        images::fill(suite);
    })
}
