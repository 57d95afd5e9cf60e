//! Says hello, as a WASI component, a WASI module or a static Linux program: one source.
//!
//! `hello [NAME] [--args] [--env] [--clock] [--stay]`

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const KIND: &str = if cfg!(target_env = "p2") {
    "a WASI 0.2 component"
} else if cfg!(target_env = "p1") {
    "a WASI 0.1 module"
} else {
    "a Linux program"
};

fn main() -> ExitCode {
    // Taken before anything else: the difference to the moment of the request is the start-up time.
    let first = SystemTime::now();
    match say(first, std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn say(first: SystemTime, args: Vec<String>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if has("--clock") {
        let since = first.duration_since(UNIX_EPOCH).unwrap_or_default();
        writeln!(out, "{}", since.as_nanos())?;
    } else {
        let name = args.iter().find(|arg| !arg.starts_with("--")).map_or("world", String::as_str);
        writeln!(out, "Hello, {name}! I am {KIND}.")?;
    }
    if has("--args") {
        for arg in &args {
            writeln!(out, "{arg}")?;
        }
    }
    if has("--env") {
        for (name, value) in std::env::vars() {
            writeln!(out, "{name}={value}")?;
        }
    }
    out.flush()?;
    while has("--stay") {
        std::thread::sleep(Duration::from_secs(3600));
    }
    Ok(())
}
