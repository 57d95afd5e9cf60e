//! A small, bounded load on an HTTP server of loopback: one request a connection, every answer looked at.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// One GET and its whole answer: status and body.
///
/// # Errors
/// When the connection fails or the answer is cut.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    request(address, "GET", path, b"")
}

/// One GET of a certain media type.
///
/// # Errors
/// As [`get`].
pub fn get_as(address: SocketAddr, path: &str, media_type: &str) -> Result<(u16, String)> {
    exchange(address, "GET", path, &format!("Accept: {media_type}\r\n"), b"")
}

/// One request with a body.
///
/// # Errors
/// As [`get`].
pub fn request(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
    exchange(address, method, path, "", body)
}

fn exchange(address: SocketAddr, method: &str, path: &str, more: &str, body: &[u8]) -> Result<(u16, String)> {
    let patience = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, patience).context("connecting")?;
    stream.set_read_timeout(Some(patience))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{more}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).context("sending")?;
    stream.write_all(body).context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("reading the answer")?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let Some((_, body)) = text.split_once("\r\n\r\n") else { bail!("no whole HTTP answer: `{text}`") };
    Ok((status.with_context(|| format!("no status: `{text}`"))?, body.to_owned()))
}

/// Requests that go on until [`stop`](Load::stop).
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts two callers that ask for `/` one request after the other.
    pub fn start(address: SocketAddr) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let call = || {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            thread::spawn(move || call_until(address, &over, &answered))
        };
        let callers = vec![call(), call()];
        Load { over, answered, callers }
    }

    /// How many requests have been answered rightly.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends the load.
    ///
    /// # Errors
    /// When any request failed; shows the first failures.
    pub fn stop(self) -> Result<usize> {
        self.over.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for caller in self.callers {
            failures.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?);
        }
        let answered = self.answered.load(Ordering::Relaxed);
        let first = &failures[..failures.len().min(5)];
        ensure!(failures.is_empty(), "{} of {} requests failed: {first:?}", failures.len(), answered + failures.len());
        Ok(answered)
    }
}

fn call_until(address: SocketAddr, over: &AtomicBool, answered: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    while !over.load(Ordering::Relaxed) && failures.len() < 1000 {
        match get(address, "/") {
            Ok((200, body)) if body.contains("Hello from a component!") => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok((status, body)) => failures.push(format!("status {status}: {body}")),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    failures
}
