//! Asks running containers how they feel: by a program in them, or by a request through a Wasm HTTP handler. What follows
//! from an answer is decided in `healing/health.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard_stubs::models::ExecConfig;
use proa_sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::healing::health::{Answer, Check, Feeling, Felt, Health, OUTPUT, Probe};
use crate::healing::restart::monotonic;
use crate::host::Host;
use crate::state::{Container, Status};
use crate::timestamp::unix_nanos;

/// How long output may still come after a program's end when its streams stay open.
const AFTERGLOW: Duration = Duration::from_millis(200);
/// How long a program that was killed may take to go before it is left to itself.
const GOING: Duration = Duration::from_secs(5);
const KILL: i32 = 9;

/// What a probe brought home.
struct Found {
    /// 0 is healthy, -1 no answer.
    code: i64,
    output: Vec<u8>,
}

impl Found {
    fn failed(sentence: String) -> Found {
        Found { code: -1, output: sentence.into_bytes() }
    }
}

impl Host {
    /// Looks after a container's health until the run that has begun ends; nothing where it has no check.
    pub(crate) fn watch_health(self: &Arc<Self>, container: &Arc<Container>) {
        let check = container.with(|record| Check::read(record.config.healthcheck.as_ref())).ok().flatten();
        let same_run =
            container.with(|record| record.health.as_ref().is_some_and(|felt| felt.began == record.restarts.began));
        container.with_health(|health| {
            let before = health.take().filter(|_| check.is_some()).unwrap_or_default();
            *health = check.is_some().then(|| match same_run {
                // The host is new, not the run.
                true => before,
                // As dockerd does: a new run is unknown again, what was found before stays to be read.
                false => Health { log: before.log, ..Health::default() },
            });
        });
        if let Some(check) = check {
            tokio::spawn(watch(self.clone(), container.clone(), check));
        }
    }

    /// Acts on how a container feels now.
    fn felt(self: &Arc<Self>, container: &Arc<Container>, feeling: Feeling) {
        self.events.container(container, format!("health_status: {}", feeling.as_str()), &[]);
        if feeling == Feeling::Unhealthy && container.with(|record| record.restart_on_unhealthy) {
            container.fall_ill();
            let (host, container) = (self.clone(), container.clone());
            tokio::spawn(async move {
                if let Err(error) = host.end(&container, None, None).await {
                    tracing::error!(container = container.id(), "end it, for it is unhealthy: {}", error.sentence());
                }
            });
        }
    }
}

async fn watch(host: Arc<Host>, container: Arc<Container>, check: Check) {
    let mut news = container.news();
    let exits = news.borrow().exits;
    loop {
        let pause = container.health().unwrap_or_default().pause(&check, age(&container));
        if tokio::time::timeout(pause, news.wait_for(|news| news.exits != exits || news.gone)).await.is_ok() {
            break;
        }
        if container.status() == Status::Paused {
            continue;
        }
        let (begin, age) = (now(), age(&container));
        let found = probe(&host, &container, &check).await;
        if news.borrow().exits != exits {
            break;
        }
        let output = String::from_utf8_lossy(&found.output[..found.output.len().min(OUTPUT)]).into_owned();
        let answer = Answer { begin, end: now(), code: found.code, output };
        let changed = container.with_health(|health| health.as_mut()?.take(&check, answer, age));
        if let Some(feeling) = changed {
            remember(&container);
            host.felt(&container, feeling);
        }
    }
    // As dockerd does: what does not run is not well.
    container.with_health(|health| {
        if let Some(health) = health {
            health.feeling = Feeling::Unhealthy;
        }
    });
}

/// Keeps how a container feels for the next host.
fn remember(container: &Container) {
    let Some(health) = container.health() else { return };
    let kept = container.edit(|record| record.health = Some(Felt { began: record.restarts.began, health }));
    if let Err(error) = kept {
        // It is asked again.
        tracing::warn!(container = container.id(), "{}", error.sentence());
    }
}

async fn probe(host: &Arc<Host>, container: &Arc<Container>, check: &Check) -> Found {
    match &check.probe {
        Probe::Command(words) => command(host, container, words.clone(), check.timeout).await,
        // There is no shell in a Wasm container: the line is the words of its own program, or a module's name and words.
        Probe::Shell(line) if container.with(|record| record.isolation.is_wasm()) => {
            let words = line.split_whitespace().map(str::to_owned).collect();
            command(host, container, words, check.timeout).await
        }
        Probe::Shell(line) => {
            let own = container.with(|record| record.config.shell.clone()).filter(|shell| !shell.is_empty());
            let mut words = own.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            words.push(line.clone());
            command(host, container, words, check.timeout).await
        }
        Probe::Http(path) => {
            let Some(address) = address(container) else {
                return Found::failed("no port of it is published, so there is nothing to ask".to_owned());
            };
            match tokio::time::timeout(check.timeout, request(address, path)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => Found { code: 1, output: format!("GET {path}: {error}").into_bytes() },
                Err(_) => too_long(check.timeout, b""),
            }
        }
    }
}

async fn command(host: &Arc<Host>, container: &Arc<Container>, words: Vec<String>, limit: Duration) -> Found {
    let config =
        ExecConfig { cmd: Some(words), attach_stdout: Some(true), attach_stderr: Some(true), ..ExecConfig::default() };
    let exec = match host.exec_create(container.clone(), config).await {
        Ok(exec) => exec,
        Err(error) => return Found::failed(error.sentence()),
    };
    let started = tokio::time::timeout(limit, host.exec_start(&exec)).await;
    let found = match started {
        Ok(Ok(sandbox)) => {
            let mut output = Vec::new();
            let in_time = tokio::time::timeout(limit, collect(&sandbox, &mut output)).await.is_ok();
            if !in_time {
                // It may have ended by itself at this moment.
                let _ = sandbox.signal(KILL).await;
            }
            let (host, exec) = (host.clone(), exec.clone());
            // In a task of its own: a program that cannot be killed does not stop the checks.
            let finished = tokio::spawn(async move {
                host.exec_finish(&exec, &sandbox).await;
                exec.progress().exit_code
            });
            let code = tokio::time::timeout(GOING, finished).await.ok().and_then(Result::ok).flatten();
            match (in_time, code) {
                (true, Some(code)) => Found { code: code.into(), output },
                (true, None) => Found { code: -1, output },
                (false, _) => too_long(limit, &output),
            }
        }
        Ok(Err(error)) => Found::failed(error.sentence()),
        Err(_) => too_long(limit, b""),
    };
    host.execs.forget(&exec.id);
    found
}

/// Reads what a program prints until its end; more than is kept is read and dropped.
async fn collect(sandbox: &Sandbox, kept: &mut Vec<u8>) {
    let Some(mut output) = sandbox.output() else {
        sandbox.wait().await;
        return;
    };
    loop {
        let peeked = tokio::select! {
            biased;
            peeked = output.peek() => peeked,
            // A program that left a child in the background holds its streams open.
            _ = sandbox.wait() => tokio::time::timeout(AFTERGLOW, output.peek()).await.unwrap_or(Ok(None)),
        };
        let Ok(Some(chunk)) = peeked else { break };
        let room = OUTPUT.saturating_sub(kept.len()).min(chunk.bytes.len());
        kept.extend_from_slice(&chunk.bytes[..room]);
        if output.consume().await.is_err() {
            break;
        }
    }
    sandbox.wait().await;
}

/// Where the container's handler listens, as its clients reach it.
fn address(container: &Container) -> Option<SocketAddr> {
    let port = container.with(|record| record.ports.first().cloned())?;
    let address = match port.address {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Some(SocketAddr::new(address, port.port))
}

/// One GET; 200 to 399 is healthy. Written by hand: the answer is a guest's, and only its first bytes are read.
async fn request(address: SocketAddr, path: &str) -> std::io::Result<Found> {
    let mut stream = TcpStream::connect(address).await?;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: proa-health\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(4 * OUTPUT as u64).read_to_end(&mut bytes).await?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let invalid = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is no HTTP");
    let Ok(httparse::Status::Complete(length)) = response.parse(&bytes) else { return Err(invalid()) };
    let status = response.code.ok_or_else(invalid)?;
    let mut output = format!("HTTP {status}\n").into_bytes();
    output.extend_from_slice(&bytes[length..]);
    Ok(Found { code: i64::from(!(200..400).contains(&status)), output })
}

fn too_long(limit: Duration, output: &[u8]) -> Found {
    let mut said = format!("Health check exceeded timeout ({limit:?})").into_bytes();
    if !output.is_empty() {
        said.extend_from_slice(b": ");
        said.extend_from_slice(output);
    }
    Found { code: -1, output: said }
}

/// How long this run has lasted.
fn age(container: &Container) -> Duration {
    Duration::from_nanos(monotonic().saturating_sub(container.with(|record| record.restarts.began)))
}

fn now() -> u64 {
    unix_nanos(SystemTime::now())
}
