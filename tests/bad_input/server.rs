//! proa's own registry server under attack: names that climb, uploads that never end or lie, a commit that was cut off.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proa_registry::{Descriptor, Digest, Layout};
use proa_tests::api::{self, Answer, Headers};
use proa_tests::image;
use proa_tests::registry::Registry;
use proa_tests::{Suite, cases};

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[],
        cases![
            names_that_climb_are_refused_by_the_registry,
            open_uploads_are_bounded,
            uploads_that_lie_leave_nothing_under_their_digest,
            manifests_that_name_what_is_not_there_are_refused,
            a_commit_that_was_cut_off_leaves_nothing,
        ],
    );
}

fn ask(registry: &Registry, method: &str, target: &str, headers: &str, body: &[u8]) -> Result<(Answer, String)> {
    let mut stream = TcpStream::connect(registry.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // A refusal may come before the body's end.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let location = text.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default().to_owned();
    let answer = if method == "HEAD" {
        Answer { status: status(&text)?, headers: Headers::default(), body: Vec::new() }
    } else {
        api::parse(&bytes)?
    };
    Ok((answer, location))
}

fn status(text: &str) -> Result<u16> {
    text.split(' ').nth(1).context("no status")?.parse().context("a status is a number")
}

/// 4xx, in the words of the specification where there is a body.
fn refused(answer: &Answer, what: &str) -> Result<()> {
    ensure!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    if !answer.body.is_empty() {
        ensure!(answer.json()?["errors"][0]["code"].is_string(), "{what}: {}", answer.text());
    }
    Ok(())
}

fn names_that_climb_are_refused_by_the_registry() -> Result<()> {
    let registry = Registry::start()?;
    let hex = "a".repeat(64);
    let names = [
        "..",
        "../..",
        "a/../..",
        "%2e%2e",
        "..%2f..",
        "a//b",
        ".",
        "A",
        "a/%00",
        "a%2f..%2f..%2fetc",
        "-",
        "a/.git",
        &"a/".repeat(300),
    ];
    for name in names {
        for (method, rest) in [
            ("GET", "manifests/latest".to_owned()),
            ("PUT", "manifests/latest".to_owned()),
            ("DELETE", "manifests/latest".to_owned()),
            ("GET", format!("blobs/sha256:{hex}")),
            ("POST", "blobs/uploads/".to_owned()),
            ("GET", "tags/list".to_owned()),
        ] {
            let (answer, _) = ask(&registry, method, &format!("/v2/{name}/{rest}"), "", b"")?;
            refused(&answer, &format!("{method} `{name}` {rest}"))?;
        }
    }
    for target in [
        "manifests/..",
        "manifests/%2e%2e",
        "blobs/sha256:..",
        "blobs/../../index.json",
        "blobs/uploads/../../index.json",
        "manifests/sha256:zz",
    ] {
        let (answer, _) = ask(&registry, "GET", &format!("/v2/a/{target}"), "", b"")?;
        refused(&answer, target)?;
    }
    let mut found: Vec<String> =
        std::fs::read_dir(registry.folder())?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    found.retain(|name| !matches!(name.as_str(), "blobs" | "index.json" | "oci-layout" | "ingest"));
    ensure!(found.is_empty(), "it made {found:?}");
    Ok(())
}

fn open_uploads_are_bounded() -> Result<()> {
    let registry = Registry::start()?;
    let mut last = 0;
    for _ in 0..300 {
        last = ask(&registry, "POST", "/v2/a/blobs/uploads/", "", b"")?.0.status;
        ensure!(matches!(last, 202 | 429), "{last}");
    }
    ensure!(last == 429, "300 uploads are open");
    // Who reads is served all the same.
    ensure!(ask(&registry, "GET", "/v2/", "", b"")?.0.status == 200);
    Ok(())
}

fn uploads_that_lie_leave_nothing_under_their_digest() -> Result<()> {
    let registry = Registry::start()?;
    let wanted = image::digest(b"what was promised");
    let absent = |what: &str| -> Result<()> {
        let (answer, _) = ask(&registry, "HEAD", &format!("/v2/a/blobs/{wanted}"), "", b"")?;
        ensure!(answer.status == 404, "{what}: the blob is there, {}", answer.status);
        Ok(())
    };
    let begin = || Ok::<_, anyhow::Error>(ask(&registry, "POST", "/v2/a/blobs/uploads/", "", b"")?.1);
    // Out of order, overlapping, backwards, or no range at all.
    for range in
        ["100-105", "3-5", "5-2", "x-y", "-1-4", "18446744073709551615-0", "bytes 0-9/10", "0-18446744073709551615"]
    {
        let location = begin()?;
        let (first, _) = ask(&registry, "PATCH", &location, "Content-Range: 0-5\r\n", b"whatwa")?;
        ensure!(first.status == 202, "{}", first.text());
        let (answer, _) = ask(&registry, "PATCH", &location, &format!("Content-Range: {range}\r\n"), b"s prom")?;
        refused(&answer, range)?;
        // The upload is as it was: it can be finished, and is what was sent of it.
        let (finished, _) = ask(&registry, "PUT", &format!("{location}?digest={}", image::digest(b"whatwa")), "", b"")?;
        ensure!(finished.status == 201, "{range}: {} {}", finished.status, finished.text());
    }
    for (digest, body) in
        [(wanted.as_str(), b"something else".as_slice()), ("sha256:short", b"x"), ("md5:aaaa", b"x"), ("", b"x")]
    {
        let location = begin()?;
        let (answer, _) = ask(&registry, "PUT", &format!("{location}?digest={digest}"), "", body)?;
        refused(&answer, digest)?;
        absent(digest)?;
        let (again, _) = ask(&registry, "PUT", &format!("{location}?digest={wanted}"), "", b"what was promised")?;
        ensure!(again.status == 404 || again.status == 201, "{}", again.status);
        if again.status == 201 {
            return Ok(());
        }
    }
    let (answer, _) =
        ask(&registry, "POST", &format!("/v2/a/blobs/uploads/?digest={wanted}"), "", b"at once, but wrong")?;
    refused(&answer, "at once")?;
    // Another repository's upload is not ours.
    let location = begin()?.replace("/v2/a/", "/v2/b/");
    refused(&ask(&registry, "PATCH", &location, "", b"x")?.0, "a stranger's upload")?;
    refused(&ask(&registry, "DELETE", &location, "", b"")?.0, "a stranger's upload")?;
    // A body that is cut off.
    let location = begin()?;
    let mut stream = TcpStream::connect(registry.address())?;
    write!(stream, "PUT {location}?digest={wanted} HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\nwhat was")?;
    drop(stream);
    absent("cut off")
}

fn manifests_that_name_what_is_not_there_are_refused() -> Result<()> {
    let registry = Registry::start()?;
    let missing = serde_json::json!({ "mediaType": image::LAYER, "digest": image::digest(b"nowhere"), "size": 7 });
    let both = serde_json::json!({ "schemaVersion": 2, "config": missing, "layers": [], "manifests": [] });
    let bodies = [
        serde_json::json!({ "schemaVersion": 2, "config": missing, "layers": [] }).to_string(),
        serde_json::json!({ "schemaVersion": 2, "manifests": [missing] }).to_string(),
        both.to_string(),
        "[".repeat(200_000),
        "{}".to_owned(),
        String::new(),
        "x".repeat(5 << 20),
    ];
    for body in bodies {
        let shown: String = body.chars().take(80).collect();
        let (answer, _) = ask(
            &registry,
            "PUT",
            "/v2/a/manifests/latest",
            &format!("Content-Type: {}\r\n", image::MANIFEST),
            body.as_bytes(),
        )?;
        refused(&answer, &shown)?;
        ensure!(ask(&registry, "GET", "/v2/a/manifests/latest", "", b"")?.0.status == 404, "`{shown}` has a name");
    }
    Ok(())
}

fn a_commit_that_was_cut_off_leaves_nothing() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("proa-test-registry-").tempdir()?;
    let layout = Layout::create(folder.path())?;
    let (digest, size) = (Digest::sha256_of(b"whole"), 5);
    let mut ingest = layout.begin(Some((&digest, Some(size))), size)?;
    ingest.write_all(b"who")?;
    // As a process that is killed leaves it.
    std::mem::forget(ingest);
    let registry = Registry::over(folder)?;
    let target = format!("/v2/a/blobs/{digest}");
    ensure!(ask(&registry, "GET", &target, "", b"")?.0.status == 404, "half a blob is served");
    ensure!(!layout.has(&Descriptor::new("", digest.clone(), size)));
    let (answer, _) = ask(&registry, "POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), "", b"whole")?;
    ensure!(answer.status == 201, "{}", answer.text());
    ensure!(ask(&registry, "GET", &target, "", b"")?.0.body == b"whole");
    Ok(())
}
