//! Keeps a counter in a mounted directory: each run adds one and prints it.
//!
//! `keep [DIRECTORY]`; the directory is `/data` unless named.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("/data"), PathBuf::from);
    match count(&directory) {
        Ok(runs) => {
            println!("run {runs}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keep: cannot keep a counter in `{}`: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

/// One more than what the directory holds, which is nothing at first.
fn count(directory: &Path) -> io::Result<u64> {
    let file = directory.join("count");
    let before = match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let runs: u64 = before + 1;
    // Written beside and renamed over: a guest killed half-way leaves the old count, never half a one.
    let fresh = directory.join("count.new");
    fs::write(&fresh, format!("{runs}\n"))?;
    fs::rename(&fresh, &file)?;
    Ok(runs)
}
