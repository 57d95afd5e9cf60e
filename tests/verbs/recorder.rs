//! A socket that writes down what a client asks: two command lines that ask the same mean the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;
use proa_tests::{Output, command, need, wait};
use serde_json::{Map, Value};

/// One request: method, path without its version, body without what is empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// The socket, in a folder of its own.
pub(crate) struct Recorder {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<Request>>>,
    _folder: tempfile::TempDir,
}

impl Recorder {
    pub(crate) fn open() -> Result<Recorder> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket)?;
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Ok(Recorder { socket, requests, _folder: folder })
    }

    /// What `docker ARGS` asks, and how it ends.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<(Vec<Request>, Output)> {
        let program = need::peer("docker").ok_or_else(|| anyhow::anyhow!("`docker` is not installed"))?;
        self.record(Command::new(program).args(args).env("DOCKER_API_VERSION", "1.50"))
    }

    /// What `proa ARGS` asks, and how it ends.
    pub(crate) fn proa(&self, args: &[&str]) -> Result<(Vec<Request>, Output)> {
        self.record(Command::new(proa_tests::harness::program()).args(args))
    }

    fn record(&self, line: &mut Command) -> Result<(Vec<Request>, Output)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let host = format!("unix://{}", self.socket.display());
        let home = self.socket.parent().unwrap_or(Path::new("/"));
        line.env("DOCKER_HOST", &host).env("PROA_HOST", &host).env("HOME", home).env("DOCKER_CONFIG", home);
        let output = command::run(line, wait::PATIENCE)?;
        Ok((self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone(), output))
    }
}

fn serve(stream: UnixStream, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if lines.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let (mut length, mut line) = (0, String::from("x"));
        while !line.trim().is_empty() {
            line.clear();
            lines.read_line(&mut line).ok()?;
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let is_ping = target.contains("_ping");
        let (status, answer) = match target.as_str() {
            _ if is_ping => ("200 OK", "OK"),
            target if target.contains("/containers/create") => ("201 Created", "{\"Id\":\"abc\",\"Warnings\":[]}"),
            _ => ("500 Internal Server Error", "{\"message\":\"recorded\"}"),
        };
        if !is_ping {
            let body = prune(serde_json::from_slice(&body).unwrap_or(Value::Null));
            let request = Request { method: method.clone(), path: normal(&target), body };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
        let sent = if method == "HEAD" { "" } else { answer };
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{sent}",
            answer.len()
        );
        answers.write_all(head.as_bytes()).ok()?;
    }
}

/// Without the version, the parameters sorted, empty ones left out.
fn normal(target: &str) -> String {
    let path = match target.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, path)) => format!("/{path}"),
        None => target.to_owned(),
    };
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let mut parameters: Vec<String> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty() && !parameter.ends_with('='))
        .map(|p| p.replace('+', "%20"))
        .collect();
    parameters.sort();
    format!("{path}?{}", parameters.join("&"))
}

/// Without nulls, zeros, and what is empty: Docker writes every field, absent or not.
fn prune(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept =
                fields.into_iter().map(|(name, field)| (name, prune(field))).filter(|(_, field)| !is_empty(field));
            Value::Object(kept.collect::<Map<String, Value>>())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(prune).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
