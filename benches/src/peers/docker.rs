//! docker: an engine with a daemon, if one already runs here.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::on_path;
use crate::round::{Contender, Found};

const IMAGE: &str = "proa-bench-hello:latest";

/// `docker run --rm --network none` of the native hello, against the daemon of the environment.
pub fn run() -> Result<Found> {
    let name = String::from("docker run --rm --network none");
    let Some(program) = on_path("docker") else {
        return Ok(Found::Missing { name, reason: "no `docker` on the PATH".into() });
    };
    let server = Command::new(&program).args(["version", "--format", "{{.Server.Version}}"]).output()?;
    if !server.status.success() {
        return Ok(Found::Missing { name, reason: "no docker daemon answers".into() });
    }
    import(&program)?;
    let command = move |_| {
        let mut command = Command::new(&program);
        command.args(["run", "--rm", "--network", "none", IMAGE, "/hello"]);
        command
    };
    Ok(Found::Ready(Contender { name, ours: false, command: Box::new(command), keep: Box::new(()) }))
}

fn import(docker: &std::path::Path) -> Result<()> {
    let mut archive = tar_of_hello();
    let mut child =
        Command::new(docker).args(["import", "-", IMAGE]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().expect("stdin was piped").write_all(&std::mem::take(&mut archive))?;
    ensure!(child.wait()?.success(), "docker import failed");
    Ok(())
}

/// A tar archive with one member, `hello`, mode 0755 (POSIX.1-1988 ustar).
fn tar_of_hello() -> Vec<u8> {
    let body = proa_samples::HELLO_LINUX;
    let mut header = [0_u8; 512];
    header[..5].copy_from_slice(b"hello");
    header[100..107].copy_from_slice(b"0000755");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[263..265].copy_from_slice(b"00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(body);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
