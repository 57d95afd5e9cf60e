//! `exec`: one more program in a running container, its streams on a connection of its own.

use std::sync::Arc;

use bollard_stubs::models::{ExecConfig, ExecInspectResponse, ExecStartConfig, ProcessConfig};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::upgrade::OnUpgrade;
use proa_sandbox::{Output, Sandbox, Stdin, Stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::api::attach::{ChainReader, LULL, Left, switching, take_over, type_in};
use crate::api::body::{self, Body};
use crate::api::call::Call;
use crate::api::framing::{header, media_type};
use crate::api::reply::{Answer, empty, ok, with_type};
use crate::api::{containers, reply};
use crate::detach::{DetachKeys, Watch};
use crate::error::Error;
use crate::host::Host;
use crate::host::exec::Exec;

/// `POST /containers/{id}/exec`.
pub(crate) async fn create(host: &Arc<Host>, id: &str, call: Call) -> Answer {
    let Wanted { mut config, keys } = body::json(call.body).await?;
    config.detach_keys = config.detach_keys.or(keys);
    let container = host.containers.find(id)?;
    let exec = host.exec_create(container, config).await?;
    Ok(reply::json(StatusCode::CREATED, &json!({ "Id": exec.id })))
}

/// Docker's body. Go reads names in any case, and docker-py has long written one of them in its own.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(flatten)]
    config: ExecConfig,
    #[serde(rename = "detachKeys")]
    keys: Option<String>,
}

/// `POST /exec/{id}/start`: the connection first, then the program, as dockerd does: what goes wrong with the program
/// is said on the stream, and its code is found by inspect. The program begins in a task of its own: a client that hangs up
/// meanwhile does not leave one whose output nobody reads.
///
/// One that was created without any stream has nothing to wait for: its client is answered as soon as it runs.
pub(crate) async fn start(host: &Arc<Host>, id: &str, call: Call) -> Answer {
    let version = call.version;
    let upgrading = call.wants_upgrade();
    // Before anything is refused: a connection closed over unread bytes is broken for its client.
    let config: ExecStartConfig = body::json(call.body).await?;
    let exec = host.execs.find(id)?;
    exec.may_start()?;
    let size = config.console_size.as_deref().and_then(size_in);
    let wanted = Streams::of(&exec.config, config.tty != Some(true));
    if config.detach == Some(true) || wanted.is_none() && !upgrading {
        let host = host.clone();
        containers::joined(tokio::spawn(async move {
            let sandbox = begin(&host, &exec, size).await?;
            tokio::spawn(finish_alone(host, exec, sandbox));
            Ok(())
        }))
        .await?;
        return Ok(empty(StatusCode::OK));
    }
    let media_type = media_type(wanted.framed, version);
    if !upgrading {
        let host = host.clone();
        let started = tokio::spawn(async move {
            let sandbox = begin(&host, &exec, size).await?;
            Ok(streamed(host, exec, sandbox, wanted))
        });
        return Ok(with_type(StatusCode::OK, media_type, containers::joined(started).await?));
    }
    tokio::spawn(taken_over(host.clone(), exec, call.upgrade, wanted, size));
    Ok(switching(media_type))
}

/// Which streams a client gets, and how.
#[derive(Debug, Clone, Copy)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    framed: bool,
}

impl Streams {
    /// Whether its stream is framed is for whoever starts it to say, as in dockerd: a terminal's output may come framed.
    fn of(config: &ExecConfig, framed: bool) -> Streams {
        let (stdout, stderr) = (config.attach_stdout == Some(true), config.attach_stderr == Some(true));
        Streams { stdin: config.attach_stdin == Some(true), stdout, stderr, framed }
    }

    fn is_none(self) -> bool {
        !self.stdin && !self.stdout && !self.stderr
    }

    /// A terminal's only stream is its standard output.
    fn has(self, stream: Stream) -> bool {
        if stream == Stream::Stdout { self.stdout } else { self.stderr }
    }
}

fn size_in(size: &[usize]) -> Option<(u16, u16)> {
    let [rows, columns] = size else { return None };
    let side = |side: &usize| u16::try_from(*side).ok().filter(|side| *side > 0);
    Some((side(rows)?, side(columns)?))
}

/// Starts it, its terminal of the size that the client has now.
async fn begin(host: &Host, exec: &Exec, size: Option<(u16, u16)>) -> crate::Result<Sandbox> {
    let sandbox = host.exec_start(exec).await?;
    if let Some((rows, columns)) = size.filter(|_| exec.config.tty == Some(true)) {
        // It may have ended already.
        let _ = sandbox.resize(rows, columns).await;
    }
    Ok(sandbox)
}

/// `GET /exec/{id}/json`.
pub(crate) fn inspect(host: &Host, id: &str) -> Answer {
    let exec = host.execs.find(id)?;
    let (config, progress) = (&exec.config, exec.progress());
    let mut words = config.cmd.clone().unwrap_or_default().into_iter();
    let known = ExecInspectResponse {
        can_remove: Some(false),
        detach_keys: Some(config.detach_keys.clone().unwrap_or_default()),
        id: Some(exec.id.clone()),
        running: Some(progress.running),
        process_config: Some(ProcessConfig {
            privileged: Some(config.privileged.unwrap_or(false)),
            user: Some(config.user.clone().unwrap_or_default()),
            tty: Some(config.tty.unwrap_or(false)),
            entrypoint: words.next(),
            arguments: Some(words.collect()),
        }),
        open_stdin: Some(config.attach_stdin.unwrap_or(false)),
        open_stderr: Some(config.attach_stderr.unwrap_or(false)),
        open_stdout: Some(config.attach_stdout.unwrap_or(false)),
        container_id: Some(exec.container.id().to_owned()),
        pid: Some(progress.pid.map_or(0, i64::from)),
        exit_code: None,
    };
    ok(&Inspected { known, exit_code: progress.exit_code.map(i64::from) })
}

/// The generated type leaves a code out that is not known yet; dockerd writes `null`.
#[derive(Debug, Serialize)]
struct Inspected {
    #[serde(flatten)]
    known: ExecInspectResponse,
    #[serde(rename = "ExitCode")]
    exit_code: Option<i64>,
}

/// `POST /exec/{id}/resize`.
pub(crate) async fn resize(host: &Host, id: &str, call: &Call) -> Answer {
    let exec = host.execs.find(id)?;
    let (rows, columns) = containers::size(call)?;
    let Some(sandbox) = exec.started().await else {
        return Err(Error::Conflict(format!("exec {id} is not running")).into());
    };
    sandbox.resize(rows, columns).await.map_err(|source| Error::Sandbox {
        attempt: "resize the terminal of exec",
        container: id.to_owned(),
        source,
    })?;
    Ok(empty(StatusCode::OK))
}

async fn taken_over(host: Arc<Host>, exec: Arc<Exec>, upgrade: OnUpgrade, wanted: Streams, size: Option<(u16, u16)>) {
    let Ok((socket, early)) = take_over(upgrade).await else { return };
    let (reader, mut writer) = socket.into_split();
    match tokio::join!(begin(&host, &exec, size), tokio::time::sleep(LULL)).0 {
        Ok(sandbox) if wanted.is_none() => {
            let _ = writer.shutdown().await;
            finish_alone(host, exec, sandbox).await;
            return;
        }
        Ok(sandbox) => {
            let stdin = wanted.stdin.then(|| sandbox.stdin()).flatten();
            let watch = watch(&exec.config);
            let mut input = tokio::spawn(feed(stdin, early, reader, watch));
            if let Some(output) = sandbox.output() {
                let left = async {
                    if !matches!((&mut input).await, Ok(Left::ByKeys)) {
                        std::future::pending::<()>().await;
                    }
                };
                pump(output, &mut writer, wanted, &sandbox, left).await;
            }
            host.exec_finish(&exec, &sandbox).await;
            input.abort();
        }
        Err(error) => {
            let text = format!("{}\r\n", error.sentence());
            let _ = send(&mut writer, Stream::Stderr, text.as_bytes(), wanted.framed).await;
        }
    }
    let _ = writer.shutdown().await;
}

/// The keys that leave its terminal, if it has one.
fn watch(config: &ExecConfig) -> Option<Watch> {
    let keys = DetachKeys::parse(config.detach_keys.as_deref().unwrap_or_default());
    keys.ok().filter(|_| config.tty == Some(true)).map(Watch::new)
}

async fn feed(stdin: Option<Stdin>, early: Bytes, mut reader: OwnedReadHalf, watch: Option<Watch>) -> Left {
    let Some(mut stdin) = stdin else {
        let mut buffer = vec![0; 512];
        // Nothing is expected of the client but its going away.
        while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
        return Left::Silently;
    };
    let left = type_in(&mut early.chain_reader(reader), &mut stdin, watch).await;
    if let Left::Silently = left {
        // The program may have ended first.
        let _ = stdin.close().await;
    }
    left
}

/// Sends what the program prints until its streams end, or it has ended and nothing more is waiting: a program that
/// left a child in the background would hold them open for ever. A client that is gone, or has `left`, leaves the output
/// unread by nobody: it is still consumed, so that the program does not block.
async fn pump(
    mut output: Output,
    writer: &mut OwnedWriteHalf,
    wanted: Streams,
    sandbox: &Sandbox,
    left: impl Future<Output = ()>,
) {
    let (mut connected, mut here) = (true, true);
    let mut left = std::pin::pin!(left);
    loop {
        let piece = tokio::select! {
            biased;
            () = &mut left, if here => {
                (connected, here) = (false, false);
                let _ = writer.shutdown().await;
                continue;
            }
            piece = next(&mut output, sandbox) => piece,
        };
        let Some((stream, bytes)) = piece else { return };
        if wanted.has(stream) {
            connected = connected && send(writer, stream, &bytes, wanted.framed).await.is_ok();
        }
        if output.consume().await.is_err() {
            return;
        }
    }
}

async fn next(output: &mut Output, sandbox: &Sandbox) -> Option<(Stream, Vec<u8>)> {
    let peeked = tokio::select! {
        biased;
        peeked = output.peek() => peeked,
        _ = sandbox.wait() => tokio::time::timeout(AFTERGLOW, output.peek()).await.unwrap_or(Ok(None)),
    };
    let chunk = peeked.ok().flatten()?;
    Some((chunk.stream, chunk.bytes))
}

/// How long output may still come after a program's end when its streams stay open.
const AFTERGLOW: std::time::Duration = std::time::Duration::from_millis(200);

async fn send(writer: &mut OwnedWriteHalf, stream: Stream, bytes: &[u8], framed: bool) -> std::io::Result<()> {
    if framed {
        writer.write_all(&header(stream, bytes.len())).await?;
    }
    writer.write_all(bytes).await
}

fn streamed(host: Arc<Host>, exec: Arc<Exec>, sandbox: Sandbox, wanted: Streams) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        if let Some(mut output) = sandbox.output() {
            while let Some((stream, bytes)) = next(&mut output, &sandbox).await {
                if wanted.has(stream) {
                    let head = if wanted.framed { &header(stream, bytes.len())[..] } else { &[] };
                    // A client that is gone does not end the program.
                    let _ = sender.send([head, &bytes].concat().into()).await;
                }
                if output.consume().await.is_err() {
                    break;
                }
            }
        }
        host.exec_finish(&exec, &sandbox).await;
    });
    Body::stream(futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

async fn finish_alone(host: Arc<Host>, exec: Arc<Exec>, sandbox: Sandbox) {
    if let Some(mut output) = sandbox.output() {
        while next(&mut output, &sandbox).await.is_some() {
            if output.consume().await.is_err() {
                break;
            }
        }
    }
    host.exec_finish(&exec, &sandbox).await;
}
