//! Single requests to the Docker Engine API, for what the command line has no verb for. One connection a request.
//! A [`Conversation`] is one whose answer is read in steps.

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
    pub headers: Headers,
    pub body: Vec<u8>,
}

/// The headers of an answer, in their order.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of the header `name`; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.as_str())
    }
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

/// A request's target with what may not stand in one percent-encoded, such as the quotes of a filter.
pub fn encoded(target: &str) -> String {
    let mut text = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>[]\\^`{|}".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// When nobody listens, or the answer is not HTTP.
pub fn request(socket: &Path, method: &str, target: &str, media_type: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
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

/// Sends bytes that need not be HTTP, closes our end for writing if `half_close`, and reads whatever comes back within
/// `patience`.
///
/// # Errors
/// When nobody listens, or the host neither answers nor hangs up in time.
pub fn raw(socket: &Path, bytes: &[u8], half_close: bool, patience: Duration) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // A host that has answered already need not read the rest.
    let _ = stream.write_all(bytes);
    if half_close {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error).with_context(|| format!("so far it said {:?}", String::from_utf8_lossy(&answer))),
    }
}

/// One request whose answer comes in steps: a stream, or a connection taken over.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Conversation {
    /// Sends a request with `headers` and JSON for a body (none when empty).
    ///
    /// # Errors
    /// When nobody listens.
    pub fn begin(
        socket: &Path,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Conversation> {
        let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: proa\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes())?;
        Ok(Conversation { stream, read: Vec::new() })
    }

    /// Waits for the head of the answer: its status and headers. What follows is not waited for.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn head(&mut self) -> Result<(u16, Headers)> {
        loop {
            if let Some((status, headers, length)) = head(&self.read)? {
                self.read.drain(..length);
                return Ok((status, headers));
            }
            self.more()?;
        }
    }

    /// Waits until what came after the head holds `text`.
    ///
    /// # Errors
    /// When it ends before that, or nothing comes in time.
    pub fn shows(&mut self, text: &str) -> Result<()> {
        while !String::from_utf8_lossy(&self.read).contains(text) {
            self.more().with_context(|| format!("waiting for `{text}` after {:?}", self.read))?;
        }
        Ok(())
    }

    /// Writes to the connection that was taken over.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Everything from here to the end, which must come; still in chunks where the head said so.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn rest(mut self) -> Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.read).context("waiting for the end of the answer")?;
        Ok(self.read)
    }

    fn more(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer).context("waiting for more of the answer")?;
        ensure!(length > 0, "the host closed the connection");
        self.read.extend_from_slice(&buffer[..length]);
        Ok(())
    }
}

/// How long an answer of any kind may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Status, headers and length of the head that `bytes` begin with; `None` while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<(u16, Headers, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.context("a response without a status")?;
    let text =
        |header: &httparse::Header<'_>| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned());
    Ok(Some((status, Headers(response.headers.iter().map(text).collect()), length)))
}

/// An answer from the bytes of a connection.
///
/// # Errors
/// When they are not a whole HTTP response.
pub fn parse(bytes: &[u8]) -> Result<Answer> {
    let Some((status, headers, length)) = head(bytes)? else { bail!("half an HTTP response") };
    let body = &bytes[length..];
    let chunked = headers.get("transfer-encoding").eq_ignore_ascii_case("chunked");
    Ok(Answer { status, headers, body: if chunked { unchunk(body)? } else { body.to_vec() } })
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
