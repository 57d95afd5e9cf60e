//! A registry that serves exactly what it was given, honest or not: the read side of the OCI distribution protocol on
//! loopback, with single answers spoiled (wrong bytes, cut short, or held back until somebody lets them go).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use crate::image::{Image, digest};

/// How an answer is served.
#[derive(Debug, Clone)]
enum Manner {
    Whole,
    /// Announces the whole length and closes after so many bytes.
    CutAt(usize),
    /// Sends half and waits for [`Shelf::release`].
    HeldBack,
}

#[derive(Debug, Clone)]
struct Answer {
    media_type: String,
    digest: String,
    body: Vec<u8>,
    manner: Manner,
}

#[derive(Debug, Default)]
struct Content {
    answers: Mutex<HashMap<String, Answer>>,
    released: Mutex<bool>,
    release: Condvar,
    half_sent: AtomicUsize,
    /// The first bytes that were asked for by `Range`.
    ranges: Mutex<Vec<u64>>,
}

/// The registry; it ends with its last connection once dropped.
#[derive(Debug)]
pub struct Shelf {
    address: SocketAddr,
    content: Arc<Content>,
}

impl Shelf {
    /// Opens a registry on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn open() -> Result<Shelf> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let content = Arc::new(Content::default());
        let shared = Arc::clone(&content);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Ok(Shelf { address, content })
    }

    /// Puts `image` on the shelf as `name:latest` and returns the reference to pull.
    pub fn put(&self, name: &str, image: &Image) -> String {
        let manifest = image.manifest_bytes();
        let media = image.manifest["mediaType"].as_str().unwrap_or_default().to_owned();
        for (digest, bytes) in &image.blobs {
            self.answer(
                format!("/v2/{name}/blobs/{digest}"),
                "application/octet-stream",
                digest.clone(),
                bytes.clone(),
            );
        }
        let digest = digest(&manifest);
        self.answer(format!("/v2/{name}/manifests/{digest}"), &media, digest.clone(), manifest.clone());
        self.answer(format!("/v2/{name}/manifests/latest"), &media, digest, manifest);
        format!("{}/{name}:latest", self.address)
    }

    /// Serves the manifest of `image` also as if its digest were `digest`.
    pub fn alias(&self, name: &str, image: &Image, digest: &str) {
        let media = image.manifest["mediaType"].as_str().unwrap_or_default();
        let path = format!("/v2/{name}/manifests/{digest}");
        self.answer(path, media, digest.to_owned(), image.manifest_bytes());
    }

    fn answer(&self, path: String, media_type: &str, digest: String, body: Vec<u8>) {
        let answer = Answer { media_type: media_type.to_owned(), digest, body, manner: Manner::Whole };
        self.answers().insert(path, answer);
    }

    /// Serves other bytes for the blob `digest`.
    pub fn replace(&self, digest: &str, body: &[u8]) {
        self.spoil(digest, |answer| answer.body = body.to_vec());
    }

    /// Closes the connection after `length` bytes of the blob `digest`, however often it is asked for it.
    pub fn cut(&self, digest: &str, length: usize) {
        self.spoil(digest, |answer| answer.manner = Manner::CutAt(length));
    }

    /// Sends half of the blob `digest` and no more until [`release`](Shelf::release).
    pub fn hold_back(&self, digest: &str) {
        self.spoil(digest, |answer| answer.manner = Manner::HeldBack);
    }

    /// How many answers have been sent half and are held back, or were.
    pub fn half_sent(&self) -> usize {
        self.content.half_sent.load(Ordering::SeqCst)
    }

    /// Where downloads that went on began.
    pub fn ranges(&self) -> Vec<u64> {
        self.content.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends what was held back, now and from now on.
    pub fn release(&self) {
        *self.content.released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.content.release.notify_all();
    }

    fn spoil(&self, digest: &str, change: impl Fn(&mut Answer)) {
        let ending = format!("/blobs/{digest}");
        self.answers().iter_mut().filter(|(path, _)| path.ends_with(&ending)).for_each(|(_, answer)| change(answer));
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, HashMap<String, Answer>> {
        self.content.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the requests of one connection until either side ends it.
fn serve(mut stream: TcpStream, content: &Content) {
    let mut pending = Vec::new();
    while let Some((method, path, range)) = next_request(&mut stream, &mut pending) {
        let known = content.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        content.ranges.lock().unwrap_or_else(PoisonError::into_inner).extend(range.map(|from| from as u64));
        let kept = match known {
            Some(answer) => send(&mut stream, &method, &answer, range, content),
            None if path.trim_end_matches('/') == "/v2" => reply(&mut stream, "200 OK", "{}"),
            None => reply(
                &mut stream,
                "404 Not Found",
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            ),
        };
        if !kept {
            return;
        }
    }
}

/// Method, path, and the first byte that a `Range` asks for.
fn next_request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<(String, String, Option<usize>)> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(length) = request.parse(pending).ok()? {
            let range = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("range"));
            let range = range.and_then(|header| std::str::from_utf8(header.value).ok()?.strip_prefix("bytes="));
            let from = range.and_then(|range| range.strip_suffix('-')?.parse().ok());
            let found = (request.method?.to_owned(), request.path?.split('?').next()?.to_owned(), from);
            pending.drain(..length);
            return Some(found);
        }
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        pending.extend_from_slice(&buffer[..length]);
    }
}

/// Sends an answer in its manner; whether the connection can serve another request.
fn send(stream: &mut TcpStream, method: &str, answer: &Answer, range: Option<usize>, content: &Content) -> bool {
    let total = answer.body.len();
    let is_cut = matches!(answer.manner, Manner::CutAt(_));
    let from = range.filter(|from| *from < total && !is_cut);
    let status = match from {
        Some(from) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}", total - 1),
        None => "200 OK".to_owned(),
    };
    let body = &answer.body[from.unwrap_or(0)..];
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nDocker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n",
        answer.media_type,
        answer.digest,
        body.len()
    );
    if stream.write_all(head.as_bytes()).is_err() || method == "HEAD" {
        return method == "HEAD";
    }
    match answer.manner {
        Manner::Whole => stream.write_all(body).is_ok(),
        Manner::CutAt(length) => {
            let _ = stream.write_all(&body[..length.min(body.len())]);
            false
        }
        Manner::HeldBack if from.is_some() => stream.write_all(body).is_ok(),
        Manner::HeldBack => {
            let (first, rest) = body.split_at(body.len() / 2);
            stream.write_all(first).is_ok() && await_release(content) && stream.write_all(rest).is_ok()
        }
    }
}

fn await_release(content: &Content) -> bool {
    content.half_sent.fetch_add(1, Ordering::SeqCst);
    let mut released = content.released.lock().unwrap_or_else(PoisonError::into_inner);
    while !*released {
        released = content.release.wait(released).unwrap_or_else(PoisonError::into_inner);
    }
    true
}

fn reply(stream: &mut TcpStream, status: &str, body: &str) -> bool {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).is_ok()
}
