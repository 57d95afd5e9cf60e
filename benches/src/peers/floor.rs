//! The floor under every contender: the same static program, run by nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;

use crate::round::{Contender, Found};

/// The native hello, executed directly: fork, exec, exit, reap and nothing else.
pub fn native_hello() -> Result<Found> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("hello");
    fs::write(&program, proa_samples::HELLO_LINUX)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(Found::Ready(Contender {
        name: "floor: the static program itself".into(),
        ours: false,
        command: Box::new(move |_| Command::new(&program)),
        keep: Box::new(folder),
    }))
}
