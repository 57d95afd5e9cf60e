//! Programs of others on the other side: the stock docker command line in two versions and docker-py on the same socket,
//! docker-py's own tests, skopeo, umoci, and Debian's docker-registry.
#![forbid(unsafe_code)]

mod archives;
mod command_line;
mod docker_py;
mod docker_py_tests;
mod images;

use std::process::ExitCode;

use proa_tests::harness;

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        command_line::fill(suite);
        docker_py::fill(suite);
        docker_py_tests::fill(suite);
        images::fill(suite);
        archives::fill(suite);
    })
}
