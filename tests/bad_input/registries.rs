//! Registries that mean harm: what they say is bounded, where they point is looked at, and nobody waits for ever.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proa_tests::hostile::{Asked, Hostile};
use proa_tests::image::{self, Image, Recipe};
use proa_tests::node::fresh_name;
use proa_tests::tarball::Tarball;
use proa_tests::{Node, Suite, cases, command};

use super::within_memory;

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[],
        cases![
            answers_without_end_are_bounded,
            answers_that_are_no_http_are_refused,
            redirects_lead_nowhere_they_may_not,
            a_token_server_that_may_not_be_asked_is_not_asked,
            a_refusal_s_text_is_shown_without_its_control_characters,
            a_registry_that_falls_silent_is_given_up,
        ],
    );
}

fn pull(node: &Node, registry: &Hostile, words: &[&str]) -> Result<()> {
    let reference = format!("{}/x:latest", registry.address());
    let output = command::run(&mut node.command(&["pull", &reference]), Duration::from_secs(100))?;
    output.refused(1, words)?;
    node.get("/_ping")?.success()?;
    Ok(())
}

fn head(status: &str, headers: &[&str]) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n").into_bytes()
}

/// Writes `piece` until the other side has had enough.
fn for_ever(stream: &mut TcpStream, piece: &[u8]) {
    while stream.write_all(piece).is_ok() {}
}

/// An image whose blobs are served by `blob`.
fn with_blobs(blob: impl Fn(&mut TcpStream, &[u8]) + Send + Sync + 'static) -> Result<Hostile> {
    let layer = Tarball::new().file("only", 0o644, fresh_name("registries").as_bytes());
    let layer = layer.file("probe", 0o755, proa_tests::samples::PROBE_LINUX).finish();
    let image = Image::native(&Recipe { entrypoint: &["/probe"], ..Recipe::default() }, vec![layer]);
    Hostile::open(move |asked, stream| {
        let digest = asked.target.rsplit('/').next().unwrap_or_default();
        match image.blobs.get(digest) {
            Some(bytes) => blob(stream, bytes),
            None => answer(asked, stream, &image.manifest_bytes()),
        }
    })
}

fn answer(asked: &Asked, stream: &mut TcpStream, manifest: &[u8]) {
    let body = if asked.target.contains("/manifests/") { manifest } else { b"{}" };
    let length = format!("Content-Length: {}", body.len());
    let media = format!("Content-Type: {}", image::MANIFEST);
    let _ = stream.write_all(&head("200 OK", &[&media, &length]));
    if asked.method != "HEAD" {
        let _ = stream.write_all(body);
    }
}

fn answers_without_end_are_bounded() -> Result<()> {
    let zeros = vec![b' '; 1 << 20];
    let chunk = [format!("{:x}\r\n", zeros.len()).into_bytes(), zeros.clone(), b"\r\n".to_vec()].concat();
    let chunked = head("200 OK", &["Transfer-Encoding: chunked"]);
    within_memory(64 << 20, |node| {
        let endless = |head: Vec<u8>, piece: Vec<u8>| {
            Hostile::open(move |_, stream| {
                let _ = stream.write_all(&head);
                for_ever(stream, &piece);
            })
        };
        let registry =
            endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Header: and another one and another one\r\n".repeat(100))?;
        pull(node, &registry, &[]).context("headers")?;
        pull(node, &endless(b"HTTP/1.1 200 OK\r\nX-Header: ".to_vec(), zeros.clone())?, &[]).context("one header")?;
        pull(node, &endless(chunked.clone(), chunk.clone())?, &["4194304"]).context("a manifest")?;
        pull(node, &endless(head("200 OK", &[]), zeros.clone())?, &["4194304"])
            .context("a manifest without a length")?;
        pull(node, &endless(head("500 Oh", &["Transfer-Encoding: chunked"]), chunk.clone())?, &["500"])
            .context("an error")?;
        pull(
            node,
            &endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), b"1\r\n".repeat(1000))?,
            &[],
        )
        .context("chunks that are none")?;
        let (blob_head, blob_chunk) = (chunked.clone(), chunk.clone());
        let registry = with_blobs(move |stream, bytes| {
            let _ = stream.write_all(&blob_head);
            let _ = stream
                .write_all(&[format!("{:x}\r\n", bytes.len()).into_bytes(), bytes.to_vec(), b"\r\n".to_vec()].concat());
            for_ever(stream, &blob_chunk);
        })?;
        pull(node, &registry, &["bytes"]).context("a blob")?;
        let (token_head, token_chunk) = (chunked, chunk);
        let registry = Hostile::open(move |asked, stream| {
            if asked.target.starts_with("/token") {
                let _ = stream.write_all(&token_head);
                return for_ever(stream, &token_chunk);
            }
            let own = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
            let realm = format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"s\"");
            let _ = stream.write_all(&head("401 No", &[&realm, "Content-Length: 0"]));
        })?;
        pull(node, &registry, &["1048576"]).context("a token")
    })
}

fn answers_that_are_no_http_are_refused() -> Result<()> {
    let node = Node::shared()?;
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("noise", proa_tests::guest::blob(10_000)),
        ("half", b"HTTP/1.1 200".to_vec()),
        ("half-headers", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("short-body", [head("200 OK", &["Content-Length: 1000"]), b"short".to_vec()].concat()),
        ("negative", head("200 OK", &["Content-Length: -1"])),
        ("huge", head("200 OK", &["Content-Length: 18446744073709551615"])),
        ("huger", head("200 OK", &["Content-Length: 99999999999999999999999999"])),
        ("two-lengths", [head("200 OK", &["Content-Length: 2", "Content-Length: 9"]), b"{}".to_vec()].concat()),
        ("status", head("999 What", &["Content-Length: 0"])),
        ("no-status", b"HTTP/1.1 abc\r\n\r\n".to_vec()),
        ("continue", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
        ("switch", head("101 Switching Protocols", &["Upgrade: evil"])),
        ("no-content", head("204 No Content", &[])),
        (
            "html",
            [head("200 OK", &["Content-Type: text/html", "Content-Length: 13"]), b"<html></html>".to_vec()].concat(),
        ),
        (
            "many-challenges",
            head(
                "401 No",
                &[&format!("WWW-Authenticate: {}", "Basic realm=\"\\\",".repeat(3000)), "Content-Length: 0"],
            ),
        ),
        ("bad-challenge", head("401 No", &["WWW-Authenticate: Bearer realm=\"", "Content-Length: 0"])),
    ];
    for (name, bytes) in answers {
        let registry = Hostile::open(move |_, stream| {
            let _ = stream.write_all(&bytes);
        })?;
        pull(node, &registry, &[]).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn redirects_lead_nowhere_they_may_not() -> Result<()> {
    let node = Node::shared()?;
    let to = |location: String| {
        Hostile::open(move |asked, stream| {
            let location = location.replace("SELF", &asked.target);
            let _ = stream.write_all(&head("307 There", &[&format!("Location: {location}"), "Content-Length: 0"]));
        })
    };
    pull(node, &to("SELF".to_owned())?, &["redirects without end"]).context("in a circle")?;
    pull(node, &to("/a".to_owned())?, &["redirects without end"]).context("elsewhere for ever")?;
    for location in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "javascript:alert(1)",
        "data:application/json,{}",
        "unix:///var/run/docker.sock",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "//192.0.2.1/x",
        "http://[::ffff:169.254.169.254]/",
        "http://localhost.example.invalid/",
        "http://127.0.0.1@192.0.2.1/",
    ] {
        pull(node, &to(location.to_owned())?, &["points at"]).with_context(|| location.to_owned())?;
    }
    for location in ["", "http://", "http://[", "\u{1}", "http://127.0.0.1:99999/"] {
        pull(node, &to(location.to_owned())?, &[]).with_context(|| location.to_owned())?;
    }
    Ok(())
}

/// The realm is the registry's word: the login went wherever it pointed (oras-go, 2026).
fn a_token_server_that_may_not_be_asked_is_not_asked() -> Result<()> {
    let node = Node::shared()?;
    for realm in [
        "http://169.254.169.254/token",
        "http://192.0.2.1/token",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://127.0.0.1@192.0.2.1/",
    ] {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"");
        let registry = Hostile::open(move |_, stream| {
            let _ = stream.write_all(&head("401 No", &[&challenge, "Content-Length: 0"]));
        })?;
        pull(node, &registry, &["must not be asked"]).with_context(|| realm.to_owned())?;
    }
    // A realm that challenges in turn, for ever.
    let registry = Hostile::open(|_, stream| {
        let own = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{own}/again\"");
        let _ = stream.write_all(&head("401 No", &[&challenge, "Content-Length: 0"]));
    })?;
    pull(node, &registry, &["401"])?;
    ensure!(registry.asked().len() < 20, "it was asked {} times", registry.asked().len());
    Ok(())
}

fn a_refusal_s_text_is_shown_without_its_control_characters() -> Result<()> {
    let node = Node::shared()?;
    let body = serde_json::json!({ "errors": [{ "code": "DENIED", "message": format!("\u{1b}]0;owned\u{7}\n\rproa: all is well{}", "!".repeat(100_000)) }] });
    let body = body.to_string();
    let registry = Hostile::open(move |_, stream| {
        let length = format!("Content-Length: {}", body.len());
        let _ = stream.write_all(&head("403 No", &["Content-Type: application/json", &length]));
        let _ = stream.write_all(body.as_bytes());
    })?;
    let reference = format!("{}/x:latest", registry.address());
    let output = node.proa(&["pull", &reference])?.refused(1, &["403"])?;
    ensure!(!output.stderr.iter().any(|byte| matches!(byte, 0x1b | 7 | b'\r')), "{output}");
    ensure!(output.stderr.len() < 1000, "a sentence of {} bytes", output.stderr.len());
    Ok(())
}

/// Between two pieces of an answer a minute may pass, no more.
fn a_registry_that_falls_silent_is_given_up() -> Result<()> {
    let node = Node::start()?;
    let silent = Hostile::open(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        // Until the client goes.
        let _ = stream.read(&mut [0]);
    })?;
    pull(&node, &silent, &[])?;
    node.close()
}
