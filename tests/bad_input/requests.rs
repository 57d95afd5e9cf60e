//! The API under attack: bytes that are no HTTP, bodies that lie, numbers and names of no meaning, connections that say
//! nothing. Each is answered with the right status and one sentence, or hung up on, in bounded memory.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proa_tests::api::{self, Answer};
use proa_tests::outside::Outside;
use proa_tests::{Isolation, Need, Node, Suite, cases};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::within_memory;

const SOON: Duration = Duration::from_secs(20);

pub(crate) fn fill(suite: &mut Suite) {
    suite.add(
        &[],
        cases![
            what_is_no_http_is_answered_or_hung_up_on,
            bodies_of_any_size_and_depth_are_bounded,
            bodies_that_lie_about_their_length_harm_nobody,
            paths_that_climb_are_no_pages,
            names_of_any_length_and_kind_are_unknown,
            parameters_that_make_no_sense_are_refused,
            thousands_of_idle_connections_keep_nobody_out,
            hundreds_of_silent_uploads_keep_nobody_out,
        ],
    );
    suite.add(&[Need::Isolation(Isolation::Linux)], cases![numbers_that_make_no_sense_are_refused]);
}

/// No failure of the host: 4xx with one sentence, or an answer of success.
fn sensible(answer: &Answer, what: &str) -> Result<()> {
    ensure!(answer.status < 500 || answer.status == 501, "{what}: {} {}", answer.status, answer.text());
    if answer.status >= 400 {
        let message = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        ensure!(!message.is_empty() && message.len() < 1500, "{what}: {message:?}");
        ensure!(
            !message.contains("panicked") && !message.chars().any(|char| char.is_control() && char != '\n'),
            "{what}: {message:?}"
        );
    }
    Ok(())
}

/// As [`sensible`], and it must be a refusal.
fn refused(answer: &Answer, what: &str) -> Result<()> {
    sensible(answer, what)?;
    ensure!(answer.status >= 400, "{what} was taken: {} {}", answer.status, answer.text());
    Ok(())
}

fn what_is_no_http_is_answered_or_hung_up_on() -> Result<()> {
    let long = "x".repeat(1 << 20);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("noise", proa_tests::guest::blob(100_000)),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("half", b"GET /_pi".to_vec()),
        ("half-headers", b"GET /_ping HTTP/1.1\r\nHos".to_vec()),
        ("version", b"GET /_ping HTTP/9.9\r\n\r\n".to_vec()),
        ("long-path", format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
        ("long-header", format!("GET /_ping HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n").into_bytes()),
        ("many-headers", format!("GET /_ping HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)).into_bytes()),
        ("nul-header", b"GET /_ping HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_vec()),
        ("two-lengths", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 7\r\n\r\n{}".to_vec()),
        ("negative", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec()),
        ("too-long", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec()),
        ("both", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()),
        ("bad-chunks", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n".to_vec()),
        ("huge-chunk", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}".to_vec()),
        ("odd-coding", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n{}".to_vec()),
        ("odd-method", b"BREW /containers/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("connect", b"CONNECT example.invalid:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("absolute", b"GET http://example.invalid/_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("star", b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("smuggled", b"GET /_ping HTTP/1.1\r\nHost: x\r\nContent-Length: 46\r\nConnection: close\r\n\r\nDELETE /containers/x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    within_memory(48 << 20, |node| {
        for (name, bytes) in cases {
            for half_close in [true, false] {
                // What is not complete waits for the rest, and is given up after a minute.
                if !half_close && matches!(name, "nothing" | "noise" | "tls" | "half" | "half-headers" | "huge-chunk") {
                    continue;
                }
                let answer = api::raw(node.socket(), &bytes, half_close, SOON).with_context(|| name.to_owned())?;
                if answer.is_empty() {
                    continue;
                }
                let text = String::from_utf8_lossy(&answer).into_owned();
                ensure!(text.starts_with("HTTP/1."), "{name}: {text:?}");
                ensure!(!text.starts_with("HTTP/1.1 5") || text.starts_with("HTTP/1.1 501"), "{name}: {text}");
            }
        }
        Ok(())
    })
}

fn bodies_of_any_size_and_depth_are_bounded() -> Result<()> {
    // Of JSON of 4 MiB a tree is made, some ten times as large, and of that tree the body.
    within_memory(160 << 20, |node| {
        let large = format!(r#"{{"Image":"x","Env":["{}"]}}"#, "x".repeat(100 << 20));
        let head = "POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
        let whole = format!("{head}{}\r\n\r\n{large}", large.len());
        let answer = api::parse(&api::raw(node.socket(), whole.as_bytes(), false, SOON)?)?;
        ensure!(answer.status == 413, "{} {}", answer.status, answer.text());
        refused(&answer, "100 MiB")?;
        drop((large, whole));
        let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
        let bodies = [
            deep("[", "]", 1_000_000),
            deep(r#"{"HostConfig":"#, "}", 100_000),
            format!(r#"{{"Image":"x","HostConfig":{}}}"#, deep("[", "]", 100_000)),
            format!(
                r#"{{"Image":"x","Labels":{{{}}}}}"#,
                (0..200_000).map(|at| format!("\"{at}\":\"\"")).collect::<Vec<_>>().join(",")
            ),
            format!(r#"{{"Image":"{}"}}"#, "a/".repeat(100_000)),
            r#"{"Image":"x","Image":"y"}"#.to_owned(),
            "\u{feff}{}".to_owned(),
            "nul\u{0}".to_owned(),
            "NaN".to_owned(),
        ];
        for body in &bodies {
            let shown: String = body.chars().take(60).collect();
            for target in ["/containers/create", "/proa/plan"] {
                refused(&node.post(target, "application/json", body.as_bytes())?, &format!("{target} {shown}"))?;
            }
            // A name that means nothing here may be passed over.
            for target in
                ["/containers/x/exec", "/containers/x/update", "/volumes/create", "/networks/create", "/commit"]
            {
                sensible(&node.post(target, "application/json", body.as_bytes())?, &format!("{target} {shown}"))?;
            }
        }
        let many: String = (0..300_000).map(|at| format!("\"{at}\",")).collect();
        let filters = format!("/containers/json?filters={{\"name\":[{many}\"x\"]}}");
        let answer = api::raw(
            node.socket(),
            format!("GET {filters} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
            true,
            SOON,
        )?;
        ensure!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
        for media_type in
            ["", "text/plain", "application/x-evil", "application/json; charset=\"", "multipart/form-data", "\u{e9}"]
        {
            refused(&node.post("/containers/create", media_type, b"{}")?, media_type)?;
        }
        Ok(())
    })
}

fn bodies_that_lie_about_their_length_harm_nobody() -> Result<()> {
    let node = Node::shared()?;
    for target in ["/containers/create", "/images/load", "/images/create?fromSrc=-&repo=x", "/auth"] {
        let short = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{{");
        let answer = api::raw(node.socket(), short.as_bytes(), true, SOON).with_context(|| target.to_owned())?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        ensure!(!text.starts_with("HTTP/1.1 201"), "{target}: {text}");
        // More than announced is another request, and none.
        let long = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}and more of it\r\n\r\n");
        let answer = api::raw(node.socket(), long.as_bytes(), true, SOON).with_context(|| target.to_owned())?;
        ensure!(answer.is_empty() || answer.starts_with(b"HTTP/1.1"), "{target}: {}", String::from_utf8_lossy(&answer));
    }
    node.get("/_ping")?.success()?;
    Ok(())
}

fn paths_that_climb_are_no_pages() -> Result<()> {
    let node = Node::shared()?;
    for target in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/containers/%2e%2e/json",
        "/containers/..%2f..%2fetc/json",
        "/containers/%00/json",
        "/containers/%ff/json",
        "/containers/%/json",
        "/images/..%2f..%2fetc%2fpasswd/json",
        "/images/../../../etc/passwd/json",
        "/images/%00/json",
        "/volumes/..%2f..%2fetc",
        "/volumes/%2e%2e",
        "/networks/..%2f..",
        "/exec/..%2f../json",
        "/v1.51/v1.51/info",
        "/v1.51.1/info",
        "/v99999999999.1/info",
        "/v-1.51/info",
        "/v1.+51/info",
        "//",
        "/;/",
        "/containers",
        "/containers/json/json/json",
        "/\u{fffd}",
    ] {
        let answer = node.get(target)?;
        refused(&answer, target)?;
        ensure!(!answer.text().contains("root:"), "`{target}` shows a file");
    }
    for target in ["//_ping", "/v1.51//containers///json", "/./_ping"] {
        sensible(&node.get(target)?, target)?;
    }
    Ok(())
}

fn names_of_any_length_and_kind_are_unknown() -> Result<()> {
    let node = Node::shared()?;
    let long = "a".repeat(60_000);
    let names = [
        long.as_str(),
        "%F0%9F%9A%A3",
        "%E2%80%AE",
        "-1",
        "z0",
        "%20",
        "%0A",
        "*",
        "a%0d%0aX-Evil:%20x",
        "sha256:",
        "%5Bx%5D",
        "NaN",
    ];
    for name in names {
        for (method, target) in [
            ("GET", format!("/containers/{name}/json")),
            ("GET", format!("/containers/{name}/logs?stdout=1")),
            ("GET", format!("/containers/{name}/stats?stream=0")),
            ("GET", format!("/containers/{name}/top")),
            ("GET", format!("/containers/{name}/archive?path=/")),
            ("POST", format!("/containers/{name}/start")),
            ("POST", format!("/containers/{name}/kill")),
            ("POST", format!("/containers/{name}/wait")),
            ("POST", format!("/containers/{name}/rename?name=x")),
            ("DELETE", format!("/containers/{name}")),
            ("GET", format!("/images/{name}/json")),
            ("GET", format!("/images/{name}/history")),
            ("DELETE", format!("/images/{name}")),
            ("GET", format!("/exec/{name}/json")),
            ("GET", format!("/volumes/{name}")),
            ("GET", format!("/networks/{name}")),
        ] {
            let shown: String = target.chars().take(80).collect();
            refused(
                &api::request(node.socket(), method, &target, "application/json", b"")?,
                &format!("{method} {shown}"),
            )?;
        }
    }
    Ok(())
}

fn parameters_that_make_no_sense_are_refused() -> Result<()> {
    let node = Node::shared()?;
    let container = node.proa(&["create", node.probe()?, "out", "x"])?.success()?.text();
    let values =
        ["-1", "-999999999999999999999", "NaN", "1.5", "1e400", "9223372036854775808", "%00", "%F0%9F%9A%A3", "[]"];
    for value in values {
        for (method, target) in [
            ("GET", format!("/containers/json?limit={value}")),
            ("GET", format!("/containers/json?filters={value}")),
            ("GET", format!("/containers/json?filters=%7B%22{value}%22:[%22x%22]%7D")),
            ("GET", format!("/containers/{container}/logs?stdout=1&tail={value}")),
            ("GET", format!("/containers/{container}/logs?stdout=1&since={value}")),
            ("GET", format!("/containers/{container}/logs?stdout=1&until={value}")),
            ("POST", format!("/containers/{container}/resize?h={value}&w={value}")),
            ("POST", format!("/containers/{container}/kill?signal={value}")),
            ("POST", format!("/containers/{container}/wait?condition={value}")),
            ("GET", format!("/events?since={value}&until=1")),
            ("GET", format!("/images/json?filters={value}")),
            ("POST", format!("/images/{value}/tag?repo={value}")),
            ("POST", format!("/containers/create?name={value}&platform={value}")),
            ("GET", format!("/containers/{container}/top?ps_args={value}")),
        ] {
            let answer = api::request(node.socket(), method, &target, "application/json", b"{\"Image\":\"none\"}")?;
            sensible(&answer, &format!("{method} {target}"))?;
        }
    }
    node.proa(&["rm", &container])?.success()?;
    Ok(())
}

fn numbers_that_make_no_sense_are_refused() -> Result<()> {
    let node = Node::start()?;
    let image = node.probe()?;
    let host = [
        r#""Memory":-1000"#,
        r#""Memory":1.5"#,
        r#""Memory":1e30"#,
        r#""Memory":"1g""#,
        r#""Memory":9223372036854775807"#,
        r#""Memory":9223372036854775808"#,
        r#""MemorySwap":-2,"Memory":67108864"#,
        r#""MemoryReservation":-5"#,
        r#""NanoCpus":-1"#,
        r#""NanoCpus":9223372036854775807"#,
        r#""CpuShares":-7"#,
        r#""CpuQuota":-7"#,
        r#""CpuPeriod":-7"#,
        r#""CpuPeriod":1"#,
        r#""CpusetCpus":"0-99999999999""#,
        r#""CpusetCpus":"a\u0000b""#,
        r#""PidsLimit":-7"#,
        r#""PidsLimit":9223372036854775807"#,
        r#""ShmSize":-1"#,
        r#""ShmSize":9223372036854775807"#,
        r#""OomScoreAdj":99999"#,
        r#""BlkioWeight":99999"#,
        r#""Ulimits":[{"Name":"nofile","Soft":-5,"Hard":-9}]"#,
        r#""Ulimits":[{"Name":"no\u0000such","Soft":1,"Hard":1}]"#,
        r#""RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-5}"#,
        r#""RestartPolicy":{"Name":"sometimes"}"#,
        r#""LogConfig":{"Type":"json-file","Config":{"max-size":"-5","max-file":"NaN"}}"#,
        r#""LogConfig":{"Type":"evil"}"#,
        r#""Sysctls":{"kernel.core_pattern":"|/bin/sh"}"#,
        r#""Sysctls":{"net/../../kernel/core_pattern":"x"}"#,
        r#""CapAdd":["CAP_EVERYTHING"]"#,
        r#""CapAdd":["\u0000"]"#,
        r#""SecurityOpt":["seccomp=/etc/passwd"]"#,
        r#""SecurityOpt":["seccomp={\"defaultAction\":\"SCMP_ACT_NOPE\"}"]"#,
        r#""Devices":[{"PathOnHost":"/dev/../etc/passwd","PathInContainer":"/x","CgroupPermissions":"rwm"}]"#,
        r#""Tmpfs":{"../../x":"size=-1"}"#,
        r#""Tmpfs":{"/x":"size=NaN,exec,dev,suid"}"#,
        r#""Mounts":[{"Type":"bind","Source":"/","Target":"../../x"}]"#,
        r#""Mounts":[{"Type":"volume","Source":"../../x","Target":"/x"}]"#,
        r#""Mounts":[{"Type":"evil","Source":"a","Target":"/x"}]"#,
        r#""Binds":["../../etc:/x"]"#,
        r#""Binds":["\u0000:/x"]"#,
        r#""GroupAdd":["4294967296"]"#,
        r#""ConsoleSize":[-1,-1]"#,
        r#""ConsoleSize":[1]"#,
        r#""PortBindings":{"99999/tcp":[{"HostPort":"-1"}]}"#,
        r#""PortBindings":{"x":[{"HostIp":"999.1.1.1","HostPort":"NaN"}]}"#,
        r#""NetworkMode":"container:../../x""#,
        r#""Isolation":7"#,
        r#""Isolation":"\u0000""#,
        r#""Annotations":{"a\u0000":"b"}"#,
    ];
    let own = [
        r#""StopTimeout":-99999999999"#,
        r#""StopTimeout":1.5"#,
        r#""StopSignal":"SIGNOPE""#,
        r#""User":"4294967296""#,
        r#""WorkingDir":"relative""#,
        r#""WorkingDir":"/a\u0000b""#,
        r#""Env":["\u0000"]"#,
        r#""Cmd":"not a list""#,
        r#""Hostname":"a/../../b""#,
        r#""Hostname":"-\u0000""#,
        r#""Volumes":{"../../x":{}}"#,
        r#""ExposedPorts":{"-1/evil":{}}"#,
        r#""Healthcheck":{"Test":["CMD","x"],"Interval":-5}"#,
        r#""Labels":{"proa.tenant":"../../x"}"#,
        r#""MacAddress":"zz""#,
    ];
    let bodies =
        host.iter().map(|field| format!(r#"{{"Image":"{image}","Cmd":["out","x"],"HostConfig":{{{field}}}}}"#));
    let bodies = bodies.chain(own.iter().map(|field| format!(r#"{{"Image":"{image}","Cmd":["out","x"],{field}}}"#)));
    for body in bodies {
        for isolation in ["linux", "wasm"] {
            let target = format!(
                "/containers/create?platform={}",
                if isolation == "wasm" { "wasi/wasm" } else { "linux/amd64" }
            );
            let answer = node.post(&target, "application/json", body.as_bytes())?;
            sensible(&answer, &body)?;
            if answer.status != 201 {
                continue;
            }
            // What was taken must start, or say in one sentence why not.
            let id = answer.json()?["Id"].as_str().unwrap_or_default().to_owned();
            let started = node.post(&format!("/containers/{id}/start"), "application/json", b"")?;
            ensure!(started.status < 500 || started.json()?["message"].is_string(), "{body}: {}", started.text());
            let listed = node.get("/containers/json?all=1")?;
            ensure!(listed.status == 200, "{body}: {}", listed.text());
            let removed = api::request(node.socket(), "DELETE", &format!("/containers/{id}?force=1&v=1"), "", b"")?;
            ensure!(removed.status == 204, "{body}: {} {}", removed.status, removed.text());
        }
    }
    node.close()
}

/// Whoever uploads an archive and falls silent holds one of few places, and none of the threads that others need.
fn hundreds_of_silent_uploads_keep_nobody_out() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let node = Node::start()?;
    let mut silent = Vec::new();
    for at in 0..600 {
        let mut stream = UnixStream::connect(node.socket()).with_context(|| format!("connection {at}"))?;
        let target = if at % 2 == 0 { "/images/load" } else { "/images/create?fromSrc=-&repo=silent" };
        write!(stream, "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf")?;
        silent.push(stream);
    }
    // Each of these needs a thread that may block.
    for _ in 0..3 {
        let begun = Instant::now();
        node.get("/images/json")?.success()?;
        node.get("/system/df")?.success()?;
        ensure!(begun.elapsed() < Duration::from_secs(30), "the answers took {:?}", begun.elapsed());
    }
    drop(silent);
    node.probe()?;
    node.close()
}

/// Room is made for whoever asks: the connection that has been silent for longest goes.
fn thousands_of_idle_connections_keep_nobody_out() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let node = Node::start()?;
    let host = Outside::new(node.pid()?);
    host.forget_peak();
    let before = host.peak()?;
    let waiting = api_wait(&node)?;
    let mut idle = Vec::new();
    for at in 0..3000 {
        let mut stream = UnixStream::connect(node.socket()).with_context(|| format!("connection {at}"))?;
        stream.set_write_timeout(Some(SOON))?;
        // Some say nothing, some half a request, some a whole one and then nothing.
        match at % 3 {
            0 => {}
            1 => drop(stream.write_all(b"GET /_ping HTTP/1.1\r\nHo")),
            _ => drop(stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")),
        }
        idle.push(stream);
    }
    for _ in 0..3 {
        let begun = Instant::now();
        node.get("/_ping")?.success()?;
        ensure!(begun.elapsed() < Duration::from_secs(30), "an answer took {:?}", begun.elapsed());
    }
    let grown = host.peak()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "the host's memory grew by {} MiB", grown >> 20);
    drop(idle);
    // Whoever waits for an answer was not sent away.
    let (container, mut answer) = waiting;
    container.proa(&["kill"])?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut answer, &mut bytes)?;
    ensure!(api::parse(&bytes)?.json()?["StatusCode"].is_number(), "{}", String::from_utf8_lossy(&bytes));
    drop(container);
    node.close()
}

/// A container that runs, and a connection whose answer is its end.
fn api_wait(node: &Node) -> Result<(proa_tests::Container<'_>, UnixStream)> {
    let container = node.detached_image(&[], node.probe()?, &["sleep", "600"])?;
    let mut stream = UnixStream::connect(node.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    write!(
        stream,
        "POST /containers/{}/wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        container.id()
    )?;
    Ok((container, stream))
}
