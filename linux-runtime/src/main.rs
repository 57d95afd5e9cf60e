//! `proa-linux`: the OCI runtime's verbs on a bundle, as runc's users know them. Small: no reactor, no images, no zygote;
//! the container's process is its own child, so that whoever called it (conmon, a shim of containerd's) becomes its reaper.
//! Must not know images, registries or the host.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
