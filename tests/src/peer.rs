//! Real programs on the other side: Debian's registry as a server of its own, skopeo and umoci as commands.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::{self, Output};
use crate::need;
use crate::wait::{self, PATIENCE};

/// `sailor` with the password `ahoy`, by bcrypt, as htpasswd writes it.
const LOGINS: &str = "sailor:$2b$05$abcdefghijklmnopqrstuupc2Bh/BcdpJnf0yyNxNgehaXaZ8mK5m\n";

/// Debian's docker-registry on a free port of loopback, with a folder of its own; ended when dropped.
#[derive(Debug)]
pub struct Distribution {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Distribution {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub fn start() -> Result<Distribution> {
        Distribution::serve(false)
    }

    /// As [`start`](Distribution::start), but for the user `sailor` with the password `ahoy` only.
    ///
    /// # Errors
    /// As [`start`](Distribution::start).
    pub fn guarded() -> Result<Distribution> {
        Distribution::serve(true)
    }

    fn serve(guarded: bool) -> Result<Distribution> {
        let program = need::peer("docker-registry").context("`docker-registry` is not installed")?;
        let folder = tempfile::Builder::new().prefix("proa-test-registry-").tempdir()?;
        let address = free_address()?;
        let settings = folder.path().join("config.yml");
        let storage = folder.path().join("storage");
        let logins = folder.path().join("logins");
        fs::write(&logins, LOGINS)?;
        let guard = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", logins.display());
        fs::write(
            &settings,
            format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
                 enabled: true\nhttp:\n  addr: {address}\n{}",
                storage.display(),
                if guarded { &guard } else { "" }
            ),
        )?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&settings)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let up = wait::found("docker-registry listens", PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                bail!("docker-registry ended with {status}: {log}");
            }
            Ok(TcpStream::connect(address).ok())
        });
        let registry = Distribution { child, address, _folder: folder };
        up?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of loopback that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Runs a peer's program to its end, with a home of its own: nobody's logins are asked for.
///
/// # Errors
/// When it is not installed or does not end in time.
pub fn run(program: &str, args: &[&str]) -> Result<Output> {
    let file = need::peer(program).with_context(|| format!("`{program}` is not installed"))?;
    let home = tempfile::Builder::new().prefix("proa-test-home-").tempdir()?;
    let logins = home.path().join("auth.json");
    fs::write(&logins, "{}")?;
    let mut line = Command::new(file);
    line.args(args).env("HOME", home.path()).env("REGISTRY_AUTH_FILE", &logins).env_remove("XDG_RUNTIME_DIR");
    command::run(&mut line, PATIENCE)
}
