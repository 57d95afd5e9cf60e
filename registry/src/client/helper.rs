//! Credential helpers: programs named `docker-credential-NAME` that keep logins (docker-credential-helpers' protocol: the
//! verb as argument, the registry or a JSON document on standard input, JSON on standard output). They are programs of the
//! user; what they say is bounded in size and time all the same. Knows nothing of registries.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::credentials::Login;
use crate::error::{Error, Result};

/// How long one may take; it may have to ask a person.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most bytes of an answer.
const ANSWER_MAX: u64 = 64 << 10;
/// What stands in for a user's name where the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The login that helper `name` keeps for `registry`; `None` where it knows none. Blocks.
pub(super) fn get(name: &str, registry: &str) -> Result<Option<Login>> {
    let key = key_of(registry);
    let (success, said) = run(name, "get", registry, key.as_bytes(), PATIENCE)?;
    if !success {
        let said = String::from_utf8_lossy(&said).to_lowercase();
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(refuse(name, registry, &format!("says: {}", first_line(&said))));
    }
    let answer: Answer =
        serde_json::from_slice(&said).map_err(|_| refuse(name, registry, "did not answer with a login in JSON"))?;
    Ok(match answer {
        Answer { secret, .. } if secret.is_empty() => None,
        Answer { username, secret } if username == TOKEN_USER => {
            Some(Login { identity_token: Some(secret), ..Login::default() })
        }
        Answer { username, secret } => Some(Login { username, password: secret, identity_token: None }),
    })
}

/// Gives helper `name` a login to keep. Blocks.
pub(super) fn store(name: &str, registry: &str, login: &Login) -> Result<()> {
    let (user, secret) = match &login.identity_token {
        Some(token) => (TOKEN_USER, token),
        None => (login.username.as_str(), &login.password),
    };
    let document = json!({ "ServerURL": key_of(registry), "Username": user, "Secret": secret }).to_string();
    done(name, registry, run(name, "store", registry, document.as_bytes(), PATIENCE)?)
}

/// Has helper `name` forget its login for `registry`. Blocks.
pub(super) fn erase(name: &str, registry: &str) -> Result<()> {
    done(name, registry, run(name, "erase", registry, key_of(registry).as_bytes(), PATIENCE)?)
}

fn done(name: &str, registry: &str, (success, said): (bool, Vec<u8>)) -> Result<()> {
    if success {
        return Ok(());
    }
    Err(refuse(name, registry, &format!("says: {}", first_line(&String::from_utf8_lossy(&said)))))
}

/// Docker Hub is known to helpers by the address it once had.
fn key_of(registry: &str) -> &str {
    if registry == "docker.io" { super::credentials::HUB_KEY } else { registry }
}

fn run(name: &str, verb: &str, registry: &str, input: &[u8], patience: Duration) -> Result<(bool, Vec<u8>)> {
    // A name with a slash would be a path of the configuration's choice.
    if name.is_empty() || name.len() > 100 || name.contains(['/', '\\', '\0']) || name.starts_with('.') {
        return Err(refuse(name, registry, "has a name that is none"));
    }
    let program = format!("docker-credential-{name}");
    let failed = |error: std::io::Error| refuse(name, registry, &format!("cannot be asked (`{program}`): {error}"));
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let answered = converse(&mut child, input, patience);
    if answered.is_none() {
        // It may be gone already.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let Some(said) = answered else {
        return Err(refuse(name, registry, &format!("did not answer within {} s", patience.as_secs())));
    };
    if said.len() as u64 > ANSWER_MAX {
        return Err(refuse(name, registry, "answered with more than 64 KiB"));
    }
    Ok((status.success(), said))
}

/// What it says until it closes its output, or nothing when that takes too long.
fn converse(child: &mut Child, input: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    let input = input.to_vec();
    let (sender, receiver) = mpsc::channel();
    // One that holds its pipes open is waited for by these threads, never by us.
    thread::spawn(move || {
        // It may end without having read.
        let _ = stdin.write_all(&input);
    });
    thread::spawn(move || {
        let mut said = Vec::new();
        let read = stdout.take(ANSWER_MAX + 1).read_to_end(&mut said);
        // Nobody listens any more once time is up.
        let _ = sender.send(read.map(|_| said));
    });
    receiver.recv_timeout(patience).ok()?.ok()
}

fn refuse(name: &str, registry: &str, reason: &str) -> Error {
    let name: String = name.chars().filter(|char| !char.is_control()).take(100).collect();
    Error::Credentials { registry: registry.to_owned(), reason: format!("the helper `{name}` {reason}") }
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing").trim();
    line.chars().filter(|char| !char.is_control()).take(200).collect()
}
