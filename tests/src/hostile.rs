//! A server that does what a case tells it, byte by byte: the registry nobody should trust. One request a connection.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub target: String,
    /// The value of the Authorization header.
    pub authorization: Option<String>,
}

/// The server; its threads end with their connections.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Hostile {
    /// Answers every request on a free port of loopback by `act`, which may do with the connection what it likes.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn open(act: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Result<Hostile> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (act, seen) = (Arc::new(act), Arc::clone(&asked));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (act, seen) = (Arc::clone(&act), Arc::clone(&seen));
                thread::spawn(move || {
                    // Whoever acts for ever ends with its client.
                    let _ = stream.set_write_timeout(Some(Duration::from_secs(120)));
                    if let Some(asked) = read(&mut stream) {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
                        act(&asked, &mut stream);
                    }
                });
            }
        });
        Ok(Hostile { address, asked })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut words = text.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let header = text.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
    let authorization = header.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned());
    Some(Asked { method, target, authorization })
}
