//! A registry that plays any part: a closure answers each request, whole or cut short.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// By name in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Closes after so many bytes of the body, of which the whole length was announced.
    pub(super) cut: Option<usize>,
    /// Sends the body byte by byte, with this pause in between.
    pub(super) drip: Option<Duration>,
}

pub(super) fn told(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Told {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Told { status, headers, body: body.to_vec(), cut: None, drip: None }
}

/// The registry; it ends with the runtime.
pub(super) struct Stage {
    pub(super) address: String,
    pub(super) seen: Arc<Mutex<Vec<Asked>>>,
}

impl Stage {
    pub(super) async fn open(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, log.clone(), answer.clone()));
            }
        });
        Stage { address, seen }
    }

    /// Method and path of every request.
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Asked::line).collect()
    }

    /// Whether any request carried a secret.
    pub(super) fn was_shown_a_secret(&self) -> bool {
        self.seen.lock().unwrap().iter().any(|asked| {
            let everything = format!("{asked:?} {}", String::from_utf8_lossy(&asked.body));
            asked.header("authorization").is_some() || everything.contains("secret") || everything.contains("t0ken")
        })
    }
}

async fn serve(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<impl Fn(&Asked) -> Told + Send + Sync + 'static>,
) {
    let Some(asked) = read(&mut stream).await else { return };
    log.lock().unwrap().push(asked.clone());
    let told = answer(&asked);
    let length = told.body.len();
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {length}\r\n", told.status);
    for (name, value) in &told.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).await;
    if let Some(pause) = told.drip {
        for byte in &told.body {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    } else if asked.method != "HEAD" {
        let _ = stream.write_all(&told.body[..told.cut.unwrap_or(length).min(length)]).await;
    }
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = bytes[end..].to_vec();
    while body.len() < length {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        body.extend_from_slice(&buffer[..count]);
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Asked { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}
