//! Single requests to the Docker Engine API, for what the command line has no verb for. One connection a request.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What the host answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Itself, if the status is one of success.
    ///
    /// # Errors
    /// Shows status and body otherwise.
    pub fn success(self) -> Result<Answer> {
        ensure!((200..300).contains(&self.status), "the host answered {}: {}", self.status, self.text());
        Ok(self)
    }
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// When nobody listens, or the answer is not HTTP.
pub fn request(socket: &Path, method: &str, target: &str, media_type: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: proa\r\nConnection: close\r\nContent-Type: {media_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { bail!("half an HTTP response") };
    let status = response.code.context("a response without a status")?;
    let chunked = response.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("transfer-encoding") && header.value.eq_ignore_ascii_case(b"chunked")
    });
    let body = &bytes[length..];
    Ok(Answer { status, body: if chunked { unchunk(body)? } else { body.to_vec() } })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) else {
            bail!("a body cut within its chunks")
        };
        let size = usize::try_from(size)?;
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(rest.get(start..start + size).context("a chunk cut short")?);
        rest = rest.get(start + size + 2..).context("a chunk without its end")?;
    }
}
