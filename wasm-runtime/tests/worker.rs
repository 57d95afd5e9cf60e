//! A worker without its sandbox: the real engine, the real protocol, over a socket pair.

#[path = "worker/kit.rs"]
mod kit;

use std::io::{Read, Write};
use std::time::Duration;

use kit::{Host, START, Stdin, module};
use proa_wasm::ModuleKind;
use proa_wasm::worker::protocol::{Answer, Request, Signal};

/// Prints `text` to a stream and exits with `code`.
fn speaker(text: &str, stream: u32, code: u32) -> Vec<u8> {
    module(&format!(
        r#"(data (i32.const 64) "{text}")
           (func (export "_start")
             (i32.store (i32.const 0) (i32.const 64))
             (i32.store (i32.const 4) (i32.const {length}))
             (drop (call $write (i32.const {stream}) (i32.const 0) (i32.const 1) (i32.const 16)))
             (call $exit (i32.const {code})))"#,
        length = text.len()
    ))
}

/// Copies its input to its output.
fn echo() -> Vec<u8> {
    module(
        r#"(func (export "_start")
             (loop $again
               (i32.store (i32.const 0) (i32.const 4096))
               (i32.store (i32.const 4) (i32.const 32768))
               (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)) (then (unreachable)))
               (if (i32.eqz (i32.load (i32.const 16))) (then (return)))
               (i32.store (i32.const 4) (i32.load (i32.const 16)))
               (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then (unreachable)))
               (br $again)))"#,
    )
}

fn trap() -> Vec<u8> {
    module(r#"(func $inner unreachable) (func $outer call $inner) (func (export "_start") call $outer)"#)
}

fn spin() -> Vec<u8> {
    module(r#"(func (export "_start") (loop $again (br $again)))"#)
}

/// Grows its memory by one page a time until it is refused, then traps.
fn hog() -> Vec<u8> {
    module(
        r#"(func (export "_start")
             (loop $again
               (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
               (br $again)))"#,
    )
}

/// Waits on the clock for an hour.
fn sleeper() -> Vec<u8> {
    module(
        r#"(func (export "_start")
             ;; One clock subscription: tag 0 at 8, monotonic clock 1 at 16, time-out at 24.
             (i32.store8 (i32.const 8) (i32.const 0))
             (i32.store (i32.const 16) (i32.const 1))
             (i64.store (i32.const 24) (i64.const 3600000000000))
             (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))"#,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_speaks_and_exits_with_its_own_code() {
    let mut host = Host::connect().await;
    for (stream, code) in [(1, 0), (2, 3), (1, 200)] {
        let end = host.run(&speaker("hello", stream, code), Stdin::None).await;
        assert_eq!(u32::from(end.exit.code), code);
        let (out, err) = if stream == 1 { ("hello", "") } else { ("", "hello") };
        assert_eq!((end.text(), end.errors()), (out.to_owned(), err.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_exits_134_with_a_named_backtrace_and_disturbs_no_neighbour() {
    let mut host = Host::connect().await;
    let neighbour = host.start(&echo(), Stdin::Pipe).await;
    let end = host.run(&trap(), Stdin::None).await;
    assert_eq!(end.exit.code, 134);
    assert!(end.exit.reason.unwrap().contains("unreachable"));
    let errors = String::from_utf8(end.stderr).unwrap();
    assert!(errors.contains("inner") && errors.contains("outer"), "no names in:\n{errors}");
    host.input(&neighbour).write_all(b"still here").unwrap();
    host.close_input(&neighbour).await;
    let end = host.wait(&neighbour).await;
    assert_eq!((end.exit.code, end.text()), (0, "still here".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_of_binary_input_come_out_unchanged() {
    let mut host = Host::connect().await;
    let guest = host.start(&echo(), Stdin::Pipe).await;
    let sent: Vec<u8> = (0..10_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut input = host.input(&guest);
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let received = host.read_output(&guest, sent.len()).await;
    writer.join().unwrap();
    assert!(received == sent, "output differs from input");
    host.close_input(&guest).await;
    assert_eq!(host.wait(&guest).await.exit.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_guest_can_be_ended_by_a_signal() {
    let mut host = Host::connect().await;
    for guest in [spin(), sleeper(), echo()] {
        for (signal, code) in [(Signal::Terminate, 143), (Signal::Interrupt, 130), (Signal::Kill, 137)] {
            let id = host.start(&guest, Stdin::Pipe).await;
            let started = std::time::Instant::now();
            host.call(Request::Kill { id: id.clone(), signal }).await.unwrap();
            assert_eq!(host.wait(&id).await.exit.code, code);
            assert!(started.elapsed() < Duration::from_secs(5));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_was_never_started_can_be_killed() {
    let mut host = Host::connect().await;
    let id = host.create(&echo(), Stdin::None, &[]).await;
    host.call(Request::Kill { id: id.clone(), signal: Signal::Kill }).await.unwrap();
    assert_eq!(host.wait(&id).await.exit.code, 137);
    assert!(host.call(Request::Start { id }).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stops_at_the_limit() {
    let mut host = Host::connect().await;
    let end = host.run(&hog(), Stdin::None).await;
    assert_eq!(end.exit.code, 134);
    assert!(end.exit.limited);
    let usage = host.call(Request::Usage { id: end.id }).await.unwrap();
    let Answer::Usage(usage) = usage else { panic!("no usage") };
    assert!(usage.memory_peak <= START.memory, "{} bytes", usage.memory_peak);
    assert!(usage.memory_peak > START.memory / 2, "{} bytes", usage.memory_peak);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_gets_what_the_last_one_did_not_record() {
    let mut host = Host::connect().await;
    let running = host.start(&echo(), Stdin::Pipe).await;
    host.input(&running).write_all(b"one ").unwrap();
    host.read_output_unacknowledged(&running, 4).await;
    let ended = host.start(&speaker("last words", 1, 7), Stdin::None).await;
    host.wait_unacknowledged(&ended).await;
    let mut next = host.reconnect().await;
    assert_eq!(next.held(), 2);
    let end = next.wait(&ended).await;
    assert_eq!((end.exit.code, end.text()), (7, "last words".to_owned()));
    next.input(&running).write_all(b"two").unwrap();
    next.close_input(&running).await;
    let end = next.wait(&running).await;
    assert_eq!((end.exit.code, end.text()), (0, "one two".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_its_directories_and_nothing_above_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "from outside").unwrap();
    let reads = |path: &str| {
        module(&format!(
            r#"(data (i32.const 64) "{path}")
               (func (export "_start")
                 (if (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {length}) (i32.const 0)
                       (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 32))
                   (then (call $exit (i32.const 44))))
                 (i32.store (i32.const 0) (i32.const 4096))
                 (i32.store (i32.const 4) (i32.const 100))
                 (drop (call $read (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 16)))
                 (i32.store (i32.const 4) (i32.load (i32.const 16)))
                 (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))"#,
            length = path.len()
        ))
    };
    let mut host = Host::connect().await;
    let id = host.create(&reads("note"), Stdin::None, &[(folder.path(), true)]).await;
    host.call(Request::Start { id: id.clone() }).await.unwrap();
    assert_eq!(host.wait(&id).await.text(), "from outside");
    let id = host.create(&reads("../etc/passwd"), Stdin::None, &[(folder.path(), true)]).await;
    host.call(Request::Start { id: id.clone() }).await.unwrap();
    assert_eq!(host.wait(&id).await.exit.code, 44);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let creates = module(
        r#"(data (i32.const 64) "new")
           (func (export "_start")
             (call $exit (i32.ne (i32.const 0) (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 3)
               (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 32)))))"#,
    );
    let mut host = Host::connect().await;
    for (read_only, code) in [(true, 1), (false, 0)] {
        let id = host.create(&creates, Stdin::None, &[(folder.path(), read_only)]).await;
        host.call(Request::Start { id: id.clone() }).await.unwrap();
        assert_eq!(host.wait(&id).await.exit.code, code);
        assert_eq!(folder.path().join("new").exists(), !read_only);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_guest_is_forgotten() {
    let mut host = Host::connect().await;
    let id = host.start(&spin(), Stdin::None).await;
    host.call(Request::Delete { id: id.clone() }).await.unwrap();
    assert!(host.call(Request::Usage { id }).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_has_arguments_environment_files_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::connect().await;
    assert_eq!(host.probe(&["args", "a", "b c"], &[]).await.text(), "a\nb c\n");
    assert_eq!(host.probe(&["env"], &[]).await.text(), "NAME=value\n");
    let writable = [(folder.path(), false)];
    assert_eq!(host.probe(&["write", "/data/kept", "text"], &writable).await.exit.code, 0);
    assert_eq!(host.probe(&["read", "/data/kept"], &writable).await.text(), "text");
    assert_ne!(host.probe(&["write", "/data/kept", "other"], &[(folder.path(), true)]).await.exit.code, 0);
    assert_ne!(host.probe(&["read", "/data/../../etc/passwd"], &writable).await.exit.code, 0);
    assert_eq!(std::fs::read(folder.path().join("kept")).unwrap(), b"text");
    let end = host.probe(&["trap"], &[]).await;
    assert_eq!(end.exit.code, 134);
    assert!(end.errors().contains("deep_inside_the_guest"), "{}", end.errors());
}

/// One request on a connection of its own; gives the whole response, empty if the server went away.
async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let exchange = move || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    tokio::task::spawn_blocking(exchange).await.unwrap().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_answers_http_and_outlives_a_request_that_traps() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut host = Host::connect().await;
    let id = host.create_http(proa_samples::HTTP_COMPONENT, listener).await;
    host.call(Request::Start { id: id.clone() }).await.unwrap();
    let text = get(address, "/").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("Hello"), "{text}");
    assert!(get(address, "/trap").await.starts_with("HTTP/1.1 500"));
    assert!(get(address, "/status/204").await.starts_with("HTTP/1.1 204"));
    // A request that computes for ever delays no other and ends with its guest.
    let spinning = tokio::spawn(get(address, "/spin"));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 200"));
    host.call(Request::Kill { id: id.clone(), signal: Signal::Terminate }).await.unwrap();
    let end = host.wait(&id).await;
    assert_eq!(end.exit.code, 143);
    assert!(end.errors().contains("unreachable"), "{}", end.errors());
    assert!(!spinning.await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_echoes_and_carries_all_three_streams() {
    let mut host = Host::connect().await;
    let bytes = proa_samples::PROBE_COMPONENT;
    let id = host.create_with(bytes, ModuleKind::Command, &["probe", "upper"], Stdin::Terminal, &[], 64 << 20).await;
    host.call(Request::Start { id: id.clone() }).await.unwrap();
    let mut terminal = host.input(&id);
    let talk = tokio::task::spawn_blocking(move || {
        terminal.write_all(b"Hi\n").unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 64];
        while !(seen.contains("HI\r\n") && seen.contains("hi\r\n")) {
            let length = terminal.read(&mut buffer).unwrap();
            seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        // End of file, as a user types it.
        terminal.write_all(&[4]).unwrap();
        seen
    });
    assert!(talk.await.unwrap().starts_with("Hi\r\n"));
    assert_eq!(host.wait(&id).await.exit.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_too_large_for_a_packet_goes_beside_it() {
    let mut host = Host::connect().await;
    let long = "x".repeat(300_000);
    assert_eq!(host.probe(&["args", &long], &[]).await.text().len(), long.len() + 1);
}
